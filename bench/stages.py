"""What each stage of a decision, and of its explanation, costs in whycam."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.network import CLASSES, Network
from bench.video import write_video
from bench.workers import Workers, interleaved, spread

STAGES = {
    "decode": "decode a frame of 640 x 360",
    "gate": "motion gate",
    "resize": "resize",
    "features": "CNN of a frame",
    "step": "head, sliding window",
    "head": "head, window run again",
    "push": "a decision in all, from a frame of 640 x 360",
    "still": "the same where nothing has moved",
    "grad-cam": "Grad-CAM of the window",
    "grad-cam-newest": "Grad-CAM of the newest frame",
    "explained": "a decision and its Grad-CAM of the window",
}


class Stages:
    """A detector whose window is full, and its parts."""

    def __init__(self, bundle: Path, precision: str, film: Path) -> None:
        import numpy as np

        import whycam
        from whycam.alerts.motion import MotionGate
        from whycam.detect.resize import resize

        detector = whycam.load(bundle, precision, providers=["cpu"])
        model, size = detector.model, detector.manifest.input
        frames = [frame.image for frame in whycam.open_source(str(film))]
        images = [resize(frame, size.height, size.width) for frame in frames]
        features = [model.extract(image[None])[0][0] for image in images]
        for frame in frames[: detector.manifest.window.frames]:
            detector.push(frame)
        picture, image, feature = itertools.cycle(frames), itertools.cycle(images), itertools.cycle(features)
        gate, clock = MotionGate(0.02, 3600), itertools.count()
        scorer = model.scorer()
        window = np.stack([next(feature) for _ in range(detector.manifest.window.frames)])[None]
        endless = itertools.chain.from_iterable(whycam.open_source(str(film)) for _ in itertools.count())

        def explain(frames: Any = "all") -> None:
            detector.explain("grad-cam", CLASSES[0], "normal", frames=frames, time="relevance", reference="none")

        def explained() -> None:
            detector.push(next(picture))
            explain()

        self._acts: dict[str, Callable[[], Any]] = {
            "decode": lambda: next(endless),
            "gate": lambda: gate.still(next(picture), next(clock)),
            "resize": lambda: resize(next(picture), size.height, size.width),
            "features": lambda: model.extract(next(image)[None]),
            "step": lambda: scorer.advance(next(feature)),
            "head": lambda: model.logits(window),
            "push": lambda: detector.push(next(picture)),
            "still": lambda: detector.push(next(picture), still=True),
            "grad-cam": explain,
            "grad-cam-newest": lambda: explain([-1]),
            "explained": explained,
        }

    def run(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of each stage."""
        return interleaved(self._acts, rounds)


def measure(network: Network, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time each stage in fp32 and INT8, in turn."""
    film = write_video(network.folder / "stages.mp4", 2 * network.shape.frames, moving=True)
    found: dict[str, Any] = {}
    with Workers() as workers:
        for precision in ("fp32", "int8"):
            tell(f"start {precision}")
            workers.start(precision, Stages, network.bundle, precision, film)
        half = max(1, rounds // 2)
        taken: dict[str, dict[str, list[float]]] = {}
        for precision, worker in [*workers.items()] * 2:
            tell(f"{half} rounds in {precision}")
            for name, values in worker.ask("run", half).items():
                taken.setdefault(precision, {}).setdefault(name, []).extend(values)
    for precision, stages in taken.items():
        found[precision] = {name: spread(values) for name, values in stages.items()}
    return {
        "rounds": 2 * half,
        "titles": STAGES,
        "seconds": found,
        "grad_cam_in_frames_of_the_cnn": {
            precision: each["grad-cam"]["median"] / each["features"]["median"] for precision, each in found.items()
        },
        "explained_decisions_per_second": {
            precision: 1 / each["explained"]["median"] for precision, each in found.items()
        },
    }
