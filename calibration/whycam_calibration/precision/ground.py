"""What candidates are made from and judged by: the network, chosen frames, held-back windows, fp32's answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from whycam.bundle import Bundle, Manifest
from whycam.default_methods import METHOD
from whycam.detect.graphs import explanation_specs
from whycam.detect.model import Model
from whycam.explain.methods import METHODS, offered
from whycam_calibration.precision.cache import Arrays, Cache
from whycam_calibration.precision.extractor import CPU_ONLY, Extractor
from whycam_calibration.precision.footage import Footage, split_footage
from whycam_calibration.precision.fp16 import halve
from whycam_calibration.precision.frames import FEW as FEW_FRAMES
from whycam_calibration.precision.frames import Chosen, choose_frames
from whycam_calibration.precision.gate import Figures, compare
from whycam_calibration.precision.golden import GOLDEN
from whycam_calibration.precision.int8 import Form, quantize, quantized_values
from whycam_calibration.precision.network import Network, read_network
from whycam_calibration.precision.progress import Progress
from whycam_calibration.precision.ranges import BINS, PERCENTILE, Method, Ranges, collect_ranges
from whycam_calibration.precision.seen import Seen, highest_anomaly, look
from whycam_calibration.precision.sensitivity import layer_error, reference_of
from whycam_calibration.precision.step import Stepper
from whycam_calibration.precision.windows import FEW as FEW_WINDOWS
from whycam_calibration.precision.windows import HeldBack, read_windows

_SCHEMA = 2


@dataclass(frozen=True, eq=False)
class Ground:
    """All that stays the same while candidates are tried; what costs time is kept in `cache`."""

    bundle: Bundle
    network: Network
    footage: Footage
    chosen: Chosen
    held: HeldBack
    cache: Cache
    progress: Progress

    @property
    def manifest(self) -> Manifest:
        """The bundle's."""
        return self.bundle.manifest

    @cached_property
    def model(self) -> Model:
        """fp32, on the CPU; opened when it is first asked something, which is after the ranges were collected."""
        return Model(self.bundle, "fp32", ["cpu"])

    @property
    def fp32(self) -> bytes:
        """The ONNX graph as it was exported; read anew each time, it is large."""
        return self.bundle.file(self.manifest.precisions["fp32"]).read_bytes()

    @cached_property
    def reference(self) -> Seen:
        """What fp32 makes of the held-back windows."""
        return self._seen("fp32", lambda: self.fp32, None, CPU_ONLY)

    @cached_property
    def labels(self) -> list[str]:
        """The class that is explained of each window."""
        return [highest_anomaly(self.manifest, scores) for scores in self.reference.scores.tolist()]

    def warnings(self) -> list[str]:
        """What its user should know of the footage."""
        found = []
        count = len(self.chosen.images)
        if count < FEW_FRAMES:
            near = f"; {self.chosen.near} others were near duplicates" if self.chosen.near else ""
            found.append(f"ranges come from {count} frames, fewer than {FEW_FRAMES}{near}: give more varied footage")
        if len(self.held.windows) < FEW_WINDOWS:
            found.append(
                f"compared on {len(self.held.windows)} windows, fewer than {FEW_WINDOWS}: a change that is rare would "
                "not show; give more footage"
            )
        unread = self.chosen.unread | self.held.unread
        if unread:
            found.append(
                f"{len(unread)} clips could not be read: "
                + "; ".join(f"{name} ({why})" for name, why in unread.items())
            )
        if METHOD not in offered(METHODS, explanation_specs(self.manifest)):
            found.append("the bundle has no heat maps (exported with --explain none): the gate compares scores alone")
        return found

    def ranges(self, method: Method, *, every: bool = False) -> Ranges:
        """The ranges of what INT8 quantizes; with `every`, of all values."""

        def collect() -> Ranges:
            values = None if every else quantized_values(self.network)
            return collect_ranges(self.network, self.chosen.images, method, self.progress, values=values)

        name = f"ranges.{method}.all" if every else f"ranges.{method}"
        stored = self.cache.values(name, collect)
        return {value: (float(pair[0]), float(pair[1])) for value, pair in stored.items()}

    def sensitivity(self, form: Form, method: Method) -> dict[str, float]:
        """The error of each layer, by node: see `sensitivity.layer_error`."""
        fp32 = Extractor(self.fp32, self.manifest)
        reference = reference_of(fp32, self.chosen.images)
        ranges = self.ranges(method)
        found: dict[str, float] = {}
        layers = self.network.layers
        for index, layer in enumerate(layers):
            self.progress(f"error of each layer, {form.precision}", index, len(layers))
            measure = partial(
                layer_error, self.network, ranges, form, layer.node, self.chosen.images, reference, self.manifest
            )
            found[layer.node] = self.cache.values(f"layer.{form.precision}.{method}.{_brief(layer.node)}", measure)
        self.progress(f"error of each layer, {form.precision}", len(layers), len(layers))
        return found

    def int8(self, form: Form, method: Method, higher: Collection[str]) -> bytes:
        """The INT8 network in `form` with the nodes `higher` left in float32."""
        return quantize(self.network, self.ranges(method), form, higher=higher)

    def fp16(self, higher: Collection[str]) -> bytes:
        """The FP16 network with the nodes `higher` left in float32."""
        return halve(self.network, higher)

    def judge(
        self, precision: str, how: str, higher: Collection[str], make: Callable[[], bytes], providers: Sequence[str]
    ) -> tuple[Figures, Seen]:
        """How far a candidate is from fp32, and what it makes of the windows."""
        name = f"{precision}.{how}.{_brief(*sorted(higher))}"
        reference, labels = self.reference, self.labels
        seen = self._seen(name, make, labels, providers)
        return compare(reference, seen, self.manifest), seen

    def judge_step(self, precision: str, content: bytes, step: Stepper, without: Seen) -> tuple[Figures, Seen]:
        """As `judge`, of the candidate `content` with the sliding window's `step`; heat maps are as `without` it."""

        def compute() -> Arrays:
            extract = Extractor(content, self.manifest)
            what, windows = f"held-back windows, step of {precision}", self.held.windows
            scores = []
            for index, window in enumerate(windows):
                self.progress(what, index, len(windows))
                scores.append(step.scores(np.concatenate([extract(image[np.newaxis])[0] for image in window.images])))
            self.progress(what, len(windows), len(windows))
            return {"scores": np.stack(scores)}

        name = f"stepped.{precision}.{hashlib.sha256(content).hexdigest()[:16]}"
        seen = replace(without, **self.cache.arrays(name, compute))
        return compare(self.reference, seen, self.manifest), seen

    def _seen(
        self, name: str, make: Callable[[], bytes], labels: Sequence[str] | None, providers: Sequence[str]
    ) -> Seen:
        def compute() -> dict[str, object]:
            extract = Extractor(make(), self.manifest, providers)
            what = f"held-back windows, {name.partition('.')[0]}"
            seen = look(self.model, extract, self.held.windows, labels, what, self.progress)
            return {"scores": seen.scores, "heatmaps": seen.heatmaps}

        return Seen(**self.cache.arrays(f"seen.{name}", compute))  # type: ignore[arg-type]


