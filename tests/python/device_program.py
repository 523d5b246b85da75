"""Creates the client of a test device and defines its method responses, for both the sync and the async client."""

import base64

from azure.iot.device import X509, Message


def create(device_class, module_class, config):
    """Creates a device or module client of the given classes from the configuration of the test."""
    options = config.get("options", {})
    client_class = device_class
    if "connection_string" in config:
        if "ModuleId=" in config["connection_string"]:
            client_class = module_class
        return client_class.create_from_connection_string(
            config["connection_string"], **options
        )
    if "sastoken" in config:
        return client_class.create_from_sastoken(config["sastoken"], **options)
    x509 = config["x509"]
    if "module_id" in x509:
        client_class = module_class
        options = {"module_id": x509["module_id"], **options}
    return client_class.create_from_x509_certificate(
        hostname=x509["hostname"],
        device_id=x509["device_id"],
        x509=X509(cert_file=x509["cert_file"], key_file=x509["key_file"]),
        **options,
    )


def response_to(request):
    """Returns the response to a call: (seconds to wait, status, payload), or None for no response."""
    name, payload = request.name, request.payload
    if name == "rebootDevice":
        return 0, 200, {"Response": "This is the response from the device"}
    if name == "echo":
        return 0, 200, payload
    if name == "answer":
        return payload.get("seconds", 0), payload["status"], payload.get("payload")
    if name == "silence":
        return None
    return 0, 404, {"Response": "Unknown method"}


def request_fields(request):
    return {
        "request_id": request.request_id,
        "name": request.name,
        "payload": request.payload,
    }


def message(fields):
    """Creates a message to send from its body (text or base64) and its properties."""
    body = fields.get("text")
    if body is None:
        body = base64.b64decode(fields["base64"])
    result = Message(body)
    for name, value in fields.get("system", {}).items():
        setattr(result, name, value)
    result.custom_properties.update(fields.get("custom", {}))
    return result


def message_fields(message):
    """Returns the fields of a received message."""
    expiry = message.expiry_time_utc
    return {
        "data": base64.b64encode(message.data).decode(),
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "user_id": message.user_id,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "expiry": expiry if expiry is None else str(expiry),
        "ack": message.ack,
        "input_name": message.input_name,
        "properties": message.custom_properties,
    }
