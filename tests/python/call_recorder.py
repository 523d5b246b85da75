"""Records which public methods of client classes a program calls.

It watches the calls of the interpreter, so that the classes stay as they are. A method that only another method calls does
not count.
"""

import sys
import threading


class CallRecorder:
    """Records the calls of methods of `classes` from the file `caller`."""

    def __init__(self, classes, caller):
        self._caller = caller
        self._called = set()
        self._names = {}
        for found in classes:
            for name, value in vars(found).items():
                function = getattr(value, "__func__", value)
                if not name.startswith("_") and hasattr(function, "__code__"):
                    self._names[function.__code__] = f"{found.__name__}.{name}"

    def start(self):
        """Records from now on, in this thread and in those that start later."""
        threading.setprofile(self._record)
        sys.setprofile(self._record)

    def _record(self, frame, event, _argument):
        name = self._names.get(frame.f_code) if event == "call" else None
        if name is not None and frame.f_back.f_code.co_filename == self._caller:
            self._called.add(name)

    def report(self):
        """Returns the names of all public methods, and of those that were called."""
        return {"methods": sorted(self._names.values()), "called": sorted(self._called)}
