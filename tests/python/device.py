"""A device on Microsoft's synchronous client, told what to do by the test.

What it does with a method call is said by the method's name: see `device_program.answer`.
Argument: {"connection_string" | "x509" | "sastoken": ..., "options": {...}}.
"""

import json
import sys
import time

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, MethodResponse

import json_lines
from device_program import answer, create, message, message_fields, request_fields


def main():
    client = create(IoTHubDeviceClient, IoTHubModuleClient, json.loads(sys.argv[1]))

    def on_method_request(request):
        json_lines.event("request", **request_fields(request))
        todo = answer(request)
        if todo is None:
            return
        seconds, status, payload = todo
        time.sleep(seconds)
        client.send_method_response(MethodResponse(request.request_id, status, payload))
        json_lines.event("answered", request_id=request.request_id)

    def on_connection_state_change():
        json_lines.event("connection", connected=client.connected)

    def on_background_exception(error):
        json_lines.event("background_exception", **json_lines.describe(error))

    client.on_connection_state_change = on_connection_state_change
    client.on_background_exception = on_background_exception

    def listen():
        client.on_method_request_received = on_method_request

    def watch_desired(on=True):
        def told(patch):
            json_lines.event("desired", patch=patch)

        # Connected first: a client that connects with the handler set reads its twin and tells of all of it.
        client.connect()
        client.on_twin_desired_properties_patch_received = told if on else None

    def listen_for_messages(on=True):
        def received(message):
            json_lines.event("message", **message_fields(message))

        client.on_message_received = received if on else None

    def receive_message(timeout):
        """The next message, in the order in which they came: handlers run beside each other."""
        message = client.receive_message(timeout=timeout)
        return None if message is None else message_fields(message)

    def report(patch):
        client.patch_twin_reported_properties(patch)

    def send(messages, output=None):
        """Sends them one after the other; each is safe with the hub before the next one goes out."""
        for fields in messages:
            if output is None:
                client.send_message(message(fields))
            else:
                client.send_message_to_output(message(fields), output)

    def send_until_failure(prefix):
        """Sends messages until one fails, each when the one before it is safe. How many are."""
        sent = 0
        while True:
            try:
                client.send_message(f"{prefix}{sent}")
            except Exception:
                return sent
            sent += 1

    def update_sastoken(sastoken):
        client.update_sastoken(sastoken)

    json_lines.serve(
        {
            "connect": client.connect,
            "listen": listen,
            "listen_for_messages": listen_for_messages,
            "receive_message": receive_message,
            "get_twin": client.get_twin,
            "report": report,
            "send": send,
            "send_until_failure": send_until_failure,
            "watch_desired": watch_desired,
            "disconnect": client.disconnect,
            "shutdown": client.shutdown,
            "update_sastoken": update_sastoken,
            "storage_info": lambda blob_name: client.get_storage_info_for_blob(blob_name),
            "notify_upload": lambda **outcome: client.notify_blob_upload_status(**outcome),
        }
    )


main()
