"""Decisions per second from a video file, as `whycam score` makes them, against the bare network on the same frames.

pipeline   open the file, decode, resample, resize, CNN, sliding window, a line of JSON for each decision
memory     the same on frames that are decoded already
bare       an ONNX Runtime session on the extractor alone, on frames that are resized already, one after the other
batches    the same, as many at once as whycam's CNN sees
decode     reading and resizing the file, and nothing else
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.network import Network
from bench.video import read_video, write_video
from bench.workers import PAUSE, Workers, spread

PRECISIONS = {"fp32": "features.onnx", "int8": "features.int8-cpu.onnx"}


class Pipeline:
    """`whycam score` without its screen."""

    def __init__(self, bundle: Path, precision: str, film: Path) -> None:
        import whycam

        self._whycam, self._film = whycam, film
        self._detector = whycam.load(bundle, precision, providers=["cpu"])
        self._frames = list(whycam.open_source(str(film)))

    def from_file(self) -> int:
        """Decide on each frame of the film; how many decisions that were."""
        return self._decide(self._whycam.open_source(str(self._film)))

    def from_memory(self) -> int:
        """The same on frames that are there already."""
        return self._decide(self._frames)

    def at_once(self) -> int:
        """How many frames the CNN sees at once."""
        return int(self._detector.model.at_once)

    def decode(self) -> int:
        """Read and resize the film."""
        return len(read_video(self._film, self._detector.manifest.input.width))

    def _decide(self, frames: Any) -> int:
        from whycam.detect.recording import decided

        # The film begins anew, which takes the detector's clock back: its window starts anew, too.
        return len([made.json() for _, made in decided(self._detector, frames) if made is not None])


class Bare:
    """A session on the extractor."""

    def __init__(self, bundle: Path, file: str, film: Path, side: int) -> None:
        import onnxruntime

        self._frames = read_video(film, side)
        self._session = onnxruntime.InferenceSession(bundle / file, providers=["CPUExecutionProvider"])

    def run(self, at_once: int = 1) -> int:
        """The frames one after the other, or `at_once`; all outputs."""
        for start in range(0, len(self._frames), at_once):
            self._session.run(None, {"frames": self._frames[start : start + at_once]})
        return len(self._frames)


def measure(network: Network, frames: int, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time passes over a film of `frames` frames, `rounds` of each, in turn."""
    film = write_video(network.folder / "moving.mp4", frames, moving=True)
    with Workers() as workers:
        ways: dict[str, tuple[Any, ...]] = {}
        for precision, file in PRECISIONS.items():
            tell(f"start {precision}")
            workers.start(f"whycam {precision}", Pipeline, network.bundle, precision, film)
            workers.start(f"bare {precision}", Bare, network.bundle, file, film, network.shape.side)
            ways[f"pipeline {precision}"] = (f"whycam {precision}", "from_file")
            ways[f"bare {precision}"] = (f"bare {precision}", "run")
            ways[f"batches {precision}"] = (f"bare {precision}", "run", workers[f"whycam {precision}"].ask("at_once"))
            ways[f"memory {precision}"] = (f"whycam {precision}", "from_memory")
        ways["decode"] = ("whycam fp32", "decode")
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for index in range(rounds + 1):
            tell(f"pass {index} of {rounds}")
            for name, (worker, method, *given) in ways.items():
                time.sleep(PAUSE)
                took, count = workers[worker].timed(method, *given)
                assert count == frames, f"{name}: {count} of {frames} frames"
                if index:
                    seconds[name].append(took / frames)
    figures = {name: spread(values) for name, values in seconds.items()}
    median = {name: figure["median"] for name, figure in figures.items()}
    return {
        "frames": frames,
        "rounds": rounds,
        "seconds_per_frame": figures,
        "decisions_per_second": {name: 1 / value for name, value in median.items() if name != "decode"},
        "share_of_bare": {one: median[f"bare {one}"] / median[f"pipeline {one}"] for one in PRECISIONS},
        "share_of_batches": {one: median[f"batches {one}"] / median[f"pipeline {one}"] for one in PRECISIONS},
        "share_of_memory": {one: median[f"memory {one}"] / median[f"pipeline {one}"] for one in PRECISIONS},
    }
