"""Runs one fault, in a process group and, where it may, a mount namespace of its own: nothing of it can stay behind."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from tests.chaos.faults import FAULTS, Stage
from tests.chaos.verdict import Row

PARTS = ("broker", "service", "camera", "disk", "commands")


def load() -> None:
    """Fill FAULTS."""
    for part in PARTS:
        importlib.import_module(f"tests.chaos.{part}")


def run(key: str, times: int, directory: Path, bundle: Path, name: str = "") -> Row:
    """The row of the fault `key`, injected `times` times; a harness that fails is a problem of the row."""
    load()
    one = FAULTS[key]
    row = Row(one.name, one.part)
    row.skipped = one.needs()
    start = time.monotonic()
    if row.skipped is None:
        try:
            one.run(Stage(directory, bundle, row, name), times)
        except Exception:
            row.problems.append(traceback.format_exc(limit=-4))
    row.seconds = round(time.monotonic() - start, 1)
    return row


def _end_with_parent() -> None:
    # The parent holds the other end of standard input: its end, however it comes, is read here.
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    key, times, directory, bundle, name = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(directory)
    row = run(key, int(times), folder, Path(bundle), name)
    (folder / "row.json").write_text(json.dumps(row.as_dict()))
