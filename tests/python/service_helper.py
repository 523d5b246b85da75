"""A back end as in Microsoft's samples: sends a message to a device, and prints its telemetry and the changes of its twin.

Argument: the device id. The clients find the hub in the variables that `ferrohub env` prints.
"""

import os
import sys
import threading

from azure.eventhub import EventHubConsumerClient
from azure.iot.hub import IoTHubRegistryManager


def annotation(event, name):
    return event.message.annotations[name.encode()].decode()


def main():
    device_id = sys.argv[1]
    registry_manager = IoTHubRegistryManager(os.environ["IOTHUB_CONNECTION_STRING"])
    consumer = EventHubConsumerClient.from_connection_string(
        os.environ["EVENTHUB_CONNECTION_STRING"],
        consumer_group="$default",
        connection_verify=os.environ["SSL_CERT_FILE"],
    )
    initialized = []
    reading = threading.Event()

    def on_partition_initialize(context):
        initialized.append(context.partition_id)
        if len(initialized) == 4:
            reading.set()

    def on_event_batch(_context, events):
        for event in events:
            if annotation(event, "iothub-connection-device-id") != device_id:
                continue
            if annotation(event, "iothub-message-source") == "twinChangeEvents":
                properties = event.body_as_json()["properties"]
                reported = {
                    name: value for name, value in properties["reported"].items() if not name.startswith("$")
                }
                print("patch", {"reported": reported})
                continue
            properties = {name.decode(): value.decode() for name, value in event.properties.items()}
            print(
                "telemetry",
                event.system_properties[b"message-id"].decode(),
                event.message.properties.content_type.decode(),
                event.body_as_json(),
                properties,
            )

    def receive():
        with consumer:
            consumer.receive_batch(
                max_wait_time=2,
                on_event_batch=on_event_batch,
                on_error=lambda _context, error: print("error", error),
                on_partition_initialize=on_partition_initialize,
                starting_position="-1",
            )

    threading.Thread(target=receive, daemon=True).start()
    reading.wait(60)
    print("reading")
    registry_manager.send_c2d_message(device_id, "hello", {"ack": "full"})
    sys.stdin.read()
    os._exit(0)


main()
