"""A device on Microsoft's synchronous client, which runs the operations that the test requests.

The name of a method determines its response: see `device_program.response_to`.
Argument: {"connection_string" | "x509" | "sastoken": ..., "options": {...}}.
"""

import json
import sys
import time

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, MethodResponse

import json_lines
from device_program import create, message, message_fields, request_fields, response_to


def main():
    client = create(IoTHubDeviceClient, IoTHubModuleClient, json.loads(sys.argv[1]))

    def on_method_request(request):
        json_lines.event("request", **request_fields(request))
        response = response_to(request)
        if response is None:
            return
        seconds, status, payload = response
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
        def on_patch(patch):
            json_lines.event("desired", patch=patch)

        # Connect first: if the handler is already set, the client reads its twin on connect and calls the handler with
        # all desired properties.
        client.connect()
        client.on_twin_desired_properties_patch_received = on_patch if on else None

    def listen_for_messages(on=True):
        def on_message(message):
            json_lines.event("message", **message_fields(message))

        client.on_message_received = on_message if on else None

    def receive_message(timeout):
        """Returns the next message in the order of arrival; handlers run concurrently and lose the order."""
        message = client.receive_message(timeout=timeout)
        return None if message is None else message_fields(message)

    def report(patch):
        client.patch_twin_reported_properties(patch)

    def send(messages, output=None):
        """Sends the messages one after another, each after the acknowledgement of the previous one."""
        for fields in messages:
            if output is None:
                client.send_message(message(fields))
            else:
                client.send_message_to_output(message(fields), output)

    def send_until_failure(prefix):
        """Sends messages until one fails, each after the acknowledgement of the previous one. Returns the number of
        acknowledged messages."""
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
