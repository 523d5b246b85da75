"""The tutorial's device application, line by line.

Only the connection string comes from the command line, `client` is one name throughout, and the
length of the reboot can be shortened: REBOOT_SECONDS is 20 in the tutorial.
"""

import os
import sys
import time

# import the device client library
from azure.iot.device import IoTHubDeviceClient, MethodResponse

REBOOT_SECONDS = float(os.environ.get("REBOOT_SECONDS", "20"))

# substitute the device connection string in conn_str
# and add it to the IoTHubDeviceClient object
conn_str = sys.argv[1]
client = IoTHubDeviceClient.create_from_connection_string(conn_str)


# Define the handler for method requests
def method_request_handler(method_request):
    if method_request.name == "rebootDevice":
        # Act on the method by rebooting the device
        print("Rebooting device", flush=True)
        time.sleep(REBOOT_SECONDS)
        print("Device rebooted", flush=True)
        # Create a method response indicating the method request was resolved
        resp_status = 200
        resp_payload = {"Response": "This is the response from the device"}
        method_response = MethodResponse(method_request.request_id, resp_status, resp_payload)
    else:
        # Create a method response indicating the method request was for an unknown method
        resp_status = 404
        resp_payload = {"Response": "Unknown method"}
        method_response = MethodResponse(method_request.request_id, resp_status, resp_payload)

    # Send the method response
    client.send_method_response(method_response)


try:
    # Attach the handler to the client
    client.on_method_request_received = method_request_handler
except:
    # In the event of failure, clean up
    client.shutdown()
    raise

print("listening", flush=True)
sys.stdin.read()
client.shutdown()
