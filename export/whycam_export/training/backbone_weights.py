"""Weights for the backbone: ImageNet's, none, or a file of Keras (`.h5`) or of whycam (`.npz`, 8 bits a weight)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whycam_export.errors import TrainingError

Weights = dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Kernel [h, w, in, out] and bias [out] of each convolution, by the layer's name."""


def load_backbone_weights(model: Any, spec: str | Path) -> None:
    """Give the convolutions of `model` (a `vgg19` of any width) the weights that `spec` names.

    `imagenet` fetches those of keras.applications, `none` leaves the model as it is, anything else is a file:
    `.h5` of a Keras model or of its weights; `.npz` with `LAYER/kernel|q`, `LAYER/kernel|scale_min`, `LAYER/bias|q` and
    `LAYER/bias|scale_min`, where weight = q * scale + min, per tensor (2 numbers) or per channel ([2, C]).
    Layers that the model does not have are ignored. Raises TrainingError where the file is missing, damaged, of another
    kind or of another shape, and where ImageNet's weights cannot be fetched.
    """
    if str(spec) == "none":
        return
    if str(spec) == "imagenet":
        _assign(model, _imagenet(), "the ImageNet weights")
        return
    path = Path(spec)
    if path.suffix not in (".h5", ".npz"):
        raise TrainingError(f"{path}: backbone weights are imagenet, none, or a file that ends in .h5 or .npz")
    if not path.is_file():
        raise TrainingError(f"{path}: no such weights file")
    try:
        weights = _from_npz(path) if path.suffix == ".npz" else _from_h5(path, model)
    except TrainingError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path}: cannot be read as backbone weights ({_first_line(error)})") from error
    _assign(model, weights, str(path))


def _convolutions(model: Any) -> Iterator[Any]:
    return (layer for layer in model.layers if len(layer.weights) == 2)


def _assign(model: Any, weights: Weights, origin: str) -> None:
    layers = list(_convolutions(model))
    missing = [layer.name for layer in layers if layer.name not in weights]
    if missing:
        raise TrainingError(f"{origin}: no weights for {missing[0]} ({len(missing)} of {len(layers)} layers lack them)")
    for layer in layers:
        for kind, given, wanted in zip(("kernel", "bias"), weights[layer.name], layer.weights, strict=True):
            if given.shape != tuple(wanted.shape):
                raise TrainingError(
                    f"{origin}: the {kind} of {layer.name} is {_shape(given.shape)}, the network's is "
                    f"{_shape(wanted.shape)}{_width_hint(layers[0], weights)}"
                )
            if not np.isfinite(given).all():
                raise TrainingError(f"{origin}: the {kind} of {layer.name} holds values that are not finite")
    for layer in layers:
        layer.set_weights(weights[layer.name])


def _imagenet() -> Weights:
    import keras

    try:
        model = keras.applications.VGG19(weights="imagenet", include_top=False)
    except Exception as error:  # what a failed download raises differs by its cause and by Keras's version
        raise TrainingError(
            "the ImageNet weights cannot be fetched from Keras's site; where there is no network, give a file: "
            f"--backbone-weights FILE.h5 ({_first_line(error)})"
        ) from error
    return {layer.name: tuple(layer.get_weights()) for layer in _convolutions(model)}


def _from_npz(path: Path) -> Weights:
    with np.load(path, allow_pickle=False) as archive:
        layers = sorted({key.partition("/")[0] for key in archive.files if key.endswith("/kernel|q")})
        if not layers:
            raise TrainingError(f"{path}: holds no weights named LAYER/kernel|q")
        return {
            layer: (_dequantized(archive, layer, "kernel"), _dequantized(archive, layer, "bias")) for layer in layers
        }


def _dequantized(archive: Any, layer: str, kind: str) -> npt.NDArray[np.float32]:
    scale, low = archive[f"{layer}/{kind}|scale_min"]
    return np.asarray(archive[f"{layer}/{kind}|q"] * scale + low, dtype=np.float32)


def _from_h5(path: Path, model: Any) -> Weights:
    """Read by layer name wherever in the file it stands, so that models, weights and old layouts are all taken."""
    import h5py

    names = {layer.name for layer in _convolutions(model)}
    found: dict[str, dict[int, npt.NDArray[np.float32]]] = {}

    def visit(key: str, item: Any) -> None:
        layer = next((part for part in key.split("/") if part in names), None)
        if layer is not None and isinstance(item, h5py.Dataset) and item.ndim in (1, 4) and "optimizer" not in key:
            found.setdefault(layer, {})[item.ndim] = np.asarray(item, dtype=np.float32)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
        if not found:
            found = _from_keras3(file)
    if not found:
        raise TrainingError(f"{path}: holds no layer of VGG19 (block1_conv1 to block5_conv4)")
    return {layer: (tensors[4], tensors[1]) for layer, tensors in found.items() if tensors.keys() == {1, 4}}


def _from_keras3(file: Any) -> dict[str, dict[int, npt.NDArray[np.float32]]]:
    """The layout of Keras 3's `.weights.h5`: groups named by class, the layer's name in an attribute."""
    found = {}
    for group in file.get("layers", {}).values():
        name, tensors = group["vars"].attrs.get("name"), list(group["vars"].values())
        if name is not None and len(tensors) == 2:
            found[str(name)] = {tensor.ndim: np.asarray(tensor, dtype=np.float32) for tensor in tensors}
    return found


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _width_hint(first: Any, weights: Weights) -> str:
    """What `--width` the weights were made for, where that can be told."""
    kernel = weights[first.name][0]
    return f"; give --width {kernel.shape[-1] / 64:g}" if kernel.shape[-1] != first.filters else ""


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