def survey(bundle: Bundle, folder: Path, images: int, cache: Path, progress: Progress) -> Ground:
    """Read the bundle and the footage in `folder`.

    Raises BundleError, InputError or CalibrationError where one of them cannot be used.
    """
    for name in (GOLDEN, *(spec.file for spec in explanation_specs(bundle.manifest).values())):
        bundle.file(name)
    network = read_network(bundle)
    footage = split_footage(folder, bundle.manifest)
    chosen = choose_frames(footage.calibration, bundle.manifest, images, progress)
    held = read_windows(footage.held_back, bundle.manifest, progress)
    return Ground(bundle, network, footage, chosen, held, _cache(bundle, cache, chosen, held), progress)


def _cache(bundle: Bundle, root: Path, chosen: Chosen, held: HeldBack) -> Cache:
    import onnxruntime

    manifest = bundle.manifest
    graphs = {
        name: entry.sha256 for name, entry in manifest.files.items() if not name.startswith(("calibration.", "golden."))
    }
    made_by_us = {file for precision, file in manifest.precisions.items() if precision != "fp32"}
    made_by_us |= set(manifest.steps.values())
    return Cache(
        root,
        {
            "schema": _SCHEMA,
            "whycam": version("whycam-calibration"),
            "methods": [BINS, PERCENTILE],
            "graphs": {name: graphs[name] for name in sorted(graphs) if name not in made_by_us | {manifest.drift}},
            "temperature": manifest.temperature,
            "frames": chosen.hash,
            "windows": held.hash,
            "onnxruntime": onnxruntime.__version__,
        },
    )


def _brief(*names: str) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else "none"
