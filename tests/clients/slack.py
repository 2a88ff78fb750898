"""Sends what Slack would, signed by Slack's own library, with Python's http.client.

    SECRET=… python slack.py events|url_verification URL

Prints one line per request: its status, the SHA-256 of its body, its event, delivery id and answer.
"""

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.parse

from slack_sdk.signature import SignatureVerifier


def event(kind, event_id):
    return {
        "token": "not-a-real-token",
        "team_id": "T0001",
        "api_app_id": "A0001",
        "event": {"type": kind, "user": "U0001", "text": "h\u00e4llo \U0001f44b", "ts": "1760000000.000100"},
        "type": "event_callback",
        "event_id": event_id,
        "event_time": 1760000000,
    }


def as_json(name, delivery, value):
    return name, delivery, "application/json", json.dumps(value).encode()


def as_form(name, fields):
    return name, None, "application/x-www-form-urlencoded", urllib.parse.urlencode(fields).encode()


def events():
    yield as_json("app_mention", "Ev0001", event("app_mention", "Ev0001"))
    yield as_json("message", "Ev0002", event("message", "Ev0002"))
    yield as_form("/deploy", {"command": "/deploy", "text": "now & then=100%", "team_id": "T0001"})
    payload = {"type": "block_actions", "team": {"id": "T0001"}, "actions": [{"action_id": "ok"}]}
    yield as_form("block_actions", {"payload": json.dumps(payload)})


def url_verification():
    challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    yield as_json("url_verification", None, {"type": "url_verification", "challenge": challenge})


def main(kind, url):
    target = urllib.parse.urlsplit(url)
    verifier = SignatureVerifier(os.environ["SECRET"])
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=20)
    for name, delivery, content_type, body in {"events": events, "url_verification": url_verification}[kind]():
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": verifier.generate_signature(timestamp=timestamp, body=body),
        }
        connection.request("POST", target.path, body, headers)
        response = connection.getresponse()
        line = {
            "status": response.status,
            "sha256": hashlib.sha256(body).hexdigest(),
            "event": name,
            "delivery": delivery,
            "answer": response.read().decode(),
            "type": response.headers.get("Content-Type"),
        }
        print(json.dumps(line))


main(*sys.argv[1:])
