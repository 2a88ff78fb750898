"""Binds the queue `torture` to the exchange of that name for some events, and takes the other bindings away.

    bind_rabbitmq.py URL [EVENT…]

Either is made if it is missing. What has no binding can't be routed; nothing that was routed before is touched.
"""

import sys

import pika

NAME = "torture"
EVENTS = ("push", "star.*")
url, bound = sys.argv[1], sys.argv[2:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.exchange_declare(NAME, "topic", durable=True)
arguments = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
channel.queue_declare(NAME, durable=True, arguments=arguments)
for event in EVENTS:
    change = channel.queue_bind if event in bound else channel.queue_unbind
    change(NAME, NAME, event)
connection.close()
