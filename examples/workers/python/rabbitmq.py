"""A worker on RabbitMQ: python rabbitmq.py amqp://user:password@host [QUEUE]"""

import signal
import sys
import time

import pika
from pika.exceptions import AMQPError

from inbox import ATTEMPTS_MAX, Inbox, Poison, retry_delay_s

# Messages that wait here for their next attempt count too.
PREFETCH = 32


class Worker:
    def __init__(self, url, queue, inbox):
        self.url, self.queue, self.inbox, self.stopping = url, queue, inbox, False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self.stop)

    def stop(self, *_):
        self.stopping = True

    def run(self):
        failures = 0
        while not self.stopping:
            try:
                self.consume()
                failures = 0
            except (AMQPError, OSError) as error:
                # Also while the daemon hasn't made the queue yet.
                failures = min(failures + 1, 6)
                print(f"broker: {error!r}; trying again", file=sys.stderr)
                time.sleep(min(0.1 * 2**failures, 5))

    def consume(self):
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=PREFETCH)
            for method, properties, body in channel.consume(self.queue, inactivity_timeout=0.2):
                if self.stopping:
                    return
                if method:
                    self.handle(connection, channel, method, properties, body)
        finally:
            # What isn't acknowledged goes back into the queue.
            if connection.is_open:
                connection.close()

    def handle(self, connection, channel, method, properties, body):
        # Work that takes longer than a heartbeat belongs onto a thread, with connection.add_callback_threadsafe.
        # A quorum queue counts. `sluiced work`, which puts a failed message back as a new one, counts itself.
        attempt = 1 + (properties.headers or {}).get("x-delivery-count", 0)
        try:
            self.inbox.handle(body)
        except Exception as error:
            dead = isinstance(error, Poison) or attempt >= ATTEMPTS_MAX
            print(f"{properties.message_id} attempt {attempt}: {error!r}{', dead' if dead else ''}", file=sys.stderr)
            if dead:
                # By the queue's x-dead-letter-exchange to the queue webhooks.dead. A queue without one DELETES it.
                channel.basic_nack(method.delivery_tag, requeue=False)
            else:
                again = lambda: channel.is_open and channel.basic_nack(method.delivery_tag, requeue=True)
                connection.call_later(retry_delay_s(attempt), again)
        else:
            channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    queue = sys.argv[2] if len(sys.argv) > 2 else "webhooks"
    Worker(sys.argv[1], queue, Inbox("work.db")).run()
