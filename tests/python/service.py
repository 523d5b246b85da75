"""A back end on Microsoft's service client, which runs the operations that the test requests.

Argument: {"connection_string": ...} or {"entra": {"host", "tenant_id", "client_id",
"client_secret", "authority"}}, with "transport": "amqp_ws" for messages over WebSocket, and with
"record_calls": true for the operation `calls`, which returns the client's methods that were called.
"""

import base64
import json
import sys
import time

import jwt
import requests
from azure.identity import ClientSecretCredential
from azure.iot.hub import (
    DigitalTwinClient,
    IoTHubConfigurationManager,
    IoTHubHttpRuntimeManager,
    IoTHubJobManager,
    IoTHubRegistryManager,
)
from azure.iot.hub.models import CloudToDeviceMethod, QuerySpecification, Twin, TwinProperties
from azure.iot.hub.protocol.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    JobProperties,
    JobRequest,
)
from uamqp import TransportType
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import json_lines
from call_recorder import CallRecorder

CLIENT_CLASSES = [
    DigitalTwinClient,
    IoTHubConfigurationManager,
    IoTHubHttpRuntimeManager,
    IoTHubJobManager,
    IoTHubRegistryManager,
]


def entra_credential(entra):
    return ClientSecretCredential(
        entra["tenant_id"],
        entra["client_id"],
        entra["client_secret"],
        authority=entra["authority"],
        disable_instance_discovery=True,
    )


def create(config):
    over_websocket = config.get("transport") == "amqp_ws"
    transport = TransportType.AmqpOverWebsocket if over_websocket else TransportType.Amqp
    if "connection_string" in config:
        return IoTHubRegistryManager.from_connection_string(config["connection_string"], transport)
    return IoTHubRegistryManager.from_token_credential(
        config["entra"]["host"], entra_credential(config["entra"]), transport
    )


