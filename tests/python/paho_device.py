"""A device on plain paho-mqtt, for packets that Microsoft's client cannot send.

Argument: {"host", "client_id", "password", "will": {"topic", "payload", "retain"} or null}.
"""

import base64
import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt

import json_lines

config = json.loads(sys.argv[1])
client = mqtt.Client(config["client_id"], clean_session=True, protocol=mqtt.MQTTv311)
client.tls_set_context(ssl.create_default_context())
client.username_pw_set(
    f"{config['host']}/{config['client_id']}/?api-version=2019-10-01", config["password"]
)
if config.get("will"):
    will = config["will"]
    client.will_set(will["topic"], will["payload"], qos=1, retain=will["retain"])

connected = threading.Event()
closed = threading.Event()


def on_connect(client, userdata, flags, rc):
    if rc == 0:
        connected.set()


client.on_connect = on_connect


def run():
    # Not paho's own loop, which would reconnect.
    while client.loop(timeout=0.05) == mqtt.MQTT_ERR_SUCCESS:
        pass
    closed.set()


def connect():
    client.connect(config["host"], 8883, keepalive=60)
    threading.Thread(target=run, daemon=True).start()
    for _ in range(200):
        if connected.wait(0.05):
            return True
        if closed.is_set():
            return False
    raise TimeoutError("neither accepted nor refused")


def publish(topic, payload, qos=1, retain=False):
    """Returns True when the message is acknowledged (QoS 0: written), False if the hub closed the connection."""
    info = client.publish(topic, base64.b64decode(payload), qos=qos, retain=retain)
    if info.rc != mqtt.MQTT_ERR_SUCCESS:
        return False
    for _ in range(400):
        if info.is_published():
            return True
        if closed.wait(0.05):
            # With QoS 0 the message may have been written before.
            return info.is_published()
    raise TimeoutError("neither acknowledged nor closed")


def wait_until_closed():
    return closed.wait(20)


def close_socket():
    """Closes the socket without DISCONNECT."""
    client.socket().close()


json_lines.serve(
    {
        "connect": connect,
        "publish": publish,
        "wait_until_closed": wait_until_closed,
        "close_socket": close_socket,
        "disconnect": client.disconnect,
    }
)
