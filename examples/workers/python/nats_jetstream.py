"""A worker on NATS JetStream: python nats_jetstream.py nats://host"""

import asyncio
import signal
import sys

import nats
from nats.errors import Error, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from inbox import ATTEMPTS_MAX, LEASE_S, Inbox, Poison, retry_delay_s

STREAM, DEAD_STREAM = "WEBHOOKS", "WEBHOOKS_DEAD"
# A stream with work-queue retention has one consumer for all workers, those of `sluiced work` too.
CONSUMER = "sluiced"


async def main(url):
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    inbox = Inbox("work.db")
    while not stopping.is_set():
        try:
            await consume(url, inbox, stopping)
        except (Error, OSError, asyncio.TimeoutError) as error:
            # Also while the daemon hasn't made the stream yet.
            print(f"broker: {error!r}; trying again", file=sys.stderr)
            await asyncio.sleep(1)


async def consume(url, inbox, stopping):
    connection = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.5, ping_interval=10)
    try:
        js = connection.jetstream()
        await prepare(js)
        messages = await js.pull_subscribe_bind(durable=CONSUMER, stream=STREAM)
        while not stopping.is_set():
            try:
                batch = await messages.fetch(1, timeout=1)
            except (TimeoutError, asyncio.TimeoutError):
                continue
            for message in batch:
                await handle(js, message, inbox)
    finally:
        await connection.close()


async def prepare(js):
    """What exists is used as it is: adding a consumer that exists would change it."""
    try:
        await js.stream_info(DEAD_STREAM)
    except NotFoundError:
        await js.add_stream(StreamConfig(name=DEAD_STREAM, subjects=["webhooks-dead.>"], retention=RetentionPolicy.LIMITS))
    try:
        await js.consumer_info(STREAM, CONSUMER)
    except NotFoundError:
        await js.add_consumer(STREAM, ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=LEASE_S))


async def handle(js, message, inbox):
    attempt = message.metadata.num_delivered
    # The server waits LEASE_S for an answer; work that takes longer is kept ours until it is done.
    working = asyncio.create_task(keep(message))
    try:
        await asyncio.to_thread(inbox.handle, message.data)
    except Exception as error:
        dead = isinstance(error, Poison) or attempt >= ATTEMPTS_MAX
        id = (message.headers or {}).get("Nats-Msg-Id", "?")
        print(f"{id} attempt {attempt}: {error!r}{', dead' if dead else ''}", file=sys.stderr)
        if not dead:
            await message.nak(delay=retry_delay_s(attempt))
            return
        await bury(js, message, id, attempt, error)
        await message.ack_sync()
    else:
        await message.ack_sync()
    finally:
        working.cancel()


async def bury(js, message, id, attempt, error):
    """Safe among the dead letters before it is acknowledged; the sequence number makes a repeated burial none."""
    headers = dict(message.headers or {})
    headers["Nats-Msg-Id"] = f"{id}/dead-{message.metadata.sequence.stream}"
    headers["sluiced-dead-reason"] = " ".join(str(error).split())
    headers["sluiced-dead-attempts"] = str(attempt)
    await js.publish("webhooks-dead." + message.subject.partition(".")[2], message.data, headers=headers)


async def keep(message):
    while True:
        await asyncio.sleep(LEASE_S / 3)
        await message.in_progress()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
