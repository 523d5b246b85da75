"""The tutorial's back end, line by line: connection string and device id from the command line."""

import os
import sys

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, CloudToDeviceMethodResult  # noqa: F401

CONNECTION_STRING = sys.argv[1]
DEVICE_ID = sys.argv[2]

METHOD_NAME = os.environ.get("METHOD_NAME", "rebootDevice")
METHOD_PAYLOAD = "{\"method_number\":\"42\"}"
TIMEOUT = 60
WAIT_COUNT = 10


def iothub_devicemethod_sample_run():
    try:
        # Connect to IoT hub
        registry_manager = IoTHubRegistryManager.from_connection_string(CONNECTION_STRING)

        print ( "" )
        print ( "Invoking device to reboot..." )

        # Call the direct method.
        deviceMethod = CloudToDeviceMethod(method_name=METHOD_NAME, payload=METHOD_PAYLOAD)
        response = registry_manager.invoke_device_method(DEVICE_ID, deviceMethod)

        print ( "Successfully invoked the device to reboot." )

        print ( "The device has returned this payload:" )
        print ( response.payload )

    except Exception as ex:
        print ( "" )
        print ( "Unexpected error {0}".format(ex) )
        return


iothub_devicemethod_sample_run()
