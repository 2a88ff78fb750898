"""Binds the queue `torture` to the exchange of that name, or takes the binding away.

    bind_rabbitmq.py URL bind|unbind

Either is made if it is missing. Without the binding, what comes to the exchange can't be routed, and nothing that
was routed before is touched.
"""

import sys

import pika

NAME = "torture"
url, what = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.exchange_declare(NAME, "topic", durable=True)
arguments = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
channel.queue_declare(NAME, durable=True, arguments=arguments)
if what == "bind":
    channel.queue_bind(NAME, NAME, "#")
else:
    channel.queue_unbind(NAME, NAME, "#")
connection.close()
