"""Runs the end-to-end suite of Microsoft's Python device package against the hub, and counts the results.

    python3 tests/python/sdk_suite/run.py CHECKOUT [--transport mqtt] [--auth sas_token] [-- PYTEST OPTIONS]

CHECKOUT is a checkout of azure-iot-sdk-python. Its tests run unchanged, with the published package. The program needs
root, iptables and iproute2: the suite drops connections with firewall rules, so everything runs in a separate network
namespace. The suite does not tell its reader of events which certificate authorities to trust, and the reader trusts those
of the package `certifi` then: the program adds that of the hub to the copy in its own environment.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VENV = ROOT / "target/sdk-suite-venv"
HOST = "127.64.0.1"
TRANSPORTS = ["mqtt", "mqttws"]
AUTHS = ["connection_string", "symmetric_key", "sas_token"]
PACKAGES = [
    "psutil==7.1.3",
    "pytest==7.4.4",
    "pytest-asyncio==0.16.0",
    "pytest-mock==3.12.0",
    "pytest-testdox==3.1.0",
    "pytest-timeout==2.3.1",
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--transport", choices=TRANSPORTS, action="append")
    parser.add_argument("--auth", choices=AUTHS, action="append")
    parser.add_argument("--hub", type=Path, default=ROOT / "target/debug/ferrohub")
    parser.add_argument("--report", type=Path, default=ROOT / "target/sdk-suite")
    own, pytest_options = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, pytest_options = own[:at], own[at + 1 :]
    args = parser.parse_args(own)
    args.pytest = pytest_options
    return args


def in_network_namespace():
    """Runs this program again in its own network namespace, so that firewall rules do not affect other programs."""
    inner = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
    os.environ["SDK_SUITE_NETWORK"] = "own"
    os.execvp("unshare", ["unshare", "--net", "--", *inner])


def prepare():
    python = VENV / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        requirements = ROOT / "tests/python/requirements.txt"
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", requirements, *PACKAGES], check=True)
    return python


class Hub:
    """A hub with its own data folder, which records twin change events as the suite expects."""

    def __init__(self, program, folder):
        config = folder / "hub.toml"
        config.write_text(
            f'hostname = "{HOST}"\ndata_dir = "{folder}/data"\n'
            f'[listen]\nmqtt = "{HOST}:8883"\namqp = "{HOST}:5671"\nhttps = "{HOST}:443"\nadmin = "{HOST}:9464"\n'
            '[events]\nsources = ["twinChangeEvents"]\n'
        )
        self._log = open(folder / "hub.log", "wb")
        command = [program, "--config", config]
        self._process = subprocess.Popen([*command, "serve"], stdout=self._log, stderr=self._log)
        deadline = time.time() + 30
        while not (folder / "data/endpoints.json").exists():
            if time.time() > deadline or self._process.poll() is not None:
                raise SystemExit(f"the hub did not start: {(folder / 'hub.log').read_text()}")
            time.sleep(0.05)
        time.sleep(0.5)
        shown = subprocess.run(
            [*command, "policy", "show", "iothubowner", "--output", "json"],
            check=True, capture_output=True, text=True,
        )
        key = json.loads(shown.stdout)["primaryKey"]
        self.connection_string = (
            f"HostName={HOST};SharedAccessKeyName=iothubowner;SharedAccessKey={key}"
        )
        self.event_connection_string = (
            f"Endpoint=sb://{HOST}/;SharedAccessKeyName=iothubowner;SharedAccessKey={key};EntityPath={HOST}"
        )
        self.ca = folder / "data/tls/ca.pem"

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=30)


def trust(python, ca):
    """Adds a certificate authority to the bundle of `certifi`, once."""
    where = [python, "-c", "import certifi; print(certifi.where())"]
    bundle = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    original = bundle.with_suffix(".original")
    if not original.exists():
        original.write_bytes(bundle.read_bytes())
    bundle.write_bytes(original.read_bytes() + b"\n" + ca.read_bytes())


def run(python, args, transport, auth):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        hub = Hub(args.hub.resolve(), folder)
        trust(python, hub.ca)
        results = args.report / f"{transport}-{auth}.xml"
        environment = {
            **os.environ,
            "IOTHUB_E2E_IOTHUB_CONNECTION_STRING": hub.connection_string,
            "IOTHUB_E2E_EVENTHUB_CONNECTION_STRING": hub.event_connection_string,
            "PYTHONPATH": str(args.checkout.resolve() / "dev_utils"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SSL_CERT_FILE": str(hub.ca),
            "REQUESTS_CA_BUNDLE": str(hub.ca),
        }
        command = [
            python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            f"--transport={transport}", f"--auth={auth}", f"--junitxml={results.resolve()}",
            *args.pytest,
        ]
        with open(args.report / f"{transport}-{auth}.log", "wb") as log:
            subprocess.run(
                command, cwd=args.checkout / "tests/e2e/iothub_e2e", env=environment,
                stdout=log, stderr=log, check=False,
            )
        (args.report / f"{transport}-{auth}.hub.log").write_bytes((folder / "hub.log").read_bytes())
        hub.stop()
        return count(results)


def count(results):
    suite = xml.parse(results).getroot().find("testsuite")
    number = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    passed = number["tests"] - number["failures"] - number["errors"] - number["skipped"]
    return passed, failed, number["skipped"]


def main():
    args = arguments()
    missing = [tool for tool in ("iptables", "ip", "unshare") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"these programs are missing: {', '.join(missing)}")
    if os.environ.get("SDK_SUITE_NETWORK") != "own":
        prepare()
        in_network_namespace()
    args.report.mkdir(parents=True, exist_ok=True)
    python = prepare()
    print("| transport | authentication | passed | failed | skipped by the suite |")
    print("|---|---|--:|--:|--:|")
    failures = []
    for transport in args.transport or TRANSPORTS:
        for auth in args.auth or AUTHS:
            passed, failed, skipped = run(python, args, transport, auth)
            print(f"| {transport} | {auth} | {passed} | {len(failed)} | {skipped} |", flush=True)
            failures += [f"{transport} {auth} {name}" for name in failed]
    for name in failures:
        print(f"failed: {name}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
