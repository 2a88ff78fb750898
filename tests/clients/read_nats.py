"""Takes everything out of a JetStream stream with nats-py, and prints one message per line as JSON.

    read_nats.py URL STREAM QUIET_SECONDS

Ends when nothing has come for so long. Bodies are in base64, as they came.
"""

import asyncio
import base64
import json
import sys

import nats
from nats.js.api import StorageType


async def main(url: str, stream: str, quiet: float) -> None:
    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    info = await jetstream.stream_info(stream)
    persistent = info.config.storage == StorageType.FILE
    consumer = await jetstream.pull_subscribe("", durable="reader", stream=stream)
    while True:
        try:
            messages = await consumer.fetch(500, timeout=quiet)
        # Its own subclass of this, or this one: by chance, when the server's word that nothing came arrives first.
        except asyncio.TimeoutError:
            break
        for message in messages:
            headers = message.headers or {}
            # Names of NATS' headers differ by case; of CloudEvents the type is an attribute.
            content_type = headers.get("Content-Type") or headers.get("ce-datacontenttype")
            line = {
                "body": base64.b64encode(message.data).decode(),
                "id": headers.get("Nats-Msg-Id"),
                "persistent": persistent,
                "contentType": content_type,
                "headers": headers,
                "subject": message.subject,
            }
            sys.stdout.write(json.dumps(line) + "\n")
            await message.ack()
    sys.stdout.flush()
    # The acknowledgements are only on their way until then.
    await connection.flush()
    await connection.close()


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
