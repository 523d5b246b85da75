"""Runs file operations with Microsoft's storage client, as requested by the test."""

import datetime
import hashlib
import io
import os
import random

from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    generate_container_sas,
)

import json_lines


def client(url, **options):
    # No retries: the test checks the first response.
    return BlobClient.from_blob_url(url, retry_total=0, **options)


def content(count, seed):
    return random.Random(seed).randbytes(count)


def plain(headers):
    return {name: str(value) for name, value in headers.items() if value is not None}


def upload(
    url, bytes, seed, single_put=None, block=None, overwrite=True, concurrency=1, stream=False, **options
):
    sizes = {}
    if single_put is not None:
        sizes["max_single_put_size"] = single_put
    if block is not None:
        sizes["max_block_size"] = block
    data = content(bytes, seed)
    settings = options.pop("content_type", None)
    if settings is not None:
        options["content_settings"] = ContentSettings(content_type=settings)
    response = client(url, **sizes).upload_blob(
        io.BytesIO(data) if stream else data,
        overwrite=overwrite,
        max_concurrency=concurrency,
        **options,
    )
    return {"sha256": hashlib.sha256(data).hexdigest(), **plain(response)}


def download(url, offset=None, length=None):
    data = client(url).download_blob(offset=offset, length=length).readall()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def digest(bytes, seed, offset=0, length=None):
    data = content(bytes, seed)
    end = None if length is None else offset + length
    return hashlib.sha256(data[offset:end]).hexdigest()


def properties(url):
    found = client(url).get_blob_properties()
    return {
        "name": found.name,
        "bytes": found.size,
        "etag": found.etag,
        "type": found.blob_type,
        "content_type": found.content_settings.content_type,
        "content_md5": bytes(found.content_settings.content_md5 or b"").hex(),
        "metadata": found.metadata,
        "modified": found.last_modified.isoformat(),
    }


def exists(url):
    return client(url).exists()


def delete(url):
    client(url).delete_blob()


def put_block(url, block_id, bytes, seed):
    client(url).stage_block(block_id, content(bytes, seed))


def commit(url, block_ids):
    return plain(client(url).commit_block_list(block_ids))


def create_container(connection_string, name):
    ContainerClient.from_connection_string(connection_string, name).create_container()


def container(url):
    return ContainerClient.from_container_url(url, retry_total=0)


def put_text(container_url, name, text, max_block=None):
    sizes = {} if max_block is None else {"max_single_put_size": max_block, "max_block_size": max_block}
    with ContainerClient.from_container_url(container_url, retry_total=0, **sizes) as client:
        client.upload_blob(name, text.encode(), overwrite=True)


def get_text(container_url, name):
    return container(container_url).download_blob(name).readall().decode()


def list_names(container_url, prefix=None, page=None):
    pages = container(container_url).list_blobs(name_starts_with=prefix, results_per_page=page).by_page()
    return [[blob.name for blob in page] for page in pages]


def delete_blob(container_url, name):
    container(container_url).delete_blob(name)


def put_lines(container_url, name, count, mode):
    """Writes one line for each device `d0`, `d1`, ..."""
    lines = (f'{{"id":"d{number}","importMode":"{mode}"}}\n' for number in range(count))
    container(container_url).upload_blob(name, "".join(lines).encode(), overwrite=True)


def sign_container(connection_string, name, permission):
    """Returns the URL of a container of a storage account with a signature."""
    account = BlobServiceClient.from_connection_string(connection_string)
    token = generate_container_sas(
        account.account_name,
        name,
        account_key=account.credential.account_key,
        permission=permission,
        expiry=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1),
    )
    return f"{account.get_container_client(name).url}?{token}"


def main():
    json_lines.serve(
        {
            "upload": upload,
            "download": download,
            "digest": digest,
            "properties": properties,
            "exists": exists,
            "delete": delete,
            "put_block": put_block,
            "commit": commit,
            "create_container": create_container,
            "put_text": put_text,
            "get_text": get_text,
            "list_names": list_names,
            "delete_blob": delete_blob,
            "put_lines": put_lines,
            "sign_container": sign_container,
        }
    )


if os.environ.get("SSL_CERT_FILE"):
    os.environ.setdefault("REQUESTS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])
main()
