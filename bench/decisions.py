"""Seconds per decision: the peers on the same frames, asked in turn, frame by frame.

A decision is the scores of the window that ends with a new frame. All must agree with Keras on the scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.network import Network
from bench.peers import KERAS, PEERS, Peer
from bench.peers.onnx_whole import TOO_MUCH
from bench.workers import PAUSE, WorkerFailed, Workers, in_process, spread

TOLERANCE = 1e-4
"""Largest difference of scores from Keras's in fp32: the bound that export itself proves."""
TOLERANCE_INT8 = 0.1
"""The same in INT8, with the ranges of random frames."""


def measure(network: Network, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time each peer `rounds` times, in turn."""
    left_out: dict[str, str] = {}
    converted = {peer.name: _converted(peer, network, left_out, tell) for peer in PEERS}
    length = network.shape.frames
    images = network.images(length + rounds)
    with Workers() as workers:
        for peer in PEERS:
            if peer.name in left_out:
                continue
            tell(f"start {peer.title}")
            try:
                workers.start(peer.name, peer.make, network)
            except WorkerFailed as error:
                left_out[peer.name] = str(error)
        running = [peer for peer in PEERS if peer.name in workers]
        seconds: dict[str, list[float]] = {peer.name: [] for peer in running}
        difference = dict.fromkeys(seconds, 0.0)
        frames = {peer.name: workers[peer.name].ask("__getattribute__", "frames") for peer in running}
        # The first decision of each compiles, allocates and fills the window: it is not timed.
        for index in range(rounds + 1):
            tell(f"decision {index} of {rounds}")
            scores = {}
            for peer in running:
                time.sleep(PAUSE)
                took, scores[peer.name] = workers[peer.name].timed("decide", images[index : index + length])
                if index:
                    seconds[peer.name].append(took)
            for name, found in scores.items():
                difference[name] = max(difference[name], float(np.abs(found - scores[KERAS]).max()))
    peers = {
        peer.name: {
            "title": peer.title,
            "seconds": (figures := spread(seconds[peer.name])),
            # Of a shorter window, as much as its frames are worth.
            "times_faster_than_keras": spread(seconds[KERAS])["median"]
            * frames[peer.name]
            / length
            / figures["median"],
            "frames": frames[peer.name],
            "int8": peer.int8,
            # A shorter window has other scores: what was converted was compared with Keras at its own length.
            "difference_from_keras": difference[peer.name] if frames[peer.name] == length else None,
            "conversion_seconds": converted[peer.name],
        }
        for peer in running
    }
    return {"rounds": rounds, "peers": peers, "left_out": left_out, "disagree": list(_disagreeing(peers))}


def _converted(peer: Peer, network: Network, left_out: dict[str, str], tell: Callable[[str], None]) -> float | None:
    """Seconds that its conversion took; None where there is none to do, or where it fails, whose reason is kept."""
    if peer.convert is None:
        return None
    tell(f"convert for {peer.title}")
    start = time.perf_counter()
    try:
        in_process(peer.convert, network)
    except WorkerFailed as error:
        left_out[peer.name] = (
            "its conversion took too much memory or time" if f"status {TOO_MUCH}" in str(error) else str(error)
        )
        return None
    return time.perf_counter() - start


def _disagreeing(peers: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, figures in peers.items():
        difference = figures["difference_from_keras"]
        bound = TOLERANCE_INT8 if figures["int8"] else TOLERANCE
        if difference is not None and not difference <= bound:
            yield f"{name} by {difference:.1e}, more than {bound:.0e}"
