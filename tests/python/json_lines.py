"""The protocol of all long-running test programs: JSON lines on stdin and stdout.

In:  {"id": 1, "op": "connect", "args": {...}}
Out: {"id": 1, "ok": value}  or  {"id": 1, "error": {...}}, in any order,
     and {"event": "...", ...} for events.
The program exits when its input ends.
"""

import json
import os
import sys
import threading

_lock = threading.Lock()


def write_line(line):
    """Writes one JSON line."""
    text = json.dumps(line)
    with _lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def event(name, /, **fields):
    """Sends an event to the test."""
    write_line({"event": name, **fields})


def describe(error):
    """Returns an exception as JSON, including the HTTP response if it has one."""
    found = {
        "type": type(error).__name__,
        "message": str(error),
        "cause": str(error.__cause__) if error.__cause__ else None,
    }
    response = getattr(error, "response", None)
    if response is not None and hasattr(response, "status_code"):
        found["response"] = response_fields(response)
    return found


def response_fields(response):
    """Returns a response of `requests` or of the storage client as JSON, with header names in lower case."""
    text = response.text() if callable(response.text) else response.text
    return {
        "status": response.status_code,
        "reason": response.reason,
        "headers": {name.lower(): value for name, value in response.headers.items()},
        "body": text,
    }


def serve(operations):
    """Runs each operation in its own thread until the input ends."""

    def run(request):
        try:
            result = operations[request["op"]](**request.get("args", {}))
            write_line({"id": request["id"], "ok": result})
        except BaseException as error:  # the test handles every exception
            write_line({"id": request["id"], "error": describe(error)})

    event("started")
    for line in sys.stdin:
        threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
    # Not sys.exit: the threads of a client must not keep the program alive.
    sys.stdout.flush()
    os._exit(0)
