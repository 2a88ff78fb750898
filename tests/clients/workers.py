"""Puts an example worker to the test: workers.py BROKER URL COMMAND…

The worker runs before the queue exists, gets events twice, one that always fails and one that is unreadable, and is
killed at its work. In the end each event's work is done once, the two are dead letters, and the queue is empty.
"""

import asyncio
import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

EVENTS = 200
PATIENCE_S = 40
ENVIRONMENT = {"ATTEMPTS_MAX": "3", "RETRY_FIRST_S": "0.2", "LEASE_S": "3"}


def message(data):
    """As queues/contract/schema has it."""
    return {
        "receiver": "github", "id": "acme", "actions": ["push"], "data": data, "version": 1,
        "messageId": str(uuid.uuid4()), "deliveryId": None, "receivedAt": "2026-11-24T02:30:53.123456Z",
        "contentType": "application/json", "traceparent": None, "masked": [],
        "request": {"method": "POST", "path": "/api/webhooks/incoming/github/acme", "query": "",
                    "remoteAddr": "203.0.113.7", "headers": {"x-github-event": ["push"]}},
    }


class RabbitMq:
    def __init__(self, url):
        import pika

        self.pika = pika
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()

    def declare(self):
        self.channel.exchange_declare("webhooks.dead", "fanout", durable=True)
        self.channel.queue_declare("webhooks.dead", durable=True, arguments={"x-queue-type": "quorum"})
        self.channel.queue_bind("webhooks.dead", "webhooks.dead")
        self.channel.queue_declare("webhooks", durable=True, arguments={
            "x-queue-type": "quorum", "x-overflow": "reject-publish", "x-dead-letter-exchange": "webhooks.dead",
            "x-dead-letter-strategy": "at-least-once", "x-delivery-limit": 20})
        self.channel.confirm_delivery()

    def put(self, id, payload):
        properties = self.pika.BasicProperties(message_id=id, delivery_mode=2, content_type="application/json")
        self.channel.basic_publish("", "webhooks", payload, properties, mandatory=True)

    def count(self, name):
        return self.channel.queue_declare(name, passive=True).method.message_count

    def close(self):
        self.connection.close()

    def left(self):
        # Of a quorum queue the count is said a moment late; what waits for a worker's answer isn't in it.
        return self.count("webhooks")

    def dead(self):
        return self.count("webhooks.dead")


class Nats:
    def __init__(self, url):
        import nats

        self.loop = asyncio.new_event_loop()
        self.connection = self.loop.run_until_complete(nats.connect(url))
        self.js = self.connection.jetstream()

    def do(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def declare(self):
        from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig

        self.do(self.js.add_stream(StreamConfig(
            name="WEBHOOKS", subjects=["webhooks.>"], retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW, duplicate_window=600)))

    def put(self, id, payload):
        # Ids of their own, or the server itself would leave out what comes twice.
        headers = {"Nats-Msg-Id": f"{id}/{uuid.uuid4()}"}
        self.do(self.js.publish("webhooks.github.acme.push", payload, headers=headers))

    def close(self):
        self.do(self.connection.close())

    def left(self):
        return self.do(self.js.stream_info("WEBHOOKS")).state.messages

    def dead(self):
        return self.do(self.js.stream_info("WEBHOOKS_DEAD")).state.messages


class Azure:
    def __init__(self, url):
        from azure.storage.queue import QueueClient

        self.queue = QueueClient.from_connection_string(url, "webhooks")
        self.poison = QueueClient.from_connection_string(url, "webhooks-poison")

    def declare(self):
        self.queue.create_queue()
        # The dead letters' is for the worker to make.

    def put(self, id, payload):
        self.queue.send_message(base64.b64encode(payload).decode(), time_to_live=-1)

    def close(self):
        self.queue.close()

    def left(self):
        return self.queue.get_queue_properties().approximate_message_count

    def dead(self):
        return self.poison.get_queue_properties().approximate_message_count


class Worker:
    def __init__(self, command, directory):
        self.command, self.directory = command, directory
        self.log = open(Path(directory) / "log", "a")
        self.start()

    def start(self):
        environment = os.environ | ENVIRONMENT
        self.process = subprocess.Popen(self.command, cwd=self.directory, env=environment, stderr=self.log, stdout=self.log)

    def orders(self):
        """The numbers of the orders that are done; none while there is no table yet."""
        try:
            with sqlite3.connect(f"file:{self.directory}/work.db?mode=ro", uri=True) as db:
                return [row[0] for row in db.execute("SELECT number FROM orders")]
        except sqlite3.OperationalError:
            return []

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_S)


def until(what, condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def attempt(count):
    """A count that may not be there yet."""
    try:
        return count()
    except Exception:
        return None


def main(broker, url, command):
    rig = {"rabbitmq": RabbitMq, "nats": Nats, "azure": Azure}[broker](url)
    with tempfile.TemporaryDirectory() as directory:
        worker = Worker(command, directory)
        try:
            prove(rig, worker)
        except BaseException:
            print((Path(directory) / "log").read_text(), file=sys.stderr)
            print("orders:", len(worker.orders()), "of", EVENTS, file=sys.stderr)
            raise
        finally:
            worker.kill()
            rig.close()


def prove(rig, worker):
    until("the worker's wait for the queue", lambda: "trying again" in (Path(worker.directory) / "log").read_text())
    rig.declare()
    rig.put("unreadable", b"{")
    fails = message({"no": "order"})
    rig.put(fails["messageId"], json.dumps(fails).encode())
    for number in range(EVENTS):
        event = message({"order": f"{number}"})
        for _ in range(2):
            rig.put(event["messageId"], json.dumps(event).encode())
        if len(worker.orders()) >= EVENTS // 10:
            worker.kill()
    until("some of the work", lambda: len(worker.orders()) >= EVENTS // 10)
    worker.kill()
    done = worker.orders()
    assert len(done) == len(set(done)), "done twice"
    worker.start()
    until("all of the work", lambda: len(worker.orders()) >= EVENTS)
    until("the dead letters", lambda: (attempt(rig.dead) or 0) >= 2)
    until("an empty queue", lambda: rig.left() == 0)
    assert worker.stop() == 0, "the worker's exit status"
    until("an empty queue, and the worker gone", lambda: rig.left() == 0)
    assert sorted(worker.orders(), key=int) == [f"{number}" for number in range(EVENTS)], "each once"
    assert rig.dead() == 2, "two dead letters"
    print("1 passed, 0 failed: killed with", len(done), "of", EVENTS, "done")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
