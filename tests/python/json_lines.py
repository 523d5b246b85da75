"""What every long-lived test program shares: JSON lines in, JSON lines out.

In:  {"id": 1, "op": "connect", "args": {...}}
Out: {"id": 1, "ok": value}  or  {"id": 1, "error": {...}}, in any order,
     and {"event": "...", ...} whenever something happens.
The program ends when its input ends.
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


def event(what, /, **fields):
    """Tells the test that something happened."""
    write_line({"event": what, **fields})


def describe(error):
    """An exception as the test sees it; those of the HTTP clients carry the answer they got."""
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
    """The response of `requests` or of the storage client as JSON; header names in lower case."""
    text = response.text() if callable(response.text) else response.text
    return {
        "status": response.status_code,
        "reason": response.reason,
        "headers": {name.lower(): value for name, value in response.headers.items()},
        "body": text,
    }


def serve(operations):
    """Runs each operation in a thread of its own until the input ends."""

    def run(request):
        try:
            result = operations[request["op"]](**request.get("args", {}))
            write_line({"id": request["id"], "ok": result})
        except BaseException as error:  # whatever it is, the test decides
            write_line({"id": request["id"], "error": describe(error)})

    event("started")
    for line in sys.stdin:
        threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
    # Not sys.exit: a client's own threads must not keep the program alive.
    sys.stdout.flush()
    os._exit(0)
