"""A reader of events on Microsoft's `azure-eventhub`, which runs the operations that the test requests.

Argument: {"connection_string": ...}, with "transport": "amqp_ws" for WebSocket, "asynchronous": true for
the asynchronous client, "group": the consumer group.
"""

import asyncio
import datetime
import json
import os
import sys
import threading

import azure.eventhub
import azure.eventhub.aio
from azure.eventhub import TransportType
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
from azure.eventhub.extensions.checkpointstoreblobaio import (
    BlobCheckpointStore as AsyncBlobCheckpointStore,
)

import json_lines

LIMIT = 60


def text(value):
    """Returns keys and values of system properties, which are bytes, as JSON."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {text(name): text(entry) for name, entry in value.items()}
    return value


def describe(context, event):
    fields = {
        "partition": context.partition_id,
        "sequence": event.sequence_number,
        "offset": event.offset,
        "enqueued": event.enqueued_time.isoformat(),
        "body": event.body_as_str(),
        "properties": text(event.properties),
        "system": text(event.system_properties),
    }
    if context.last_enqueued_event_properties:
        fields["last"] = text(context.last_enqueued_event_properties)
    return fields


def position(value):
    """Returns a start position: an offset, a sequence number, or {"time": ...}."""
    if isinstance(value, dict):
        return datetime.datetime.fromisoformat(value["time"])
    return value


def settings(config, checkpoints):
    arguments = {
        "consumer_group": config.get("group", "$Default"),
        "connection_verify": os.environ["SSL_CERT_FILE"],
        "retry_total": config.get("retry_total", 1),
        "load_balancing_interval": 1,
    }
    if config.get("transport") == "amqp_ws":
        arguments["transport_type"] = TransportType.AmqpOverWebsocket
    if checkpoints:
        asynchronous = config.get("asynchronous")
        store = AsyncBlobCheckpointStore if asynchronous else BlobCheckpointStore
        arguments["checkpoint_store"] = store.from_connection_string(
            checkpoints["connection_string"], checkpoints["container"]
        )
    return arguments


def receive_arguments(arguments, errors, done):
    def failed(context, error):
        errors.append({"type": type(error).__name__, "message": str(error)})
        done()

    passed = {"on_error": failed, "starting_position": position(arguments.get("position", "-1"))}
    for name in ("owner_level", "partition_id", "track_last_enqueued_event_properties", "prefetch"):
        if name in arguments:
            passed[name] = arguments[name]
    if "inclusive" in arguments:
        passed["starting_position_inclusive"] = arguments["inclusive"]
    return passed


class Synchronous:
    def __init__(self, config):
        self.config = config

    def client(self, checkpoints=None):
        return azure.eventhub.EventHubConsumerClient.from_connection_string(
            self.config["connection_string"], **settings(self.config, checkpoints)
        )

    def properties(self):
        with self.client() as client:
            hub = client.get_eventhub_properties()
            partitions = [client.get_partition_properties(id) for id in hub["partition_ids"]]
        return {"hub": text(hub), "partitions": [text(partition) for partition in partitions]}

    def receive(self, count, checkpoints=None, **arguments):
        events, errors, done = [], [], threading.Event()
        finished = []
        client = self.client(checkpoints)

        def received(context, event):
            if event is None or len(events) >= count:
                return
            events.append(describe(context, event))
            json_lines.event("received", **events[-1])
            if checkpoints:
                context.update_checkpoint(event)
            # Another partition may have the last event while the checkpoint of this one is written.
            finished.append(event)
            if len(finished) == count:
                done.set()

        passed = receive_arguments(arguments, errors, done.set)
        thread = threading.Thread(
            target=client.receive, kwargs={"on_event": received, **passed}, daemon=True
        )
        thread.start()
        completed = done.wait(LIMIT)
        client.close()
        thread.join(LIMIT)
        return {"events": events, "errors": errors, "completed": completed}


class Asynchronous:
    def __init__(self, config):
        self.config = config

    def client(self, checkpoints=None):
        return azure.eventhub.aio.EventHubConsumerClient.from_connection_string(
            self.config["connection_string"], **settings(self.config, checkpoints)
        )

    def properties(self):
        return asyncio.run(self._properties())

    async def _properties(self):
        async with self.client() as client:
            hub = await client.get_eventhub_properties()
            partitions = [await client.get_partition_properties(id) for id in hub["partition_ids"]]
        return {"hub": text(hub), "partitions": [text(partition) for partition in partitions]}

    def receive(self, count, checkpoints=None, **arguments):
        return asyncio.run(self._receive(count, checkpoints, arguments))

    async def _receive(self, count, checkpoints, arguments):
        events, errors, done = [], [], asyncio.Event()
        finished = 0

        async def received(context, event):
            nonlocal finished
            if event is None or len(events) >= count:
                return
            events.append(describe(context, event))
            json_lines.event("received", **events[-1])
            if checkpoints:
                await context.update_checkpoint(event)
            # Another partition may have the last event while the checkpoint of this one is written.
            finished += 1
            if finished == count:
                done.set()

        passed = receive_arguments(arguments, errors, done.set)
        on_error = passed.pop("on_error")

        async def failed(context, error):
            on_error(context, error)

        async with self.client(checkpoints) as client:
            task = asyncio.create_task(
                client.receive(on_event=received, on_error=failed, **passed)
            )
            try:
                await asyncio.wait_for(done.wait(), LIMIT)
                completed = True
            except asyncio.TimeoutError:
                completed = False
        await asyncio.wait([task], timeout=LIMIT)
        return {"events": events, "errors": errors, "completed": completed}


def main():
    config = json.loads(sys.argv[1])
    reader = Asynchronous(config) if config.get("asynchronous") else Synchronous(config)
    json_lines.serve({"properties": reader.properties, "receive": reader.receive})


main()
