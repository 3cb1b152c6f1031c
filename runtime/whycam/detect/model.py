"""The model of a bundle: its graphs, opened once for all cameras that run it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.detect.graphs import GraphSpec, features_spec, head_spec, head_vjp_spec, maps_vjp_spec, step_spec
from whycam.detect.ring import Snapshot
from whycam.detect.scorer import Scorer, StepScorer, WindowScorer
from whycam.detect.sessions import Graph, choose_providers, feature_file, open_graph
from whycam.explain.explanation import Explanation, relevance
from whycam.explain.methods import method_named
from whycam.explain.target import target_vector


class Model:
    """A bundle's graphs, ready to run; several threads may use it at once, and any number of detectors share it."""

    def __init__(self, bundle: Bundle, precision: str = "fp32", providers: Sequence[str] | None = None) -> None:
        """See `whycam.load`."""
        self.bundle = bundle
        self.precision = precision
        self._wanted = choose_providers(providers)
        manifest = bundle.manifest
        extractor = features_spec(manifest, feature_file(manifest, precision))
        self._features = open_graph(bundle, extractor, self._wanted, insist=providers is not None)
        self._step = self._open(step_spec(manifest)) if manifest.step.available else None
        self._head = None if manifest.step.available else self._open(head_spec(manifest))
        # Opened at the first explanation, but damage should show now, not at the first alert.
        for spec in (head_vjp_spec(manifest), maps_vjp_spec(manifest)):
            bundle.file(spec.file)
        self._head_vjp = _Late(lambda: self._open(head_vjp_spec(manifest)))
        self._maps_vjp = _Late(lambda: self._open(maps_vjp_spec(manifest)))

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of its model."""
        return self.bundle.manifest

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's names of the execution providers that the feature extractor runs on, in order."""
        return self._features.providers

    def extract(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features f32 [F] and maps f32 [C, h, w] of `image`, uint8 [H, W, 3] BGR at the model's size."""
        outputs = self._features({"frames": image[np.newaxis]})
        return outputs["features"][0], outputs["maps"][0]

    def scorer(self) -> Scorer:
        """A new sliding window: over the step graph where the bundle has one, else over the head."""
        if self._step is not None:
            return StepScorer(self._step, self.manifest)
        assert self._head is not None
        return WindowScorer(self._head)

    def open_explainer(self) -> None:
        """Open the gradient graphs now, where the first explanation should not wait for them."""
        self._head_vjp()
        self._maps_vjp()

    def explain(
        self, window: Snapshot, method: str = "grad-cam", label: str | None = None, versus: str | None = None
    ) -> Explanation:
        """Why `window` was scored as it was; see `Detector.explain`.

        Raises InputError for an unknown class or method, naming those there are.
        """
        cam = method_named(method)
        label, gradient = self._feature_gradient(window, label, versus)
        maps = window.maps()
        map_gradient = self._maps_vjp()({"maps": maps, "feature_gradient": gradient})["map_gradient"]
        return Explanation(
            heatmaps=cam(maps, map_gradient),
            relevance=relevance(window.features(), gradient),
            times=window.times(),
            label=label,
            method=method,
            versus=versus,
            frames=window.images(),
        )

    def explain_newest(
        self, window: Snapshot, method: str = "grad-cam", label: str | None = None, versus: str | None = None
    ) -> NDArray[np.float32]:
        """The heat map [h, w] of the window's newest frame alone; as `Detector.explain_newest`."""
        cam = method_named(method)
        _, gradient = self._feature_gradient(window, label, versus)
        maps = window.samples[-1].maps[np.newaxis]
        map_gradient = self._maps_vjp()({"maps": maps, "feature_gradient": gradient[-1:]})["map_gradient"]
        heatmap: NDArray[np.float32] = cam(maps, map_gradient)[0]
        return heatmap

    def _feature_gradient(
        self, window: Snapshot, label: str | None, versus: str | None
    ) -> tuple[str, NDArray[np.float32]]:
        label = window.label if label is None else label
        target = target_vector(self.manifest.classes, label, versus)
        outputs = self._head_vjp()({"window": window.features(), "target": target})
        return label, outputs["feature_gradient"]

    def _open(self, spec: GraphSpec) -> Graph:
        return open_graph(self.bundle, spec, self._wanted)


class _Late:
    """A graph that is opened when it is first asked for, by one thread."""

    def __init__(self, make: Callable[[], Graph]) -> None:
        self._make = make
        self._graph: Graph | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Graph:
        with self._lock:
            if self._graph is None:
                self._graph = self._make()
            return self._graph
