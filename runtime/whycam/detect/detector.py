"""The detector: frames in, decisions out, and on request the reasons."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.cuda.array import Picture
from whycam.default_methods import METHOD, TIME
from whycam.detect.decision import Decision, alerting
from whycam.detect.intake import Due, Intake
from whycam.detect.model import Frames, Model, Reference
from whycam.detect.ring import FeatureRing, Sample, Snapshot
from whycam.detect.scorer import step_together
from whycam.errors import InputError
from whycam.explain.explanation import Explanation


def load(
    path: str | os.PathLike[str],
    precision: str = "fp32",
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Detector:
    """The detector of the bundle at `path`.

    `precision` names one of the bundle's feature extractors. `providers` are execution providers in order of
    preference: `cpu`, `cuda`, `tensorrt`, or ONNX Runtime's own names; by default CUDA where it is there, then the CPU.
    Where one does not take a graph the next does, CUDA after TensorRT, and that is logged; the CPU only where it is
    named, or no provider is. `model.providers` are those that really run it. `threads` is how many the CPU's share runs
    in, by default one for each core.

    Raises BundleError where the bundle is missing, damaged or disagrees with its manifest; InputError, naming those
    there are, for an unknown precision or provider, for providers that do not run it, and for less than one thread;
    MissingDependencyError without ONNX Runtime.
    """
    return Detector(Model(Bundle.open(path), precision, providers, threads))


class Detector:
    """Slides the model's window over one camera's frames.

    One detector serves one camera: its window is its state. Not safe for use by several threads at once, but that one
    may `take` while another decides.
    """

    def __init__(self, model: Model) -> None:
        """A window at its start; detectors of several cameras may share `model`."""
        self.model = model
        self._intake = Intake(self.manifest, model.see)
        self._ring = FeatureRing(self.manifest.window.frames)
        self._scorer = model.scorer()
        self._run = self._slot = 0
        self._scores: dict[str, float] | None = None
        self._logits: NDArray[np.float32] | None = None

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """[K] in the order of the classes: where the last decision's scores come from; None while it is cold."""
        return self._logits

    @property
    def newest(self) -> Sample:
        """The sample that the last decision was made with; IndexError where there was none yet."""
        return self._ring.newest

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of its model."""
        return self.model.manifest

    def push(self, frame: NDArray[np.uint8], time: float | None = None, *, still: bool = False) -> Decision | None:
        """Take a frame, uint8 [H, W, 3] BGR of any size; give a decision, or None where the frame is not due.

        With `time` (seconds, on any clock), frames are resampled to the model's frame interval: one that is not due
        costs nothing, and a slot that was missed holds the sample before it. After more than the manifest's
        `window.max_gap` seconds without a frame, or when the clock goes back, the window starts anew, cold. Without
        `time`, each frame is taken as the next sample.

        With `still`, nothing in the picture has moved since the sample before: the CNN is not run, its features and
        maps are taken over. The first sample of a window is computed in any case.

        Raises InputError for a frame of another type or shape, and where frames with and without time are mixed.
        """
        due = self.take(frame, time, still=still)
        return None if due is None else self.decide(due)

    def take(self, frame: Picture, time: float | None = None, *, still: bool = False) -> Due | None:
        """The first half of `push`: the frame as the model is to see it, or None where it is not due.

        For who lets the CNN see several frames at once, by `Model.samples`: of several cameras, or of a video. A frame
        that comes from `Model.see` is at the model's size already.
        """
        return self._intake.take(frame, time, still)

    def decide(self, due: Due, sample: Sample | None = None) -> Decision:
        """The second half of `push`, in the order in which frames were taken; `sample` is what the CNN made of `due`.

        Without it, the CNN runs here, unless the frame is `still`. A frame that was taken and never decided upon leaves
        its slot to the sample before it.
        """
        new_run = due.run != self._run
        lost = due.slot > 0 if new_run else self._slot != due.slot - due.slots
        held = 0 if new_run else due.slot - self._slot - 1
        window = self.manifest.window
        new_run |= lost and held * window.frame_interval > window.max_gap
        if sample is None:
            if due.still and not lost:
                sample = replace(self._ring.newest, image=due.image, time=due.time)
            else:
                sample = self.model.sample(due.image, due.time)
        # Where anything below fails, the next frame begins a new window: this one is of no more use.
        self._run = 0
        if new_run:
            self._ring.clear()
            self._scorer.clear()
        else:
            # More than T held slots would leave the same window as T.
            for _ in range(min(held, window.frames)):
                self._enter(self._ring.newest)
        self._enter(sample)
        decision = self._decide(due.time)
        self._run, self._slot = due.run, due.slot
        return decision

    @staticmethod
    def step_together(detectors: Sequence[Detector], samples: Sequence[Sample]) -> None:
        """Let the windows of several `detectors` with one model slide at once, each by the sample it decides on next.

        It changes nothing but the time that `decide` takes with these samples.
        """
        if detectors and detectors[0].model.steps_together:
            step_together([each._scorer for each in detectors], [sample.features for sample in samples])

    def is_due(self, time: float) -> bool:
        """Whether a frame at `time` (seconds) would be taken; for who drops those that are not, from another thread."""
        return self._intake.is_due(time)

    def snapshot(self) -> Snapshot:
        """The window as it is now, to be explained later, by another thread even: see `Model.explain`.

        Raises InputError while the window is cold.
        """
        if self._scores is None:
            there, needed = len(self._ring), self.manifest.window.frames
            raise InputError(f"no full window to explain yet ({there} of {needed} frames): wait for a warm decision")
        return Snapshot(self._ring.samples(), self._scores, _highest(self._scores), self._ring.usual)

    def explain(
        self,
        method: str = METHOD,
        label: str | None = None,
        versus: str | None = None,
        *,
        frames: Frames = "all",
        time: str = TIME,
        counter: bool = False,
        reference: Reference = "auto",
    ) -> Explanation:
        """Why the window's score for `label` is what it is: where in each frame, and how much each frame counts.

        What the CNN made of the window's frames is there still: methods that weigh maps go back through the part of the
        CNN above them at most, only those that go to the pixels through all of it.

        Args:
            method: where, one of `whycam.explain.METHODS`.
            label: the class to explain; by default the last decision's.
            versus: another class: then the question is "why `label` rather than `versus`".
            frames: which frames get heat maps: an integer for so many of the most relevant ones, a list of indices, or
                `all`. Relevance is always that of the whole window, at the cost of the head.
            time: when, one of `whycam.explain.TIME_METHODS`.
            counter: show what speaks against the label instead of what speaks for it.
            reference: `usual` for what differs from what the camera usually shows, a running mean; `none`; or `auto`,
                the former as soon as it is known.

        Raises InputError while the window is cold, for an unknown class or method, naming those there are, for a method
        that the bundle has no graphs for, and where what is usual is not known yet.
        """
        return self.model.explain(
            self.snapshot(), method, label, versus, frames=frames, time=time, counter=counter, reference=reference
        )

    def _enter(self, sample: Sample) -> None:
        self._ring.push(sample)
        self._scorer.advance(sample.features)

    def _decide(self, time: float) -> Decision:
        classes = self.manifest.classes
        if not self._ring.full:
            self._scores = self._logits = None
            return Decision(time, dict.fromkeys(classes, math.nan), label=None, warm=False, alert=False)
        self._logits, values = self._scorer.decide(self._ring)
        scores = {name: float(value) for name, value in zip(classes, values, strict=True)}
        self._scores = scores
        alert = bool(alerting(scores, self.manifest.thresholds))
        return Decision(time, scores, _highest(scores), warm=True, alert=alert)


def _highest(scores: dict[str, float]) -> str:
    return max(scores, key=scores.__getitem__)
