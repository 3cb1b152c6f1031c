"""What each stage of the way from a frame to a decision and its reasons costs."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.alerts.motion import MotionGate
from whycam.bench.clip import Clip
from whycam.bench.question import default_question, grad_cam
from whycam.bench.timing import Show, Spread, Work, interleaved, repeated
from whycam.bench.variants import Guard, Variant
from whycam.bundle.manifest import FrameSize
from whycam.config.models import Motion
from whycam.detect import Detector, Model
from whycam.detect.recording import decided
from whycam.detect.resize import resize
from whycam.sources import Frame

PASS = 24
"""Frames of the video in a timed pass."""


@dataclass(frozen=True)
class FrameCost:
    """Seconds that a frame costs before the model sees it."""

    decode: Spread
    resize: Spread
    motion: Spread
    """The motion gate's look at it, where one is switched on."""


@dataclass(frozen=True)
class StageCost:
    """Seconds of each stage of one variant; None where the bundle has no graphs for it."""

    features: Spread
    """The CNN, one frame."""
    features_in_batch: Spread | None
    """The same, a frame of a batch as large as the CNN sees at once; None where that is one frame."""
    step: Spread | None
    """A frame's step of the RNN, where the bundle has a step graph."""
    head: Spread | None
    """The RNN over the whole window, where it has none."""
    decision: Spread
    """`Detector.push`: resize, features, step."""
    from_file: Spread
    """A frame of the video file, from decoding to decision, as `whycam score` takes it."""
    bare: Spread
    """ONNX Runtime alone on the same features file and provider, one frame: the floor of a decision."""
    bare_in_batch: Spread | None
    """The same, a frame of a batch: the floor of a frame from the file; None where that is one frame."""
    explanation: Spread | None
    """The default explanation, of all the window's frames."""
    explanation_newest: Spread | None
    """The same, of its newest frame."""
    grad_cam: Spread | None
    """Grad-CAM of all the window's frames."""

    @property
    def share_of_decision(self) -> float:
        """Of a decision's time, the part that ONNX Runtime alone takes for the CNN."""
        return self.bare.median / self.decision.median

    @property
    def share_of_file(self) -> float:
        """Of a frame's time from the file, the part that ONNX Runtime alone takes for it in as large a batch."""
        return (self.bare_in_batch or self.bare).median / self.from_file.median


def measure_frames(clip: Clip, size: FrameSize, rounds: int, show: Show) -> FrameCost:
    """What comes before the model, whose frames have this `size`; it is the same for all variants."""
    images = itertools.cycle(clip.images)
    seen = itertools.cycle([resize(image, size.height, size.width) for image in clip.images])
    gate = MotionGate(Motion().threshold, Motion().refresh_seconds)
    moments = itertools.count()
    works = {
        "decode": _decoded(clip),
        "resize": repeated(lambda: resize(next(images), size.height, size.width)),
        "motion": repeated(lambda: gate.still(next(seen), next(moments) / clip.fps)),
    }
    return FrameCost(**interleaved(works, rounds, show, "frames"))


def measure_stages(
    models: Mapping[Variant, Model], clip: Clip, rounds: int, show: Show, what: str, guard: Guard = nullcontext
) -> dict[Variant, StageCost]:
    """The stages of `models`, without those that failed and whose `guard` let the others go on.

    Decisions are timed in turn. Explanations are timed one model after the other: they need large graphs, and those of
    one model alone are open at a time.
    """
    deciding: dict[Variant, dict[str, Work]] = {}
    explaining: dict[Variant, dict[str, Work]] = {}
    for variant, model in models.items():
        with guard(variant):
            deciding[variant], explaining[variant] = _works(model, clip)
    decided_in = _guarded(deciding, rounds, show, what, guard)
    found: dict[Variant, dict[str, Spread]] = {}
    for variant, stages in decided_in.items():
        of_this = {variant: explaining[variant]}
        explained = _guarded(of_this, rounds, show, f"explanations, {variant}", guard)
        models[variant].rest(0)
        found |= {each: stages | more for each, more in explained.items()}
    return {
        variant: StageCost(
            features=stages["features"],
            features_in_batch=stages.get("features_in_batch"),
            step=stages.get("step"),
            head=stages.get("head"),
            decision=stages["decision"],
            from_file=stages["from_file"],
            bare=stages["bare"],
            bare_in_batch=stages.get("bare_in_batch"),
            explanation=stages.get("explanation"),
            explanation_newest=stages.get("explanation_newest"),
            grad_cam=stages.get("grad_cam"),
        )
        for variant, stages in found.items()
    }


