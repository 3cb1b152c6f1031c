"""The part of a model that sees frames: the CNN, and the memory that frames and what it makes of them lie in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.cuda.array import Array, DeviceArray, Picture, Pool, Values, gathered
from whycam.cuda.device import Device
from whycam.cuda.frames import FrameLoader
from whycam.cuda.slots import Slots
from whycam.detect.graphs import AT_ONCE, numbered
from whycam.detect.providers import TENSORRT
from whycam.detect.resize import resize
from whycam.detect.ring import Sample, stacked
from whycam.detect.sessions import Graph
from whycam.sources.frame import bgr


class Extractor:
    """A feature extractor, ready to run; several threads may use it at once, and models that share it."""

    def __init__(self, graph: Graph, manifest: Manifest, device: Device | None) -> None:
        """Of the `graph` of the bundle that `manifest` describes; what it makes of frames stays on `device`, if any.

        Raises DeviceMemoryError.
        """
        self.graph = graph
        self._maps = tuple(numbered("maps", index) for index in range(len(manifest.cams)))
        self._size = manifest.input.height, manifest.input.width
        self._slots = self._loader = None
        if device is not None:
            shapes = {name: [size for size in shape if size] for name, shape in graph.spec.outputs.items()}
            self._slots = Slots(Pool(device), shapes, 2 * manifest.window.frames)
            self._loader = FrameLoader(Pool(device.beside()), *self._size)

    @property
    def pool(self) -> Pool | None:
        """The memory of the device that frames, features and maps stay in; None where that is the host's."""
        return None if self._slots is None else self._slots.pool

    @property
    def at_once(self) -> int:
        """How many pictures the CNN sees at once, at most."""
        # TensorRT's engine is built for one picture.
        return 1 if self.graph.opened_on == TENSORRT else AT_ONCE

    def see(self, pixels: NDArray[np.uint8]) -> Picture:
        """See `Model.see`."""
        return resize(bgr(pixels), *self._size) if self._loader is None else self._loader.load(pixels)

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """What the graph gives for images uint8 [N, H, W, 3] BGR at the model's size, on the host, by name."""
        most = self.at_once
        parts = [self.graph({"frames": images[start : start + most]}) for start in range(0, len(images), most)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def samples(self, images: Sequence[Picture], times: Sequence[float]) -> list[Sample]:
        """See `Model.samples`."""
        made: list[Sample] = []
        for start in range(0, len(images), self.at_once):
            some = images[start : start + self.at_once]
            extracted = self._extract(some) if self._slots is None else self._extract_into(self._slots, some)
            for index, (outputs, image) in enumerate(zip(extracted, some, strict=True)):
                maps = tuple(outputs[name] for name in self._maps)
                made.append(Sample(outputs["features"], maps, image, times[start + index]))
        return made

    def _extract(self, images: Sequence[Picture]) -> Sequence[Mapping[str, Array]]:
        outputs = self.graph({"frames": stacked(images)})
        if len(images) == 1:
            return [{name: values[0] for name, values in outputs.items()}]
        # Copies: a sample that stays in a window must not keep the others of its batch.
        return [{name: values[index].copy() for name, values in outputs.items()} for index in range(len(images))]

    def _extract_into(self, ring: Slots, images: Sequence[Picture]) -> Sequence[Mapping[str, Array]]:
        there = [image for image in images if isinstance(image, DeviceArray)]
        frames: Values = gathered(there, ring.pool) if len(there) == len(images) else stacked(images)
        return ring.filled(len(images), lambda into: self.graph.fill(into, {"frames": frames}))
