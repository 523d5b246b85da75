"""A client that the hub refuses, or that refuses the hub.

Argument: {"mode", "host", "port", "cert_file", "key_file"}. Prints {"error": ...} of the TLS handshake, or
{"return_code": n} of CONNACK.
"""

import json
import socket
import ssl
import sys
import threading
import warnings

import paho.mqtt.client as mqtt

warnings.simplefilter("ignore")
config = json.loads(sys.argv[1])
mode, host, port = config["mode"], config["host"], config["port"]


def tls_context():
    if mode == "untrusting":
        # Without the CA of the hub.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    if mode == "old-tls":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    if mode == "old-cipher":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA")
    if mode == "certificate":
        context.load_cert_chain(config["cert_file"], config["key_file"])
    return context


def handshake():
    name = "other.example" if mode == "other-name" else host
    try:
        with socket.create_connection((host, port), timeout=15) as plain:
            with tls_context().wrap_socket(plain, server_hostname=name) as stream:
                # With TLS 1.3, a server refuses a certificate after the client's handshake.
                return stream.recv(1)
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def connect(protocol):
    answered, seen = threading.Event(), []

    def on_connect(client, userdata, flags, rc, properties=None):
        seen.append(rc if isinstance(rc, int) else rc.value)
        answered.set()

    def on_disconnect(client, userdata, rc, properties=None):
        answered.set()

    client = mqtt.Client("dev1", protocol=protocol)
    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    client.tls_set_context(ssl.create_default_context())
    client.username_pw_set("dev1", "secret")
    client.connect(host, port)
    client.loop_start()
    assert answered.wait(15), "neither CONNACK nor the end of the connection"
    client.loop_stop()
    return seen


if mode in ("mqtt5", "mqtt31"):
    print(json.dumps({"return_codes": connect(mqtt.MQTTv5 if mode == "mqtt5" else mqtt.MQTTv31)}))
else:
    print(json.dumps({"error": str(handshake())}))
