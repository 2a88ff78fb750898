"""Makes vectors with the providers' own Python libraries; see README.md. Usage: sdk.py [ROW...]"""

import base64
import hashlib
import hmac
import json
import sys
import time
from datetime import datetime
from importlib.metadata import version
from unittest import mock

NOW = 1700000000
TYPE = {"Content-Type": "application/json"}


class AtNow(datetime):
    """Libraries age what they verify."""

    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(NOW, tz)


def mac(key: str, message: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


def increase():
    """Standard Webhooks; the secret is one's own choice and the key as it is, without base64."""
    from increase import Increase

    secret = "a-shared-secret-of-my-own-choice"
    client = Increase(api_key="k", webhook_secret=secret)
    body = json.dumps({"associated_object_id": "account_in71c4amph0vgo2qllky", "associated_object_type": "account",
                       "category": "account.created", "created_at": "2023-11-14T22:13:20+00:00",
                       "id": "event_001dzz0r20rzr4zrhrr1364hy80", "type": "event"})
    identity = "event_001dzz0r20rzr4zrhrr1364hy80"
    headers = {"webhook-id": identity, "webhook-timestamp": str(NOW),
               "webhook-signature": "v1," + mac(secret, f"{identity}.{NOW}.{body}")}
    yield dict(source=f"PyPI increase@{version('increase')}", name="events.unwrap", secret=secret, body=body,
               headers=TYPE | headers, actions=["account.created"], delivery_id=identity,
               verify=lambda body: client.events.unwrap(body, headers=headers))


def sinch():
    from sinch.domains.authentication.sinch_events.v1 import authentication_validation as sinch_events

    secret = "foo_secret1234"
    nonce = "01FJA8B4A7BM43YGWSG9GBV067"
    body = json.dumps({"app_id": "", "project_id": "p", "message": {"id": "01FJA8B4A8"}})
    signed = sinch_events.compute_signed_data(body, nonce, str(NOW))
    headers = {"x-sinch-webhook-signature-timestamp": str(NOW), "x-sinch-webhook-signature-nonce": nonce,
               "x-sinch-webhook-signature-algorithm": "HmacSHA256",
               "x-sinch-webhook-signature": sinch_events.calculate_sinch_event_signature(signed, secret)}
    yield dict(source=f"PyPI sinch@{version('sinch')}", name="calculate_sinch_event_signature", secret=secret,
               body=body, headers=TYPE | headers,
               verify=lambda body: sinch_events.validate_sinch_event_signature_with_nonce(secret, headers, body))


CASES = {"increase": increase, "sinch": sinch}


def accepts(verify, body: str) -> bool:
    with mock.patch("standardwebhooks.webhooks.datetime", AtNow), mock.patch.object(time, "time", lambda: NOW):
        try:
            return verify(body) is not False
        except Exception:  # a refusal is whatever the library raises
            return False


def toml(row: str, vector: dict) -> str:
    text = json.dumps
    table = ", ".join(f"{text(name)} = {text(value)}" for name, value in vector["headers"].items())
    lines = [f"# {row}", "[[vectors]]", f'name = {text(vector["name"])}', 'origin = "sdk"',
             f'source = {text(vector["source"])}', f'secret = {text(vector["secret"])}', f"now = {NOW}",
             f'url = "https://hooks.example.com/in/{row}"', f"headers = {{ {table} }}", f'body = {text(vector["body"])}',
             'expect = "event"']
    lines += [f"{name} = {text(vector[name])}" for name in ("actions", "delivery_id") if name in vector]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for row, make in CASES.items():
        if sys.argv[1:] and row not in sys.argv[1:]:
            continue
        for vector in make():
            assert accepts(vector["verify"], vector["body"]), f"{row}: not accepted"
            assert not accepts(vector["verify"], vector["body"] + " "), f"{row}: accepts anything"
            print(toml(row, vector))
