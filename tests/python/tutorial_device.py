"""A device that can be rebooted remotely, with the calls of Microsoft's tutorial.

Usage: tutorial_device.py CONNECTION-STRING
REBOOT_SECONDS is the duration of a reboot; default: 20, as in the tutorial.
"""

import os
import signal
import sys
import time

from azure.iot.device import IoTHubDeviceClient, MethodResponse

reboot_seconds = float(os.environ.get("REBOOT_SECONDS", "20"))
device = IoTHubDeviceClient.create_from_connection_string(sys.argv[1])


def say(text):
    print(text, flush=True)


def handle(call):
    """Runs in a thread of the client, once per call."""
    if call.name == "rebootDevice":
        say("going down")
        time.sleep(reboot_seconds)
        say("up again")
        status, payload = 200, {"Response": "This is the response from the device"}
    else:
        status, payload = 404, {"Response": "Unknown method"}
    device.send_method_response(MethodResponse(call.request_id, status, payload))


# This also connects and subscribes.
device.on_method_request_received = handle
say("listening")
signal.pause()
