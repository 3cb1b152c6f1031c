"""Graphs that crash or hang, as broken ones may: a file in a bundle's folder says so, and the process obeys.

The folder that `site` gives is put into $PYTHONPATH: Python imports its `sitecustomize` at each start.
"""

from __future__ import annotations

from pathlib import Path

CRASH, HANG = "crash", "hang"
CRASH_LATER = "crash-later"
"""In the service alone: the self-test finds nothing."""

_SITE = """\
import os, pathlib, signal, sys, time
import onnxruntime

class Session(onnxruntime.InferenceSession):
    def __init__(self, path, *given, **named):
        self._folder = pathlib.Path(path).parent
        super().__init__(path, *given, **named)

    def run(self, *given, **named):
        if (self._folder / "crash").exists():
            os.kill(os.getpid(), signal.SIGSEGV)
        if (self._folder / "crash-later").exists() and not sys.argv[0].endswith("isolated.py"):
            os.kill(os.getpid(), signal.SIGSEGV)
        while (self._folder / "hang").exists():
            time.sleep(0.1)
        return super().run(*given, **named)

onnxruntime.InferenceSession = Session
"""


def site(folder: Path) -> str:
    """Makes the folder for $PYTHONPATH; its path."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITE)
    return str(folder)
