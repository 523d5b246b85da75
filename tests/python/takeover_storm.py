"""Many connections that compete for one identity, with plain paho-mqtt.

Argument: {"host", "device_id", "password", "connections", "seconds"}. Each connection reconnects
immediately after a takeover. Prints {"connects", "taken_over", "answered", "errors"} at the end.
"""

import json
import re
import ssl
import sys
import threading
import time

import paho.mqtt.client as mqtt

config = json.loads(sys.argv[1])
until = time.monotonic() + config["seconds"]
context = ssl.create_default_context()
lock = threading.Lock()
counts = {"connects": 0, "taken_over": 0, "answered": 0, "errors": []}


def count(name):
    with lock:
        counts[name] += 1


def on_connect(client, userdata, flags, rc):
    if rc != 0:
        with lock:
            counts["errors"].append(f"return code {rc}")
        return
    count("connects")
    client.subscribe("$iothub/methods/POST/#", qos=1)


def on_message(client, userdata, message):
    rid = re.search(r"\$rid=([^&]+)", message.topic).group(1)
    client.publish(f"$iothub/methods/res/200/?$rid={rid}", message.payload, qos=0)
    count("answered")


def reconnect_loop():
    while time.monotonic() < until:
        client = mqtt.Client(config["device_id"], clean_session=False, protocol=mqtt.MQTTv311)
        client.on_connect = on_connect
        client.on_message = on_message
        client.tls_set_context(context)
        username = f"{config['host']}/{config['device_id']}/?api-version=2019-10-01"
        client.username_pw_set(username, config["password"])
        try:
            client.connect(config["host"], 8883, keepalive=60)
            while time.monotonic() < until and client.loop(timeout=0.1) == mqtt.MQTT_ERR_SUCCESS:
                pass
            client.disconnect()
        except OSError as error:
            # Takeover at the end of the handshake.
            if not isinstance(error, (ConnectionError, ssl.SSLError, TimeoutError)):
                with lock:
                    counts["errors"].append(f"{type(error).__name__}: {error}")
        if time.monotonic() < until:
            count("taken_over")


threads = [threading.Thread(target=reconnect_loop) for _ in range(config["connections"])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(counts), flush=True)
