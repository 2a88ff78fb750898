#!/usr/bin/env python3
"""Stands in for the daemon, and acknowledges everything. What it does with it, LIAR says:

    keeps     keeps it
    loses     drops every fiftieth
    alters    changes a byte of every fiftieth
    doubles   keeps every fiftieth twice

It takes as much of the daemon's command line as the harness uses, with the embedded queue.
"""

import base64
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

if sys.argv[1:] == ["--version"]:
    print("liar")
    sys.exit()

MODE = os.environ["LIAR"]
arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
STORE = os.path.join(arguments["--data-dir"], "queue.db")
lock = Lock()
taken = 0


class Daemon(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        global taken
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            taken += 1
            copies = 1
            if taken % 50 == 0:
                copies = {"loses": 0, "doubles": 2}.get(MODE, 1)
                if MODE == "alters":
                    body = body.replace(b"odd", b"Odd", 1)
            line = {
                "receiver": "github",
                "actions": [self.headers["X-GitHub-Event"]],
                "deliveryId": self.headers["X-GitHub-Delivery"],
                "data": None,
                "bodyBase64": base64.b64encode(body).decode(),
                "request": {
                    "query": self.path.partition("?")[2],
                    "headers": {"x-torture": self.headers.get_all("X-Torture")},
                },
            }
            with open(STORE, "a") as store:
                store.write(copies * (json.dumps(line) + "\n"))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def server(flag):
    host, port = arguments[flag].split(":")
    return ThreadingHTTPServer((host, int(port)), Daemon)


if sys.argv[1] == "work":
    with open(STORE) as store:
        sys.stdout.write(store.read())
else:
    Thread(target=server("--ops-listen").serve_forever, daemon=True).start()
    try:
        server("--listen").serve_forever()
    except KeyboardInterrupt:
        pass
