"""A back end that reboots a device, with the calls of Microsoft's tutorial.

Usage: tutorial_service.py CONNECTION-STRING DEVICE-ID
METHOD_NAME is the method to call; default: rebootDevice.
"""

import os
import sys

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod

connection_string, device_id = sys.argv[1:]
name = os.environ.get("METHOD_NAME", "rebootDevice")

# The payload is a string that contains JSON; it must arrive as a string.
# The hub waits for a device that is not connected yet.
method = CloudToDeviceMethod(
    method_name=name, payload='{"method_number":"42"}', connect_timeout_in_seconds=30
)
hub = IoTHubRegistryManager.from_connection_string(connection_string)
print(f"calling {name} on {device_id}")
try:
    response = hub.invoke_device_method(device_id, method)
    print(f"status {response.status}: {response.payload}")
except Exception as error:
    print(f"the call failed: {error}")
