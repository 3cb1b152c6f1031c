"""One question asked of one window: what the methods draw on, each computed when it is first asked for, and once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whycam.cuda.array import Values
from whycam.errors import InputError

if TYPE_CHECKING:
    from whycam.detect.ring import Snapshot

Array = NDArray[np.float32]
Run = Callable[[str, Mapping[str, Values]], Mapping[str, Array]]
"""Runs a graph of the bundle by its name: inputs by name in, outputs by name out."""

_FRAMES_AT_ONCE = 8
"""Frames that go through the whole CNN together; more need more memory and are hardly faster."""
_MAPS_AT_ONCE = 64


class Inquiry:
    """Why `target` is what it is in a window: methods ask for maps, gradients, and what the model says of other input.

    Arrays whose first axis is n hold the frames that `chosen` names, in the window's order.
    """

    def __init__(self, run: Run, window: Snapshot, target: Array, *, usual: bool = False) -> None:
        """Of the logits weighed by `target` f32 [K].

        With `usual`, the camera's usual maps and features are the reference that this window is seen against.

        Raises InputError where they are not known.
        """
        if usual and window.usual is None:
            raise InputError(
                "the camera's usual maps are not known yet: explain a window that as long a one has gone before, "
                "or take `none` as reference"
            )
        self._run = run
        self.window = window
        self.target = target
        self.usual = window.usual if usual else None
        self.chosen: tuple[int, ...] = tuple(range(len(window.samples)))

    @cached_property
    def features(self) -> Array:
        """[T, F]."""
        return self.window.features()

    @cached_property
    def feature_gradient(self) -> Array:
        """[T, F], of the target."""
        return self._run("head_vjp", {"window": self.features, "target": self.target})["feature_gradient"]

    @property
    def resting_features(self) -> Array:
        """[F]: what a frame without anything would give: the camera's usual features, or nought."""
        return np.zeros_like(self.features[0]) if self.usual is None else np.asarray(self.usual.features)

    @cached_property
    def layers(self) -> tuple[Array, ...]:
        """The maps of each CAM layer, [n, C, h, w], as the CNN gave them."""
        count = len(self.window.samples[0].maps)
        return tuple(
            np.stack([np.asarray(self.window.samples[t].maps[layer]) for t in self.chosen]) for layer in range(count)
        )

    @cached_property
    def maps(self) -> tuple[Array, ...]:
        """The maps of each CAM layer, [n, C, h, w], less the camera's usual ones where those are the reference."""
        if self.usual is None:
            return self.layers
        return tuple(layer - np.asarray(usual) for layer, usual in zip(self.layers, self.usual.maps, strict=True))

    @cached_property
    def map_gradients(self) -> tuple[Array, ...]:
        """The gradient of the target by the maps of each CAM layer, [n, C, h, w]."""
        given = {"maps": self.layers[0], "feature_gradient": self.feature_gradient[list(self.chosen)]}
        return tuple(self._run("maps_vjp", given).values())

    def cams(self, name: str, cam: Callable[[Array, Array], Array]) -> list[Array]:
        """[n, h, w] of each CAM layer: what the method `name` makes of the layer's maps and gradient, by `cam`."""
        return [cam(maps, gradient) for maps, gradient in zip(self.maps, self.map_gradients, strict=True)]

    def gradient_times_input(self) -> Array:
        """[T], of the target at the features, summed over each frame's; the input is what differs from rest."""
        summed: Array = ((self.features - self.resting_features) * self.feature_gradient).sum(axis=1)
        return summed

    def windows_of_one(self, *, keep: bool) -> Values:
        """[T + 1, T, F]: in window t, frame t alone is at rest, or with `keep`, all others are.

        The last one is whole, or with `keep`, nothing but rest.
        """
        count = len(self.features)
        rest, rows = self.resting_features, np.arange(count)
        windows = np.tile(rest if keep else self.features, (count + 1, count if keep else 1, 1))
        windows[rows, rows] = self.features if keep else rest
        return windows

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """[n, H, W, 3] BGR, at the model's size."""
        return np.stack([np.asarray(self.window.samples[t].image) for t in self.chosen])

    @cached_property
    def pixel_gradient(self) -> Array:
        """[n, H, W, 3], of the target by the frames, 0 to 255."""
        return self._through_cnn("pixels_vjp", self.images, self.feature_gradient)

    @cached_property
    def guided_gradient(self) -> Array:
        """[n, H, W, 3], as `pixel_gradient` but that only what is positive passes a ReLU backwards."""
        return self._through_cnn("pixels_guided", self.images, self.feature_gradient)

    @cached_property
    def excitation(self) -> Array:
        """[T, F], winning probabilities of the features."""
        return self._run("head_excitation", {"window": self.features, "target": self.target})["feature_excitation"]

    @cached_property
    def counter_excitation(self) -> Array:
        """[T, F], winning probabilities of the features for the opposite of the target."""
        return self._run("head_excitation", {"window": self.features, "target": -self.target})["feature_excitation"]

    def map_excitation(self, excitation: Array) -> Array:
        """[n, C, h, w], what reaches the maps of the first CAM layer of `excitation` f32 [T, F], at the features."""
        given = {"maps": self.layers[0], "feature_excitation": excitation[list(self.chosen)]}
        return self._run("maps_excitation", given)["map_excitation"]

    @cached_property
    def place_attention(self) -> Array:
        """[n, h, w], the weights that the model's attention gives the places of each frame."""
        return self._run("maps_attention", {"maps": self.layers[0]})["attention"]

    @cached_property
    def frame_attention(self) -> Array:
        """[T], the weights that the model's attention gives the frames."""
        return self._run("head_attention", {"window": self.features})["attention"]

    @cached_property
    def score(self) -> float:
        """The target of the window as it is."""
        return float(self.scores(self.features[np.newaxis])[0])

    def scores(self, windows: Values) -> Array:
        """The target f32 [B] of windows of features f32 [B, T, F]."""
        logits = self._run("head", {"window": windows})["logits"]
        return logits @ self.target

    def scores_of_maps(self, frame: int, maps: Array) -> Array:
        """The target f32 [B], had the window's frame `frame` each of `maps` f32 [B, C, h, w] at the first layer."""
        found = []
        for start in range(0, len(maps), _MAPS_AT_ONCE):
            features = self.features_of_maps(maps[start : start + _MAPS_AT_ONCE])
            windows = np.repeat(self.features[np.newaxis], len(features), axis=0)
            windows[:, frame] = features
            found.append(self.scores(windows))
        return np.concatenate(found)

    def features_of_maps(self, maps: Array) -> Array:
        """Features f32 [B, F] of maps f32 [B, C, h, w] of the first layer."""
        return self._run("upper", {"maps": maps})["features"]

    def gradient_of_images(self, images: NDArray[np.uint8]) -> Array:
        """[n, H, W, 3]: the pixel gradient of the target, were the chosen frames `images` uint8 [n, H, W, 3]."""
        parts = [self._run("features", {"frames": part})["features"] for part in _parts(images)]
        features = self.features.copy()
        features[list(self.chosen)] = np.concatenate(parts)
        gradient = self._run("head_vjp", {"window": features, "target": self.target})["feature_gradient"]
        return self._through_cnn("pixels_vjp", images, gradient)

    def _through_cnn(self, graph: str, images: NDArray[np.uint8], gradient: Array) -> Array:
        chosen = gradient[list(self.chosen)]
        pairs = zip(_parts(images), _parts(chosen), strict=True)
        return np.concatenate(
            [self._run(graph, {"frames": some, "feature_gradient": part})["pixel_gradient"] for some, part in pairs]
        )


def _parts(array: NDArray[Any]) -> Sequence[NDArray[Any]]:
    return [array[start : start + _FRAMES_AT_ONCE] for start in range(0, len(array), _FRAMES_AT_ONCE)]
