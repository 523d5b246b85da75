"""A module on an edge device: it calls a method on its device and on another module of the device.

Argument: the device id. The module's credentials come from environment variables, as for a module in a debugger.
"""

import json
import sys

from azure.iot.device import IoTHubModuleClient

client = IoTHubModuleClient.create_from_edge_environment()
device_id = sys.argv[1]
for module_id, name in [(None, "device"), ("other", "module")]:
    call = {
        "methodName": "echo",
        "payload": {"to": name},
        "responseTimeoutInSeconds": 30,
        "connectTimeoutInSeconds": 10,
    }
    print(json.dumps(client.invoke_method(call, device_id, module_id)), flush=True)
client.shutdown()
