"""From nothing to the first decision: a fresh process for each, its resident memory; and the time to `whycam --help`.

The window's frames are there at once, and the files are in the system's cache: what is timed is the software.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.network import Network
from bench.peers import PEERS, Peer
from bench.workers import spread


def measure(network: Network, rounds: int, left_out: dict[str, str], tell: Callable[[str], None]) -> dict[str, Any]:
    """Start each peer `rounds` times, in turn, but those in `left_out`; one that fails is left out, too."""
    left_out = dict(left_out)
    told = network.folder / "network.pickle"
    told.write_bytes(pickle.dumps(network))
    seconds: dict[str, list[float]] = {peer.name: [] for peer in PEERS}
    memory: dict[str, list[dict[str, int]]] = {peer.name: [] for peer in PEERS}
    shown: list[float] = []
    for index in range(rounds):
        for peer in PEERS:
            if peer.name in left_out:
                continue
            tell(f"{index + 1} of {rounds}: {peer.title}")
            try:
                took, taken = _start(peer, told)
            except RuntimeError as error:
                left_out[peer.name] = str(error)
                continue
            seconds[peer.name].append(took)
            memory[peer.name].append(taken)
        shown += [_help() for _ in range(3)]
    return {
        "rounds": rounds,
        "peers": {
            peer.name: {
                "title": peer.title,
                "seconds": spread(seconds[peer.name]),
                "resident_bytes": spread([each["now"] for each in memory[peer.name]]),
                "most_resident_bytes": spread([each["most"] for each in memory[peer.name]]),
            }
            for peer in PEERS
            if peer.name not in left_out
        },
        "left_out": left_out,
        "help_seconds": spread(shown),
    }


def _start(peer: Peer, network: Path) -> tuple[float, dict[str, int]]:
    maker = peer.make
    where = f"{maker.__module__}.{maker.__qualname__}"
    took, line = _until_line([sys.executable, "-m", "bench.first", where, network], b"decided ")
    return took, json.loads(line)


def _help() -> float:
    return _until_line([Path(sys.executable).with_name("whycam"), "--help"], b"")[0]


def _until_line(command: Sequence[object], prefix: bytes) -> tuple[float, bytes]:
    """Seconds until `command` has written a line that begins with `prefix`, and the rest of it.

    Raises RuntimeError, with the last line of its errors, where it writes none.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(prefix):
                took = time.perf_counter() - start
                process.stdout.read()
                return took, line.removeprefix(prefix)
        status = process.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace").split("\n")
    reason = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
    raise RuntimeError(f"its process ended with status {status}: {reason[:200]}")
