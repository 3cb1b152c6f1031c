"""What each stage of a decision, and of its explanation, costs in whycam, as `whycam bench` measures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.network import Network
from bench.workers import Worker

STAGES = {
    "decode": "decode a frame of 640 x 360",
    "resize": "resize it",
    "motion": "motion gate, where it is on",
    "features": "CNN of a frame",
    "features_in_batch": "CNN of a frame among several",
    "step": "head, sliding window",
    "decision": "a decision in all, from a decoded frame",
    "from_file": "a decision in all, from a video file",
    "grad_cam": "Grad-CAM of the window",
    "explanation": "the default explanation of the window",
    "explanation_newest": "the default explanation, newest frame alone",
}
BEFORE = ("decode", "resize", "motion")
"""Stages that are the same in all precisions."""


class Stages:
    """A bundle in fp32 and INT8, and a clip."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        from whycam.bench.clip import draw_clip
        from whycam.bench.variants import Variant
        from whycam.bundle import Bundle

        self._clip = draw_clip(folder)
        self._models = {
            variant: variant.open(Bundle.open(bundle)) for variant in (Variant("fp32", "cpu"), Variant("int8", "cpu"))
        }

    def run(self, rounds: int) -> dict[str, dict[str, Any]]:
        """The spread of each stage's seconds, by precision."""
        from whycam.bench.stages import measure_frames, measure_stages

        size = next(iter(self._models.values())).manifest.input
        before = asdict(measure_frames(self._clip, size, rounds, lambda *_: None))
        after = measure_stages(self._models, self._clip, rounds, lambda *_: None, "stages")
        return {variant.precision: {**before, **asdict(cost)} for variant, cost in after.items()}


def measure(network: Network, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time each stage in fp32 and INT8, in turn."""
    tell(f"{rounds} rounds")
    with Worker("stages", Stages, network.bundle, network.folder) as worker:
        taken = worker.ask("run", rounds)
    found = {
        precision: {name: seconds for name, seconds in each.items() if seconds is not None}
        for precision, each in taken.items()
    }
    return {
        "rounds": rounds,
        "titles": STAGES,
        "seconds": found,
    }
