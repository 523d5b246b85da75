"""A pytest plugin that lets the service client of Microsoft's suite read events without AMQP.

The device client of the suite, which is the package under test, is unchanged. The suite's service helper reads
events from an Event Hubs endpoint over AMQP. This plugin reads them from the hub's `GET /messages/events`. The helper sends
messages to devices over AMQP; its other operations use HTTPS. The plugin writes the names of the tests that used it to the
file SDK_SUITE_SUBSTITUTED.
"""

import json
import os
import time
import urllib.parse
from base64 import b64decode, b64encode
from hashlib import sha256
from hmac import HMAC

import azure.eventhub
import pytest
import requests

substituted = set()
running = [None]


def authorization(connection_string):
    """Returns the hub's name and a token of the policy in the connection string."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";"))
    resource = urllib.parse.quote_plus(parts["HostName"])
    expiry = int(time.time()) + 3600
    key = b64decode(parts["SharedAccessKey"])
    signature = b64encode(HMAC(key, f"{resource}\n{expiry}".encode(), sha256).digest())
    return parts["HostName"], (
        f"SharedAccessSignature sr={resource}&sig={urllib.parse.quote_plus(signature)}"
        f"&se={expiry}&skn={parts['SharedAccessKeyName']}"
    )


class Event:
    """An event with the members of `azure.eventhub.EventData` that the suite uses."""

    class Message:
        def __init__(self, annotations, properties):
            self.annotations = annotations
            self.properties = properties

    class Properties:
        def __init__(self, content_type):
            self.content_type = content_type.encode()

    def __init__(self, line):
        system = line["systemProperties"]
        annotations = {name.encode(): value.encode() for name, value in system.items()}
        has_type = "content-type" in system
        properties = self.Properties(system["content-type"]) if has_type else None
        self.message = self.Message(annotations, properties)
        self.properties = line["properties"]
        self.system_properties = system
        self._body = line["body"] if "body" in line else b64decode(line["bodyBase64"]).decode()

    def body_as_json(self):
        try:
            return json.loads(self._body)
        except ValueError as error:
            raise TypeError("the body is not JSON") from error

    def body_as_str(self):
        return self._body


class Consumer:
    """A client with the members of `EventHubConsumerClient` that the suite uses."""

    def __init__(self, connection_string):
        self._connection_string = connection_string
        self._response = None
        self._closed = False

    @classmethod
    def from_connection_string(cls, _eventhub, consumer_group):
        del consumer_group
        return cls(os.environ["IOTHUB_E2E_IOTHUB_CONNECTION_STRING"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._closed = True
        if self._response is not None:
            self._response.close()

    def receive_batch(self, on_event_batch, **_):
        host, token = authorization(self._connection_string)
        with requests.get(
            f"https://{host}/messages/events",
            params={"position": "end"},
            headers={"Authorization": token, "Accept": "application/x-ndjson"},
            stream=True,
            timeout=(10, 120),
        ) as response:
            response.raise_for_status()
            self._response = response
            try:
                # Read byte by byte: with larger chunks an event is delayed until the next one arrives.
                for line in response.iter_lines(chunk_size=1):
                    if line:
                        on_event_batch(None, [Event(json.loads(line))])
            except Exception:
                if not self._closed:
                    raise


def record_use(name):
    """Wraps the helper's method of that name and records that the current test called it."""
    real = getattr(service_helper_sync.ServiceHelperSync, name)

    def method(self, *args, **kwargs):
        substituted.add(running[0])
        return real(self, *args, **kwargs)

    return method


# At import time, because pytest loads the suite's `conftest.py` before it runs any hook of a plugin.
azure.eventhub.EventHubConsumerClient = Consumer
from dev_utils import service_helper_sync  # noqa: E402

for method_name in ("wait_for_eventhub_arrival", "get_next_reported_patch_arrival"):
    setattr(service_helper_sync.ServiceHelperSync, method_name, record_use(method_name))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    running[0] = item.nodeid


def pytest_sessionfinish():
    path = os.environ.get("SDK_SUITE_SUBSTITUTED")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(sorted(name for name in substituted if name)))