def main():
    config = json.loads(sys.argv[1])
    recorder = CallRecorder(CLIENT_CLASSES, __file__)
    if config.get("record_calls"):
        recorder.start()
    manager = create(config)

    def create_device_with_sas(device_id, primary_key=None, secondary_key=None, status="enabled"):
        device = manager.create_device_with_sas(device_id, primary_key, secondary_key, status)
        return device.serialize(keep_readonly=True)

    def create_device_with_x509(
        device_id, primary_thumbprint, secondary_thumbprint=None, status="enabled"
    ):
        device = manager.create_device_with_x509(
            device_id, primary_thumbprint, secondary_thumbprint, status
        )
        return device.serialize(keep_readonly=True)

    def create_device_with_certificate_authority(device_id, status="enabled"):
        device = manager.create_device_with_certificate_authority(device_id, status)
        return device.serialize(keep_readonly=True)

    def update_device_with_sas(device_id, etag, primary_key, secondary_key, status="enabled"):
        device = manager.update_device_with_sas(
            device_id, etag, primary_key, secondary_key, status
        )
        return device.serialize(keep_readonly=True)

    def update_device_with_x509(
        device_id, etag, primary_thumbprint, secondary_thumbprint, status="enabled"
    ):
        device = manager.update_device_with_x509(
            device_id, etag, primary_thumbprint, secondary_thumbprint, status
        )
        return device.serialize(keep_readonly=True)

    def update_device_with_certificate_authority(device_id, etag, status="enabled"):
        device = manager.update_device_with_certificate_authority(device_id, etag, status)
        return device.serialize(keep_readonly=True)

    def get_service_statistics():
        return manager.get_service_statistics().serialize(keep_readonly=True)

    def get_device_registry_statistics():
        return manager.get_device_registry_statistics().serialize(keep_readonly=True)

    def create_edge_device(device_id, parent_scopes=None):
        device = manager.create_device_with_sas(
            device_id, None, None, "enabled", iot_edge=True, parent_scopes=parent_scopes
        )
        return device.serialize(keep_readonly=True)

    def create_leaf_device(device_id, device_scope):
        device = manager.create_device_with_sas(
            device_id, None, None, "enabled", device_scope=device_scope
        )
        return device.serialize(keep_readonly=True)

    def get_device(device_id):
        return manager.get_device(device_id).serialize(keep_readonly=True)

    def get_devices(max_number_of_devices=None):
        devices = manager.get_devices(max_number_of_devices)
        return [device.serialize(keep_readonly=True) for device in devices]

    def bulk(devices):
        devices = [ExportImportDevice.deserialize(device) for device in devices]
        return manager.bulk_create_or_update_devices(devices).serialize(keep_readonly=True)

    def delete_device(device_id, etag=None):
        manager.delete_device(device_id, etag)

    def invoke(device_id, **method):
        result = manager.invoke_device_method(device_id, CloudToDeviceMethod(**method))
        return {"status": result.status, "payload": result.payload}

    def invoke_module(device_id, module_id, **method):
        result = manager.invoke_device_module_method(
            device_id, module_id, CloudToDeviceMethod(**method)
        )
        return {"status": result.status, "payload": result.payload}

    def create_module_with_sas(
        device_id, module_id, managed_by="", primary_key=None, secondary_key=None
    ):
        module = manager.create_module_with_sas(
            device_id, module_id, managed_by, primary_key, secondary_key
        )
        return module.serialize(keep_readonly=True)

    def create_module_with_x509(device_id, module_id, primary_thumbprint, managed_by=""):
        module = manager.create_module_with_x509(
            device_id, module_id, managed_by, primary_thumbprint, None
        )
        return module.serialize(keep_readonly=True)

    def update_module_with_sas(
        device_id, module_id, etag, managed_by, primary_key=None, secondary_key=None
    ):
        module = manager.update_module_with_sas(
            device_id, module_id, managed_by, etag, primary_key, secondary_key
        )
        return module.serialize(keep_readonly=True)

    def create_module_with_certificate_authority(device_id, module_id, managed_by=""):
        module = manager.create_module_with_certificate_authority(device_id, module_id, managed_by)
        return module.serialize(keep_readonly=True)

    def update_module_with_x509(
        device_id, module_id, etag, managed_by, primary_thumbprint, secondary_thumbprint
    ):
        module = manager.update_module_with_x509(
            device_id, module_id, managed_by, etag, primary_thumbprint, secondary_thumbprint
        )
        return module.serialize(keep_readonly=True)

    def update_module_with_certificate_authority(device_id, module_id, etag, managed_by):
        module = manager.update_module_with_certificate_authority(
            device_id, module_id, managed_by, etag
        )
        return module.serialize(keep_readonly=True)

    def get_module(device_id, module_id):
        return manager.get_module(device_id, module_id).serialize(keep_readonly=True)

    def get_modules(device_id):
        modules = manager.get_modules(device_id)
        return [module.serialize(keep_readonly=True) for module in modules]

    def delete_module(device_id, module_id, etag=None):
        manager.delete_module(device_id, module_id, etag)

    def query(query, max_item_count=None, continuation_token=None):
        """A page of `query_iot_hub`."""
        specification = QuerySpecification(query=query)
        result = manager.query_iot_hub(specification, continuation_token, max_item_count)
        return {
            "type": result.type,
            "items": [item.serialize(keep_readonly=True) for item in result.items],
            "continuation_token": result.continuation_token,
        }

    def get_twin(device_id, module_id=None):
        if module_id is None:
            twin = manager.get_twin(device_id)
        else:
            twin = manager.get_module_twin(device_id, module_id)
        return twin.serialize(keep_readonly=True)

    def change_twin(device_id, module_id=None, replace=False, tags=None, desired=None, etag=None):
        """`update_twin`, `replace_twin` or one of the two for modules."""
        properties = None if desired is None else TwinProperties(desired=desired)
        twin = Twin(tags=tags, properties=properties)
        if module_id is None:
            change = manager.replace_twin if replace else manager.update_twin
            changed = change(device_id, twin, etag)
        else:
            change = manager.replace_module_twin if replace else manager.update_module_twin
            changed = change(device_id, module_id, twin, etag)
        return changed.serialize(keep_readonly=True)

    def configurations():
        if "connection_string" in config:
            return IoTHubConfigurationManager.from_connection_string(config["connection_string"])
        entra = config["entra"]
        return IoTHubConfigurationManager.from_token_credential(entra["host"], entra_credential(entra))

    def get_configuration(configuration_id):
        return configurations().get_configuration(configuration_id).serialize(keep_readonly=True)

    def get_configurations(max_count=None):
        found = configurations().get_configurations(max_count)
        return [configuration.serialize(keep_readonly=True) for configuration in found]

    def create_configuration(configuration):
        created = configurations().create_configuration(Configuration.from_dict(configuration))
        return created.serialize(keep_readonly=True)

    def update_configuration(configuration, etag):
        """The etag is sent as it is: without quotes if the caller adds none."""
        changed = configurations().update_configuration(Configuration.from_dict(configuration), etag)
        return changed.serialize(keep_readonly=True)

    def delete_configuration(configuration_id, etag=None):
        configurations().delete_configuration(configuration_id, etag)

    def test_configuration_queries(**queries):
        result = configurations().test_configuration_queries(ConfigurationQueriesTestInput(**queries))
        return result.serialize(keep_readonly=True)

    def apply_configuration_on_edge_device(device_id, content):
        content = ConfigurationContent.from_dict(content)
        configurations().apply_configuration_on_edge_device(device_id, content)

    def digital_twins():
        if "connection_string" in config:
            return DigitalTwinClient.from_connection_string(config["connection_string"])
        entra = config["entra"]
        return DigitalTwinClient.from_token_credential(entra["host"], entra_credential(entra))

    def get_digital_twin(device_id):
        return digital_twins().get_digital_twin(device_id)

    def update_digital_twin(device_id, patch, etag=None):
        return digital_twins().update_digital_twin(device_id, patch, etag)

    def invoke_command(
        device_id, command, payload, component=None, connect_timeout=None, response_timeout=None
    ):
        timeouts = (connect_timeout, response_timeout)
        if component is None:
            return digital_twins().invoke_command(device_id, command, payload, *timeouts)
        return digital_twins().invoke_component_command(
            device_id, component, command, payload, *timeouts
        )

    def runtime():
        return IoTHubHttpRuntimeManager.from_connection_string(config["connection_string"])

    def receive_feedback():
        """Returns a feedback batch with its lock token, or None. The return value of the manager contains neither, so
        this function reads the raw response."""
        manager = runtime()
        result = manager.protocol.cloud_to_device_messages.receive_feedback_notification(raw=True)
        response = result.response
        if response.status_code == 204:
            return None
        return {
            "records": response.json(),
            "content_type": response.headers["content-type"],
            "lock_token": response.headers["etag"].strip('"'),
        }

    def receive_feedback_notification():
        """Returns what the manager returns: nothing, also if there is feedback."""
        return runtime().receive_feedback_notification()

    def complete_feedback(lock_token):
        runtime().complete_feedback_notification(lock_token)

    def abandon_feedback(lock_token):
        runtime().abandon_feedback_notification(lock_token)

    def send_c2d_message(device_id, message, properties=None, size=None):
        """Sends a message over AMQP. With `size`, the message is repeated up to that number of bytes."""
        if size is not None:
            message = (message * (size // len(message) + 1))[:size]
        manager.send_c2d_message(device_id, message, properties or {})

    def entra_token():
        """Returns an access token of the development issuer."""
        return entra_credential(config["entra"]).get_token("https://iothubs.azure.net/.default").token

    def purge(device_id):
        result = manager.protocol.cloud_to_device_messages.purge_cloud_to_device_message_queue(device_id)
        return result.serialize(keep_readonly=True)

    def http(method, url, headers=None, body=None, body_base64=None, certificate=None):
        """Sends a plain request with `requests`, for requests that the service client cannot send."""
        data = body.encode() if isinstance(body, str) else body
        if body_base64 is not None:
            data = base64.b64decode(body_base64)
        response = requests.request(
            method, url, headers=headers, data=data, timeout=100, cert=certificate and tuple(certificate)
        )
        return json_lines.response_fields(response)

    def create_until_failure(url, prefix, headers):
        """Creates devices one after another until the hub no longer responds. Returns [[id, generation], ...] of the
        acknowledged ones."""
        acknowledged = []
        with requests.Session() as session:
            while True:
                device_id = f"{prefix}-{len(acknowledged)}"
                target = f"{url}/devices/{device_id}?api-version=2021-04-12"
                try:
                    response = session.put(target, json={"deviceId": device_id}, headers=headers)
                except requests.RequestException:
                    return acknowledged
                response.raise_for_status()
                acknowledged.append([device_id, response.json()["generationId"]])

    def send_until_failure(url, device_id, prefix, headers):
        """Sends messages one after another until the hub no longer responds. Returns the bodies of the accepted ones.
        Waits while the queue is full."""
        accepted = []
        headers = {**headers, "iothub-to": f"/devices/{device_id}/messages/deviceBound"}
        with requests.Session() as session:
            while True:
                body = f"{prefix}-{len(accepted)}"
                try:
                    response = session.post(
                        f"{url}/messages/deviceBound?api-version=2021-04-12", data=body, headers=headers
                    )
                except requests.RequestException:
                    return accepted
                if response.status_code == 403:
                    time.sleep(0.02)
                elif response.status_code == 503:
                    return accepted
                else:
                    response.raise_for_status()
                    accepted.append(body)

    def generations(url, device_ids, headers):
        """Returns the generation of each device, None for a missing device."""
        found = []
        with requests.Session() as session:
            for device_id in device_ids:
                target = f"{url}/devices/{device_id}?api-version=2021-04-12"
                response = session.get(target, headers=headers)
                found.append(response.json().get("generationId"))
        return found

    def jobs():
        """Returns a manager of jobs with the credential of the other manager."""
        if "connection_string" in config:
            return IoTHubJobManager.from_connection_string(config["connection_string"])
        entra = config["entra"]
        return IoTHubJobManager.from_token_credential(entra["host"], entra_credential(entra))

    def create_job(**properties):
        created = jobs().create_import_export_job(JobProperties(**properties))
        return created.serialize(keep_readonly=True)

    def list_jobs():
        found = jobs().get_import_export_jobs()
        return [job.serialize(keep_readonly=True) for job in found]

    def get_job(job_id):
        return jobs().get_import_export_job(job_id).serialize(keep_readonly=True)

    def cancel_job(job_id):
        return jobs().cancel_import_export_job(job_id)

    def create_scheduled_job(job_id, job):
        created = jobs().create_scheduled_job(job_id, JobRequest.deserialize(job))
        return created.serialize(keep_readonly=True)

    def get_scheduled_job(job_id):
        return jobs().get_scheduled_job(job_id).serialize(keep_readonly=True)

    def cancel_scheduled_job(job_id):
        return jobs().cancel_scheduled_job(job_id).serialize(keep_readonly=True)

    def query_scheduled_jobs(job_type=None, job_status=None):
        return jobs().query_scheduled_jobs(job_type, job_status).serialize(keep_readonly=True)

    def read_with_token_credentials():
        """Creates each manager with a token credential, and returns what it reads."""
        entra = config["entra"]
        host, credential = entra["host"], entra_credential(entra)
        registry = IoTHubRegistryManager.from_token_credential(host, credential)
        configurations = IoTHubConfigurationManager.from_token_credential(host, credential)
        jobs = IoTHubJobManager.from_token_credential(host, credential)
        digital_twins = DigitalTwinClient.from_token_credential(host, credential)
        runtime = IoTHubHttpRuntimeManager.from_token_credential(host, credential)
        devices = [device.device_id for device in registry.get_devices()]
        return {
            "devices": devices,
            "configurations": [found.id for found in configurations.get_configurations()],
            "jobs": [job.job_id for job in jobs.get_import_export_jobs()],
            "digital_twin": digital_twins.get_digital_twin(devices[0])["$dtId"],
            "feedback": runtime.receive_feedback_notification(),
        }

    def entra_token(scope="https://iothubs.azure.net/.default"):
        """Returns the token that the service client would send."""
        return entra_credential(config["entra"]).get_token(scope).token

    def read_token(token):
        """Returns the header and claims of a token, without verification."""
        return {
            "header": jwt.get_unverified_header(token),
            "claims": jwt.decode(token, options={"verify_signature": False}),
        }

    def forge_token(claims, algorithm, key=None, headers=None):
        """Creates a token from the given claims."""
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)

    def new_key():
        """Generates a private key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    json_lines.serve(
        {
            "create_device_with_sas": create_device_with_sas,
            "create_device_with_x509": create_device_with_x509,
            "create_device_with_certificate_authority": create_device_with_certificate_authority,
            "update_device_with_sas": update_device_with_sas,
            "update_device_with_x509": update_device_with_x509,
            "update_device_with_certificate_authority": update_device_with_certificate_authority,
            "get_service_statistics": get_service_statistics,
            "get_device_registry_statistics": get_device_registry_statistics,
            "create_edge_device": create_edge_device,
            "create_leaf_device": create_leaf_device,
            "get_device": get_device,
            "get_devices": get_devices,
            "bulk": bulk,
            "delete_device": delete_device,
            "invoke": invoke,
            "invoke_module": invoke_module,
            "create_module_with_sas": create_module_with_sas,
            "create_module_with_x509": create_module_with_x509,
            "update_module_with_sas": update_module_with_sas,
            "create_module_with_certificate_authority": create_module_with_certificate_authority,
            "update_module_with_x509": update_module_with_x509,
            "update_module_with_certificate_authority": update_module_with_certificate_authority,
            "get_module": get_module,
            "get_modules": get_modules,
            "delete_module": delete_module,
            "query": query,
            "get_configuration": get_configuration,
            "get_configurations": get_configurations,
            "create_configuration": create_configuration,
            "update_configuration": update_configuration,
            "delete_configuration": delete_configuration,
            "test_configuration_queries": test_configuration_queries,
            "apply_configuration_on_edge_device": apply_configuration_on_edge_device,
            "get_digital_twin": get_digital_twin,
            "update_digital_twin": update_digital_twin,
            "invoke_command": invoke_command,
            "get_twin": get_twin,
            "change_twin": change_twin,
            "http": http,
            "receive_feedback": receive_feedback,
            "receive_feedback_notification": receive_feedback_notification,
            "complete_feedback": complete_feedback,
            "abandon_feedback": abandon_feedback,
            "send_c2d_message": send_c2d_message,
            "create_scheduled_job": create_scheduled_job,
            "get_scheduled_job": get_scheduled_job,
            "cancel_scheduled_job": cancel_scheduled_job,
            "query_scheduled_jobs": query_scheduled_jobs,
            "read_with_token_credentials": read_with_token_credentials,
            "calls": recorder.report,
            "entra_token": entra_token,
            "purge": purge,
            "create_until_failure": create_until_failure,
            "send_until_failure": send_until_failure,
            "generations": generations,
            "create_job": create_job,
            "list_jobs": list_jobs,
            "get_job": get_job,
            "cancel_job": cancel_job,
            "read_token": read_token,
            "forge_token": forge_token,
            "new_key": new_key,
        }
    )


main()
