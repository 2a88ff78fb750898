"""Reads CloudEvents, one a line from standard input, with the CloudEvents SDK for Python.

Prints one line per event: what the SDK says of it.
"""

import base64
import json
import sys

from cloudevents.core.formats.json import JSONFormat


def described(data):
    if data is None:
        return {"kind": "none"}
    if isinstance(data, bytes):
        return {"kind": "bytes", "base64": base64.b64encode(data).decode()}
    if isinstance(data, str):
        return {"kind": "text", "base64": base64.b64encode(data.encode()).decode()}
    return {"kind": "json", "value": data}


for line in sys.stdin.buffer:
    event = JSONFormat().read(None, line)
    facts = {
        "specversion": event.get_specversion(),
        "id": event.get_id(),
        "type": event.get_type(),
        "source": event.get_source(),
        "subject": event.get_subject(),
        "timeMs": int(event.get_time().timestamp() * 1000),
        "datacontenttype": event.get_datacontenttype(),
        "delivery": event.get_extension("sluiceddeliveryid"),
        "data": described(event.get_data()),
    }
    print(json.dumps(facts))
