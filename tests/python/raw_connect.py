"""One MQTT connection with arbitrary credentials, with plain paho-mqtt.

Argument: {"host", "client_id", "username", "password", "cert_file", "key_file", "websocket", "seconds"}.
Prints {"return_code": n, "session_present": bool}, or {"error": ...} if there was no CONNACK.
"""

import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt

config = json.loads(sys.argv[1])
answered = threading.Event()
seen = {}


def on_connect(client, userdata, flags, rc):
    # paho retries after a refusal: only the first CONNACK counts.
    if not answered.is_set():
        seen.update(return_code=rc, session_present=bool(flags["session present"]))
        answered.set()


websocket = config.get("websocket")
transport = "websockets" if websocket else "tcp"
client = mqtt.Client(config["client_id"], clean_session=False, protocol=mqtt.MQTTv311, transport=transport)
if websocket:
    client.ws_set_options(path="/$iothub/websocket")
client.on_connect = on_connect
context = ssl.create_default_context()
if config.get("cert_file"):
    context.load_cert_chain(config["cert_file"], config["key_file"])
client.tls_set_context(context)
client.username_pw_set(config["username"], config.get("password"))
try:
    client.connect(config["host"], 443 if websocket else 8883, keepalive=60)
    client.loop_start()
    if not answered.wait(config.get("seconds", 15)):
        seen["error"] = "closed without CONNACK"
except OSError as error:
    seen["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(seen), flush=True)
