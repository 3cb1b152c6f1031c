"""The model of a bundle: its graphs, opened once for all cameras that run it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.cuda.array import Array, DeviceArray, Picture, Pool, Values
from whycam.cuda.cuda_device import cuda_device
from whycam.cuda.device import Device
from whycam.default_methods import METHOD, TIME
from whycam.detect.extractor import Extractor
from whycam.detect.graphs import explanation_specs, features_spec, step_spec
from whycam.detect.late import LateGraph
from whycam.detect.memory import release_memory
from whycam.detect.opening import Announce, open_graph
from whycam.detect.providers import CPU, CUDA, TENSORRT, choose_providers, leaves_to_cpu
from whycam.detect.ring import Sample, Snapshot, stacked
from whycam.detect.scorer import DeviceStepScorer, Scorer, StepPlaces, StepScorer, WindowScorer
from whycam.detect.sessions import Graph, feature_file, step_file
from whycam.detect.temperature import tempered
from whycam.errors import InputError
from whycam.explain.device_inquiry import DeviceInquiry
from whycam.explain.explanation import Explanation
from whycam.explain.inquiry import Inquiry
from whycam.explain.methods import (
    METHODS,
    TIME_METHODS,
    Method,
    Way,
    method_named,
    offered,
    time_method_named,
)
from whycam.explain.target import target_vector

if TYPE_CHECKING:
    import onnxruntime

Frames = int | Sequence[int] | Literal["all"]
"""Which frames of a window get heat maps: the n most relevant, those of these indices, or all."""
Reference = Literal["auto", "usual", "none"]
"""What a window is seen against: what its camera usually shows, or nothing; `auto`: the former where it is known."""
Maps = tuple[NDArray[np.float32], ...]


class Model:
    """A bundle's graphs, ready to run; several threads may use it at once, and any number of detectors share it."""

    def __init__(
        self,
        bundle: Bundle,
        precision: str = "fp32",
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        *,
        beside: Model | None = None,
        device: Device | None = None,
        announce: Announce | None = None,
    ) -> None:
        """See `whycam.load`; `announce` is told what is going to take minutes.

        `device` is where frames, features and maps stay; by default the GPU's memory where that runs the model.

        Where the feature extractor is that of the model `beside`, by its SHA-256, precision and providers, it is not
        opened again: see `shares_features`.
        """
        if threads is not None and threads < 1:
            raise InputError(f"threads {threads}: give 1 or more, or none for one in each core")
        self.bundle = bundle
        self.precision = precision
        self._wanted = choose_providers(providers)
        self._insist = not leaves_to_cpu(providers)
        manifest = bundle.manifest
        features = features_spec(manifest, feature_file(manifest, precision, self._wanted))
        self._cnn = (bundle.manifest.files[features.file].sha256, features.inputs, features.outputs)
        twin = beside if beside is not None and beside._runs(self) else None
        if twin is not None:
            # In the stream of the features that are shared: what follows them is done after them.
            device = None if twin.pool is None else twin.pool.device
        elif device is None and self._wanted[0] in (CUDA, TENSORRT):
            device = cuda_device()
        start = partial(
            open_graph,
            bundle,
            threads=threads,
            insist=self._insist,
            announce=announce,
            stream=None if device is None else device.stream,
        )
        step = step_spec(manifest, step_file(manifest, precision, self._wanted))
        # Opened at the first explanation that asks for them, but damage should show now, not at the first alert.
        specs = explanation_specs(manifest)
        with bundle.checking(spec.file for spec in specs.values()):
            graph: Graph = start(features, self._wanted) if twin is None else twin._extractor.graph
            # What does not run the CNN here is not asked again for each graph.
            rest = self._wanted[self._wanted.index(graph.opened_on) :]
            if device is not None and device.name != "cpu" and rest[0] == CPU:
                device = None
            fixed = device is not None
            self._step = start(step, rest, fixed_addresses=fixed) if manifest.step.available else None
        self._extractor: Extractor = Extractor(graph, manifest, device) if twin is None else twin._extractor
        self._places: deque[StepPlaces] = deque()
        # Only the head may have to run for every frame.
        often = ("head",) if self._step is None else ()
        self._late = {
            name: LateGraph(partial(start, spec, rest, rare=name not in often)) for name, spec in specs.items()
        }
        # In INT8 the numbers of all windows of a run share one scale: each camera's would depend on the others'.
        self.steps_together = self.at_once > 1 and step.file == "step.onnx"
        """Whether the windows of several detectors may slide in one run, without a change of what they decide."""
        self._often = {name: self._late[name]() for name in often}

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of its model."""
        return self.bundle.manifest

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's names of the execution providers that really run the feature extractor, as its session's
        profile tells: the one that takes most of the time first."""
        return self._extractor.graph.providers

    @property
    def shares(self) -> Mapping[str, float]:
        """Of the feature extractor's time, what each of them takes, 0 to 1."""
        return self._extractor.graph.shares

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """ONNX Runtime's session of the feature extractor."""
        return self._extractor.graph.session

    def shares_features(self, other: Model) -> bool:
        """Whether what the CNN makes of a frame for `other` is what it makes of it for this model: they share it."""
        return self._extractor is other._extractor

    @property
    def threads(self) -> int | None:
        """Threads that the feature extractor takes on the CPU; None where ONNX Runtime chooses."""
        return self._extractor.graph.threads

    @property
    def methods(self) -> tuple[str, ...]:
        """Those of `whycam.explain.METHODS` that the bundle has graphs for."""
        return offered(METHODS, self._late)

    @property
    def time_methods(self) -> tuple[str, ...]:
        """Those of `whycam.explain.TIME_METHODS` that the bundle has graphs for."""
        return offered(TIME_METHODS, self._late)

    def extract(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Maps]:
        """Features f32 [N, F], and maps f32 [N, C, h, w] of each CAM layer, of images uint8 [N, H, W, 3] BGR."""
        outputs = self._extractor.graph({"frames": images})
        return outputs.pop("features"), tuple(outputs.values())

    def see(self, pixels: NDArray[np.uint8]) -> Picture:
        """A frame's pixels (see `Frame`), of any size, at the model's size, where the CNN takes them from.

        May be called by several threads, beside those that run the model.
        """
        return self._extractor.see(pixels)

    def sample(self, image: Picture, time: float) -> Sample:
        """What the CNN makes of `image`, uint8 [H, W, 3] BGR at the model's size, seen at `time` seconds."""
        return self.samples([image], [time])[0]

    @property
    def pool(self) -> Pool | None:
        """The memory of the device that frames, features and maps stay in; None where that is the host's."""
        return self._extractor.pool

    @property
    def at_once(self) -> int:
        """How many pictures the CNN sees at once, at most."""
        return self._extractor.at_once

    def samples(self, images: Sequence[Picture], times: Sequence[float]) -> list[Sample]:
        """What `sample` makes of each of `images`, computed `at_once` at a time."""
        return self._extractor.samples(images, times)

    def snapshot(self, images: NDArray[np.uint8], times: Sequence[float] | None = None) -> Snapshot:
        """The window of T `images`, uint8 [T, H, W, 3] BGR at the model's size, scored; without a stream around it.

        `times` are seconds, by default the model's frame interval apart. Raises InputError for another shape.
        """
        window, size = self.manifest.window, self.manifest.input
        expected = (window.frames, size.height, size.width, 3)
        if images.shape != expected or images.dtype != np.uint8:
            raise InputError(f"a window is uint8 {list(expected)}, not {images.dtype} {list(images.shape)}")
        moments = np.arange(window.frames) * window.frame_interval if times is None else times
        samples = tuple(self.samples(list(images), [float(time) for time in moments]))
        features = stacked([sample.features for sample in samples])
        _, values = self.logits(features.reshape(1, *features.shape))
        scores = {name: float(value) for name, value in zip(self.manifest.classes, values[0], strict=True)}
        return Snapshot(samples, scores, max(scores, key=scores.__getitem__))

    def logits(self, windows: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits and scores f32 [N, K] of windows of features f32 [N, T, F]."""
        outputs = self._run("head", {"window": windows})
        return outputs["logits"], tempered(outputs["logits"], outputs["scores"], self.manifest.temperature)

    def scorer(self) -> Scorer:
        """A new sliding window: over the step graph where the bundle has one, else over the head."""
        if self._step is not None and self.pool is not None:
            return DeviceStepScorer(self._step, self.manifest, self.pool, self._places)
        if self._step is not None:
            return StepScorer(self._step, self.manifest)
        return WindowScorer(self._often["head"], self.manifest)

    def open_explainer(self, method: str = METHOD, time: str = TIME) -> None:
        """Open the graphs of these methods now, where the first explanation should not wait for them.

        Raises InputError for a method that the bundle has no graphs for.
        """
        for way, name in ((method_named(method), method), (time_method_named(time), time)):
            check_offered(self.manifest, way, name)
            for graph in way.needs:
                self._late[graph]()

    def rest(self, idle_seconds: float) -> None:
        """Close the graphs that no explanation has asked for in `idle_seconds`: they take more memory than the rest.

        The next one opens them again, which takes part of a second.
        """
        idle = [graph.let_go(idle_seconds) for name, graph in self._late.items() if name not in self._often]
        if any(idle):
            release_memory()

    def explain(
        self,
        window: Snapshot,
        method: str = METHOD,
        label: str | None = None,
        versus: str | None = None,
        *,
        frames: Frames = "all",
        time: str = TIME,
        counter: bool = False,
        reference: Reference = "auto",
    ) -> Explanation:
        """Why `window` was scored as it was; see `Detector.explain`."""
        return self.compare(
            window, [method], label, versus, frames=frames, time=time, counter=counter, reference=reference
        )[0]

    def compare(
        self,
        window: Snapshot,
        methods: Sequence[str],
        label: str | None = None,
        versus: str | None = None,
        *,
        frames: Frames = "all",
        time: str = TIME,
        counter: bool = False,
        reference: Reference = "auto",
    ) -> list[Explanation]:
        """The same question answered by several methods, which share what they have in common to compute."""
        ways = [method_named(name, counter) for name in methods]
        when = time_method_named(time, counter)
        for way, name in [*zip(ways, methods, strict=True), (when, time)]:
            check_offered(self.manifest, way, name)
        label = window.label if label is None else label
        target = target_vector(self.manifest.classes, label, versus)
        usual = window.usual is not None if reference == "auto" else reference == "usual"
        ask = self.inquiry(window, -target if counter else target, usual=usual)
        shares = when.shares(ask)
        ask.chosen = _chosen(frames, shares)
        return [
            Explanation(
                heatmaps=_placed(way.heatmaps(ask), ask.chosen, len(shares)),
                relevance=shares,
                times=window.times(),
                label=label,
                method=name,
                time=time,
                versus=versus,
                counter=counter,
                reference="usual" if usual else "none",
                explained=ask.chosen,
                pictures=[sample.image for sample in window.samples],
            )
            for way, name in zip(ways, methods, strict=True)
        ]

    def inquiry(self, window: Snapshot, target: NDArray[np.float32], *, usual: bool = False) -> Inquiry:
        """What methods ask of `window`, about its logits weighed by `target` f32 [K]; see `Inquiry`."""
        if self.pool is not None:
            return DeviceInquiry(self._run, self._fill, window, target, usual=usual)
        return Inquiry(self._run, window, target, usual=usual)

    def _runs(self, other: Model) -> bool:
        """Whether the feature extractor that runs here is the one that `other` asks for."""
        alike = (self._cnn, self.precision, self._wanted) == (other._cnn, other.precision, other._wanted)
        return alike and (self._insist or not other._insist)

    def _run(self, name: str, inputs: Mapping[str, Values]) -> dict[str, NDArray[np.float32]]:
        if name == "features":
            return self._extractor.outputs(np.asarray(inputs["frames"]))
        return self._late[name]()(inputs)

    def _fill(
        self, name: str, into: Mapping[str, DeviceArray], inputs: Mapping[str, Values]
    ) -> Mapping[str, NDArray[np.float32]]:
        return self._late[name]().fill(into, inputs)


def check_offered(manifest: Manifest, way: Way, name: str) -> None:
    """Raise InputError where the bundle lacks graphs that the method `name` needs."""
    graphs = explanation_specs(manifest)
    missing = [graph for graph in way.needs if graph not in graphs]
    if missing:
        able = offered(METHODS if isinstance(way, Method) else TIME_METHODS, graphs)
        raise InputError(
            f"method '{name}' needs {', '.join(f'{graph}.onnx' for graph in missing)}, which bundle "
            f"'{manifest.name}' has not: {remedy(way, graphs)}, or choose of {', '.join(able)}"
        )


def remedy(way: Way, graphs: Collection[str]) -> str:
    """How to get a bundle that has what `way` needs beside these `graphs`."""
    missing = set(way.needs) - set(graphs)
    if any("attention" in name for name in missing):
        return "train the model with --attention"
    return f"export it with --explain {'cams' if missing <= {'head_vjp', 'maps_vjp'} else 'all'}"


def _chosen(frames: Frames, shares: NDArray[np.float32]) -> tuple[int, ...]:
    """The frames to explain, in the window's order."""
    count = len(shares)
    if frames == "all":
        return tuple(range(count))
    if isinstance(frames, int):
        if frames < 1:
            raise InputError(f"frames {frames}: give how many of the most relevant ones, at least 1, or all")
        # Of equal frames the newest: they are what was decided on.
        return tuple(sorted(sorted(range(count), key=lambda index: (-shares[index], -index))[:frames]))
    if not frames or not all(-count <= index < count for index in frames):
        raise InputError(f"frames {list(frames)}: a window has the frames 0 to {count - 1}")
    return tuple(sorted({index % count for index in frames}))


def _placed(heatmaps: NDArray[np.float32], chosen: Sequence[int], count: int) -> NDArray[np.float32]:
    placed = np.zeros((count, *heatmaps.shape[1:]), np.float32)
    placed[list(chosen)] = heatmaps
    return placed
