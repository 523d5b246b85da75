"""A device on Microsoft's asynchronous client, with the operations of `device.py`."""

import asyncio
import json
import sys
import threading

from azure.iot.device import MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

import json_lines
from device_program import create, message, message_fields, request_fields, response_to


async def start(config):
    client = create(IoTHubDeviceClient, IoTHubModuleClient, config)

    async def on_method_request(request):
        json_lines.event("request", **request_fields(request))
        response = response_to(request)
        if response is None:
            return
        seconds, status, payload = response
        await asyncio.sleep(seconds)
        await client.send_method_response(MethodResponse(request.request_id, status, payload))
        json_lines.event("answered", request_id=request.request_id)

    async def on_connection_state_change():
        json_lines.event("connection", connected=client.connected)

    async def on_background_exception(error):
        json_lines.event("background_exception", **json_lines.describe(error))

    client.on_connection_state_change = on_connection_state_change
    client.on_background_exception = on_background_exception
    return client, on_method_request


def main():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def wait(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    client, on_method_request = wait(start(json.loads(sys.argv[1])))

    async def listen():
        await client.connect()
        client.on_method_request_received = on_method_request

    async def watch_desired(on):
        async def on_patch(patch):
            json_lines.event("desired", patch=patch)

        await client.connect()
        client.on_twin_desired_properties_patch_received = on_patch if on else None

    async def send(messages, output=None):
        """Sends the messages concurrently."""
        if output is None:
            sends = [client.send_message(message(fields)) for fields in messages]
        else:
            sends = [client.send_message_to_output(message(fields), output) for fields in messages]
        await asyncio.gather(*sends)

    async def listen_for_messages(on):
        async def on_message(message):
            json_lines.event("message", **message_fields(message))

        await client.connect()
        client.on_message_received = on_message if on else None

    json_lines.serve(
        {
            "connect": lambda: wait(client.connect()),
            "listen": lambda: wait(listen()),
            "listen_for_messages": lambda on=True: wait(listen_for_messages(on)),
            "get_twin": lambda: wait(client.get_twin()),
            "report": lambda patch: wait(client.patch_twin_reported_properties(patch)),
            "send": lambda messages, output=None: wait(send(messages, output)),
            "watch_desired": lambda on=True: wait(watch_desired(on)),
            "storage_info": lambda blob_name: wait(client.get_storage_info_for_blob(blob_name)),
            "notify_upload": lambda **outcome: wait(client.notify_blob_upload_status(**outcome)),
            "disconnect": lambda: wait(client.disconnect()),
            "shutdown": lambda: wait(client.shutdown()),
        }
    )


main()
