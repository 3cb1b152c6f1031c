"""The detector: frames in, decisions out, and on request the reasons."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.detect.decision import Decision, alerting
from whycam.detect.graphs import GraphSpec, features_spec, head_vjp_spec, maps_vjp_spec
from whycam.detect.resize import resize
from whycam.detect.ring import FeatureRing, Sample
from whycam.detect.sampling import COLD, Resampler
from whycam.detect.scorer import open_scorer
from whycam.detect.sessions import Graph, choose_providers, feature_file, open_graph
from whycam.errors import InputError
from whycam.explain.explanation import Explanation, relevance
from whycam.explain.methods import method_named
from whycam.explain.target import target_vector
from whycam.sources.frame import check_image


def load(path: str | os.PathLike[str], precision: str = "fp32", providers: Sequence[str] | None = None) -> Detector:
    """The detector of the bundle at `path`.

    `precision` names one of the bundle's feature extractors. `providers` are execution providers in order of
    preference: `cpu`, `cuda`, `tensorrt`, or ONNX Runtime's own names; by default CUDA where it is there, then the CPU.

    Raises BundleError where the bundle is missing, damaged or disagrees with its manifest; InputError, naming those
    there are, for an unknown precision or provider; MissingDependencyError without ONNX Runtime.
    """
    return Detector(Bundle.open(path), precision, providers)


class Detector:
    """Slides the model's window over one camera's frames.

    Not safe for use by several threads at once. One detector serves one camera: its window is its state.
    """

    def __init__(self, bundle: Bundle, precision: str = "fp32", providers: Sequence[str] | None = None) -> None:
        """See `load`."""
        self._bundle = bundle
        self._providers = choose_providers(providers)
        features = features_spec(self.manifest, feature_file(self.manifest, precision))
        self._features = open_graph(bundle, features, self._providers, insist=providers is not None)
        self._scorer = open_scorer(bundle, self._providers)
        # Opened at the first explanation, but damage should show now, not at the first alert.
        for spec in (head_vjp_spec(self.manifest), maps_vjp_spec(self.manifest)):
            bundle.file(spec.file)

        window = self.manifest.window
        self._resampler = Resampler(window.frame_interval, window.max_gap)
        self._ring = FeatureRing(window.frames)
        self._timed: bool | None = None
        self._label: str | None = None

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of its model."""
        return self._bundle.manifest

    def push(self, frame: NDArray[np.uint8], time: float | None = None) -> Decision | None:
        """Take a frame, uint8 [H, W, 3] BGR of any size; give a decision, or None where the frame is not due.

        With `time` (seconds, on any clock), frames are resampled to the model's frame interval: one that is not due
        costs nothing, and a slot that was missed holds the sample before it. After more than the manifest's
        `window.max_gap` seconds without a frame, or when the clock goes back, the window starts anew, cold. Without
        `time`, each frame is taken as the next sample.

        Raises InputError for a frame of another type or shape, and where frames with and without time are mixed.
        """
        check_image(frame)
        if self._timed is None:
            self._timed = time is not None
        elif self._timed != (time is not None):
            before = "with" if self._timed else "without"
            raise InputError(
                f"frames were pushed {before} a time before: push all of them so, or load another detector"
            )

        if time is None:
            slots = 1
            time = self._ring.newest.time + self.manifest.window.frame_interval if len(self._ring) else 0.0
        else:
            slots = self._resampler.push(time)
        if slots == 0:
            return None
        if slots == COLD:
            self._ring.clear()
            self._scorer.clear()
        # More than T held slots would leave the same window as T.
        for _ in range(min(slots - 1, self.manifest.window.frames)):
            self._enter(self._ring.newest)
        self._enter(self._sample(frame, time))
        return self._decide(time)

    def explain(self, method: str = "grad-cam", label: str | None = None, against: str | None = None) -> Explanation:
        """Why the window's score for `label` is what it is: where in each frame, and how much each frame counts.

        Nothing runs through the CNN again: features and maps are in the window still. `label` is by default the last
        decision's; with `against`, another class, the question is "why `label` rather than `against`". Methods:
        `grad-cam`, `hirescam`, `layer-cam`.

        Raises InputError while the window is cold, and for an unknown class or method, naming those there are.
        """
        cam = method_named(method)
        label, gradient = self._feature_gradient(label, against)
        maps = self._ring.maps()
        map_gradient = self._maps_vjp({"maps": maps, "feature_gradient": gradient})["map_gradient"]
        return Explanation(
            heatmaps=cam(maps, map_gradient),
            relevance=relevance(self._ring.features(), gradient),
            times=self._ring.times(),
            label=label,
            method=method,
            against=against,
            frames=self._ring.images(),
        )

    def explain_newest(
        self, method: str = "grad-cam", label: str | None = None, against: str | None = None
    ) -> NDArray[np.float32]:
        """The heat map [h, w] of the window's newest frame alone: the last of `explain`, at a fraction of its cost.

        One frame instead of T goes backwards through the CNN above the maps. Raises as `explain` does.
        """
        cam = method_named(method)
        _, gradient = self._feature_gradient(label, against)
        maps = self._ring.newest.maps[np.newaxis]
        map_gradient = self._maps_vjp({"maps": maps, "feature_gradient": gradient[-1:]})["map_gradient"]
        heatmap: NDArray[np.float32] = cam(maps, map_gradient)[0]
        return heatmap

    def _sample(self, frame: NDArray[np.uint8], time: float) -> Sample:
        image = resize(frame, self.manifest.input.height, self.manifest.input.width)
        outputs = self._features({"frames": image[np.newaxis]})
        # A picture of the model's own size is the caller's array, which may be reused for the next one.
        return Sample(outputs["features"][0], outputs["maps"][0], image.copy() if image is frame else image, time)

    def _enter(self, sample: Sample) -> None:
        self._ring.push(sample)
        self._scorer.advance(sample.features)

    def _decide(self, time: float) -> Decision:
        classes = self.manifest.classes
        if not self._ring.full:
            self._label = None
            return Decision(time, dict.fromkeys(classes, math.nan), label=None, warm=False, alert=False)
        values = self._scorer.scores(self._ring)
        scores = {name: float(value) for name, value in zip(classes, values, strict=True)}
        self._label = classes[int(np.argmax(values))]
        alert = bool(alerting(scores, self.manifest.thresholds))
        return Decision(time, scores, self._label, warm=True, alert=alert)

    def _feature_gradient(self, label: str | None, against: str | None) -> tuple[str, NDArray[np.float32]]:
        if self._label is None:
            there, needed = len(self._ring), self.manifest.window.frames
            raise InputError(f"no full window to explain yet ({there} of {needed} frames): wait for a warm decision")
        label = self._label if label is None else label
        target = target_vector(self.manifest.classes, label, against)
        outputs = self._head_vjp({"window": self._ring.features(), "target": target})
        return label, outputs["feature_gradient"]

    @cached_property
    def _head_vjp(self) -> Graph:
        return self._open(head_vjp_spec(self.manifest))

    @cached_property
    def _maps_vjp(self) -> Graph:
        return self._open(maps_vjp_spec(self.manifest))

    def _open(self, spec: GraphSpec) -> Graph:
        return open_graph(self._bundle, spec, self._providers)
