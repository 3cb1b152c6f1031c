"""A question asked of a window that lies in a device's memory: only sums and heat maps come to the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from whycam.cuda import kernels
from whycam.cuda.array import DeviceArray, Values, gathered
from whycam.explain.inquiry import Array, Inquiry, Run

if TYPE_CHECKING:
    from whycam.detect.ring import Snapshot

Fill = Callable[[str, Mapping[str, DeviceArray], Mapping[str, Values]], Mapping[str, Array]]
"""Runs a graph of the bundle by its name: writes the outputs that the first mapping names there, returns the others."""


class DeviceInquiry(Inquiry):
    """An inquiry whose gradients stay on the device where a kernel sums them up; other methods read them from there."""

    def __init__(self, run: Run, fill: Fill, window: Snapshot, target: Array, *, usual: bool = False) -> None:
        """As `Inquiry`, of a window whose samples are on a device."""
        super().__init__(run, window, target, usual=usual)
        self._fill = fill

    @cached_property
    def features(self) -> Array:
        """See `Inquiry`; brought to the host, as what follows."""
        return np.asarray(self._features)

    @cached_property
    def feature_gradient(self) -> Array:
        """See `Inquiry`."""
        return np.asarray(self._feature_gradient)

    @cached_property
    def layers(self) -> tuple[Array, ...]:
        """See `Inquiry`."""
        return tuple(np.asarray(layer) for layer in self._layers)

    @cached_property
    def map_gradients(self) -> tuple[Array, ...]:
        """See `Inquiry`."""
        return tuple(np.asarray(gradient) for gradient in self._map_gradients)

    def cams(self, name: str, cam: Callable[[Array, Array], Array]) -> list[Array]:
        """See `Inquiry`; by a kernel where there is one."""
        if name not in kernels.METHODS:
            return super().cams(name, cam)
        usual = [None] * len(self._layers) if self.usual is None else [_on_device(each) for each in self.usual.maps]
        parts = zip(self._layers, self._map_gradients, usual, strict=True)
        return [np.asarray(kernels.class_activation(name, *part)) for part in parts]

    def gradient_times_input(self) -> Array:
        """See `Inquiry`; by a kernel."""
        return kernels.frame_dots(self._features, self._feature_gradient, self._resting)

    def windows_of_one(self, *, keep: bool) -> DeviceArray:
        """See `Inquiry`; they stay on the device."""
        return kernels.windows_of_one(self._features, self._resting, keep=keep)

    @property
    def _resting(self) -> DeviceArray | None:
        return None if self.usual is None else _on_device(self.usual.features)

    @cached_property
    def _features(self) -> DeviceArray:
        return self._gathered([sample.features for sample in self.window.samples])

    @cached_property
    def _feature_gradient(self) -> DeviceArray:
        made = self._features.like()
        self._fill("head_vjp", {"feature_gradient": made}, {"window": self._features, "target": self.target})
        return made

    @cached_property
    def _layers(self) -> tuple[DeviceArray, ...]:
        samples = [self.window.samples[index] for index in self.chosen]
        return tuple(self._gathered(layer) for layer in zip(*(sample.maps for sample in samples), strict=True))

    @cached_property
    def _map_gradients(self) -> tuple[DeviceArray, ...]:
        # Imported here: the detector's package imports this module.
        from whycam.detect.graphs import numbered

        into = {numbered("map_gradient", index): layer.like() for index, layer in enumerate(self._layers)}
        chosen = self._gathered([self._feature_gradient[index] for index in self.chosen])
        self._fill("maps_vjp", into, {"maps": self._layers[0], "feature_gradient": chosen})
        return tuple(into.values())

    @staticmethod
    def _gathered(arrays: Sequence[Array | DeviceArray]) -> DeviceArray:
        there = [_on_device(each) for each in arrays]
        return gathered(there, there[0].pool)


def _on_device(array: Array | DeviceArray) -> DeviceArray:
    if not isinstance(array, DeviceArray):
        raise TypeError("a window of which a part is on the host")
    return array
