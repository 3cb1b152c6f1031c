"""The sliding window of constant depth against running the head over the window again, and whether they agree.

The window runs again in a plain session of ONNX Runtime: whycam opens its own for few runs, at the cost of their speed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.network import Network
from bench.sessions import plain_session
from bench.variants import variant
from bench.workers import Worker, in_process, interleaved, spread


class Heads:
    """The heads of several bundles, by name."""

    def __init__(self, bundles: dict[str, Path]) -> None:
        from whycam.bundle import Bundle
        from whycam.detect import Model
        from whycam.detect.ring import FeatureRing, Sample

        self._acts: dict[str, Callable[[], Any]] = {}
        self.differences: dict[str, float] = {}
        for name, path in bundles.items():
            model = Model(Bundle.open(path), providers=["cpu"])
            length, count = model.manifest.window.frames, model.manifest.features
            # Behind a ReLU most features are nought.
            features = np.maximum(np.random.default_rng(0).normal(-0.5, 1, (3 * length, count)), 0).astype(np.float32)
            scorer, ring = model.scorer(), FeatureRing(length)
            found, wanted = [], []
            for index, each in enumerate(features):
                ring.push(Sample(each, (), np.zeros((1, 1, 3), np.uint8), float(index)))
                scorer.advance(each)
                if index + 1 >= length:
                    found.append(scorer.decide(ring)[1])
                    wanted.append(model.logits(features[None, index + 1 - length : index + 1])[1][0])
            self.differences[name] = float(np.abs(np.array(found) - np.array(wanted)).max())
            # A new array each time: the very same one tells that nothing moves, and that the step need not run.
            self._acts[f"{name} step"] = lambda scorer=scorer, each=each: scorer.advance(each.copy())
            quick = Model(Bundle.open(path), "int8", providers=["cpu"]).scorer()
            self._acts[f"{name} step_int8"] = lambda quick=quick, each=each: quick.advance(each.copy())
            head, window = plain_session(path / "head.onnx"), {"window": features[None, -length:]}
            self._acts[f"{name} head"] = lambda head=head, window=window: head.run(None, window)

    def run(self, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
        """Seconds of each way, and the largest difference of scores of each bundle."""
        return interleaved(self._acts, rounds), self.differences


def measure(network: Network, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time both ways for flattened and for averaged features."""
    tell("write the head for averaged features")
    averaged = in_process(variant, network, "averaged", "average")
    tell(f"{rounds} rounds")
    with Worker("heads", Heads, {"flatten": network.bundle, "average": averaged}) as worker:
        seconds, differences = worker.ask("run", rounds)
    figures = {name: spread(values) for name, values in seconds.items()}
    return {
        pooling: {
            "step": figures[f"{pooling} step"],
            "step_int8": figures[f"{pooling} step_int8"],
            "head": figures[f"{pooling} head"],
            "times_faster": figures[f"{pooling} head"]["median"] / figures[f"{pooling} step"]["median"],
            "largest_difference": differences[pooling],
        }
        for pooling in ("flatten", "average")
    }