def _guarded(
    works: Mapping[Variant, Mapping[str, Work]], rounds: int, show: Show, what: str, guard: Guard
) -> dict[Variant, dict[str, Spread]]:
    """The spreads of the works of each variant, all in turn; of one that fails nothing more is done, nor told."""
    failed: set[Variant] = set()

    def guarded(variant: Variant, work: Work) -> Work:
        def attempt() -> float:
            seconds = math.nan
            if variant not in failed:
                with guard(variant):
                    seconds = work()
                if math.isnan(seconds):
                    failed.add(variant)
            return seconds

        return attempt

    each = {(variant, stage): guarded(variant, work) for variant, own in works.items() for stage, work in own.items()}
    found = interleaved(each, rounds, show, what)
    return {
        variant: {stage: found[variant, stage] for stage in own}
        for variant, own in works.items()
        if variant not in failed
    }


def _works(model: Model, clip: Clip) -> tuple[dict[str, Work], dict[str, Work]]:
    """The stages of a decision, and those of its explanation."""
    size = model.manifest.input
    images = np.stack([resize(image, size.height, size.width) for image in clip.images])
    one, batch = images[:1], np.resize(images, (model.at_once, *images.shape[1:]))
    frames = itertools.cycle(clip.images)
    detector = warm_detector(model, frames, computed=model.manifest.window.frames)
    window = detector.snapshot()
    features = window.samples[-1].features
    works = {
        "features": repeated(lambda: model.extract(one)),
        "decision": repeated(lambda: detector.push(next(frames))),
        "from_file": decided_from_file(clip, model),
        "bare": repeated(lambda: _bare(model, one)),
    }
    if len(batch) > 1:
        works["features_in_batch"] = repeated(lambda: model.extract(batch), len(batch))
        works["bare_in_batch"] = repeated(lambda: _bare(model, batch), len(batch))
    if model.manifest.step.available:
        scorer = model.scorer()
        # A new array each time: the very same one tells that nothing moves, and that the step need not run.
        works["step"] = repeated(lambda: scorer.advance(features.copy()))
    else:
        windows = window.features()[np.newaxis]
        works["head"] = repeated(lambda: model.logits(windows))
    explanations = {}
    asked, published = default_question(model.manifest), grad_cam(model.manifest)
    if asked is not None:
        explanations["explanation"] = repeated(lambda: asked.ask(model, window, "all"))
        explanations["explanation_newest"] = repeated(lambda: asked.ask(model, window, [-1]))
    if published is not None:
        explanations["grad_cam"] = repeated(lambda: published.ask(model, window, "all"))
    return works, explanations


def warm_detector(model: Model, frames: Iterator[NDArray[np.uint8]], *, computed: int) -> Detector:
    """A detector whose window is full, and which knows what is usual, as that of a camera that has run for a while.

    The CNN has seen the last `computed` frames, and one before them that stands still.
    """
    detector = Detector(model)
    count = 2 * model.manifest.window.frames
    for index in range(count):
        detector.push(next(frames), still=index < count - computed)
    return detector


def _bare(model: Model, images: NDArray[np.uint8]) -> object:
    """ONNX Runtime alone: its session of the feature extractor, asked for all that it gives."""
    return model.session.run(None, {"frames": images})


def decided_from_file(clip: Clip, model: Model) -> Work:
    """Opens the clip anew each time, for a camera whose window is full, and gives the seconds of one of its frames."""
    window = model.manifest.window

    def work() -> float:
        detector = Detector(model)
        # `score` has a cold window once, not every few frames.
        for index in range(window.frames):
            detector.push(clip.images[0], index * window.frame_interval, still=True)
        times = (index * window.frame_interval for index in itertools.count(window.frames))
        with closing(clip.endless()) as frames:
            # Opening the file is no frame's cost; and each frame is due.
            opened = itertools.chain([next(frames)], frames)
            due = (Frame(frame.image, next(times)) for frame in itertools.islice(opened, PASS))
            start = time.perf_counter()
            for _ in decided(detector, due):
                pass
            return (time.perf_counter() - start) / PASS

    return work


def _decoded(clip: Clip) -> Work:
    def work() -> float:
        with closing(clip.endless()) as frames:
            next(frames)
            start = time.perf_counter()
            for _ in itertools.islice(frames, PASS):
                pass
            return (time.perf_counter() - start) / PASS

    return work
