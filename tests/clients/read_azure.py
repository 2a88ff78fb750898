"""Takes everything out of an Azure Storage queue with azure-storage-queue, and prints one message per line as JSON.

    read_azure.py CONNECTION_STRING QUEUE QUIET_SECONDS

Ends when nothing has come for so long. Bodies are in base64, as what the queue's text was decoded to.
"""

import base64
import json
import sys
import time

from azure.storage.queue import BinaryBase64DecodePolicy, QueueClient

connection_string, name, quiet = sys.argv[1], sys.argv[2], float(sys.argv[3])
queue = QueueClient.from_connection_string(
    connection_string, name, message_decode_policy=BinaryBase64DecodePolicy()
)
last_came = time.monotonic()
while time.monotonic() - last_came < quiet:
    messages = list(queue.receive_messages(max_messages=32, visibility_timeout=300))
    for message in messages:
        line = {
            "body": base64.b64encode(message.content).decode(),
            "id": None,
            # What is accepted is stored; there is no other kind.
            "persistent": True,
            "headers": {},
        }
        sys.stdout.write(json.dumps(line) + "\n")
        queue.delete_message(message)
    if messages:
        last_came = time.monotonic()
    else:
        time.sleep(0.1)
sys.stdout.flush()
