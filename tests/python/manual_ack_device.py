"""A device on plain paho-mqtt that sends PUBACK only when the test requests it.

Argument: {"host", "client_id", "password", "clean_session"}.
"""

import base64
import json
import ssl
import sys

import paho.mqtt.client as mqtt

import json_lines


def main():
    config = json.loads(sys.argv[1])
    client = mqtt.Client(
        config["client_id"], clean_session=config["clean_session"], protocol=mqtt.MQTTv311
    )
    client.tls_set_context(ssl.create_default_context())
    client.username_pw_set(
        f"{config['host']}/{config['client_id']}/?api-version=2021-04-12", config["password"]
    )
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    send_puback = client._send_puback
    # Only the operation `acknowledge` sends a PUBACK.
    client._send_puback = lambda mid: mqtt.MQTT_ERR_SUCCESS

    def on_connect(client, userdata, flags, rc):
        json_lines.event("connected", code=rc, session_present=bool(flags["session present"]))

    def on_disconnect(client, userdata, rc):
        json_lines.event("disconnected", code=rc)

    def on_subscribe(client, userdata, mid, granted_qos):
        json_lines.event("subscribed", granted=list(granted_qos))

    def on_message(client, userdata, message):
        json_lines.event(
            "message",
            topic=message.topic,
            body=base64.b64encode(message.payload).decode(),
            qos=message.qos,
            packet_id=message.mid,
            dup=bool(message.dup),
        )

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_subscribe = on_subscribe
    client.on_message = on_message

    def connect():
        client.connect(config["host"], 8883, keepalive=60)
        client.loop_start()

    def disconnect():
        client.disconnect()
        client.loop_stop()

    def subscribe(filter, qos):
        client.subscribe(filter, qos)

    def acknowledge(packet_id):
        send_puback(packet_id)

    json_lines.serve(
        {
            "connect": connect,
            "disconnect": disconnect,
            "subscribe": subscribe,
            "acknowledge": acknowledge,
        }
    )


main()
