"""Takes everything out of a RabbitMQ queue with pika, and prints one message per line as JSON.

    read_rabbitmq.py URL QUEUE QUIET_SECONDS

Ends when nothing has come for so long. Bodies are in base64, as they came.
"""

import base64
import json
import sys

import pika

url, queue, quiet = sys.argv[1], sys.argv[2], float(sys.argv[3])
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.basic_qos(prefetch_count=500)
for method, properties, body in channel.consume(queue, inactivity_timeout=quiet):
    if method is None:
        break
    line = {
        "body": base64.b64encode(body).decode(),
        "id": properties.message_id,
        "persistent": properties.delivery_mode == 2,
        "contentType": properties.content_type,
        "headers": {name: str(value) for name, value in (properties.headers or {}).items()},
    }
    sys.stdout.write(json.dumps(line) + "\n")
    channel.basic_ack(method.delivery_tag)
sys.stdout.flush()
channel.cancel()
connection.close()
