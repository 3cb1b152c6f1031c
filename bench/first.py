"""A fresh process that makes one decision and says what it took: `python -m bench.first PEER NETWORK.pickle`.

Said when the decision is there, so that whoever started it knows how long that was since then.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
from pathlib import Path


def main() -> None:
    """Decide on a window, print the memory that is resident, in bytes, now and at most so far; then leave."""
    where, path = sys.argv[1:]
    module, _, name = where.rpartition(".")
    network = pickle.loads(Path(path).read_bytes())
    made = getattr(importlib.import_module(module), name)(network)
    made.decide(network.images(network.shape.frames))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    taken = {key: int(status[field].split()[0]) * 1024 for key, field in (("now", "VmRSS"), ("most", "VmHWM"))}
    print("decided", json.dumps(taken), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
