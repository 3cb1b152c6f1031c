"""The ranges of a network's values on the chosen frames, collected in strides so that memory stays bounded."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.network import Network
from whycam_calibration.precision.progress import Progress

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = get_args(Method)

PERCENTILE = 99.99
"""Percent of a value's numbers that its range holds by `percentile`."""
BINS = {"entropy": 128, "percentile": 2048}
"""Bins of the first histogram; later frames with larger values add more.

Of `entropy` as many as levels, so that it only cuts off what the first frames did not show: with more it takes the many
zeros behind a ReLU for the distribution and cuts off what counts (on VGG19 half of the features' norm was lost)."""
STRIDE_BYTES = 128 * 2**20
"""Intermediate values that a histogram is made of at once, at most; those of one frame where they are more."""
_STRIDE_MINMAX = 16

Ranges = dict[str, tuple[float, float]]
"""Lowest and highest of each value, by its name."""


def collect_ranges(
    network: Network,
    images: NDArray[np.uint8],
    method: Method,
    progress: Progress,
    *,
    values: frozenset[str] | None = None,
    stride_bytes: int = STRIDE_BYTES,
) -> Ranges:
    """The ranges of `values` (by default all float values) on `images` uint8 [n, H, W, 3], by ONNX Runtime.

    `minmax` keeps two numbers of each value and frame. The others keep histograms, and for each stride the values
    themselves: strides hold at most `stride_bytes` of them.

    Raises CalibrationError where a value is not finite.
    """
    wanted = frozenset(network.shapes) if values is None else values & frozenset(network.shapes)
    size = _stride(network, wanted, method, stride_bytes)
    with tempfile.TemporaryDirectory(prefix="whycam-") as folder:
        plain = Path(folder) / "network.onnx"
        onnx.save(network.model, plain)
        calibrator = _calibrator(method, plain, Path(folder) / "augmented.onnx", wanted)
        for start in range(0, len(images), size):
            progress(f"ranges by {method}", start, len(images))
            with contextlib.redirect_stdout(io.StringIO()):
                calibrator.collect_data(_Reader(images[start : start + size], network.model.graph.input[0].name))
        progress(f"ranges by {method}", len(images), len(images))
        with contextlib.redirect_stdout(io.StringIO()):
            data = calibrator.compute_data().data
    ranges: Ranges = {name: tuple(np.asarray(end).item() for end in each.range_value) for name, each in data.items()}
    endless = [name for name, pair in ranges.items() if not np.isfinite(pair).all()]
    if endless:
        raise CalibrationError(f"features.onnx: value '{endless[0]}' is not finite on this footage; check the model")
    return ranges


def _stride(network: Network, values: frozenset[str], method: Method, stride_bytes: int) -> int:
    if method == "minmax":
        return _STRIDE_MINMAX
    shapes = [network.shapes[name] for name in values]
    # A dimension that is not known: one frame at a time.
    return (
        1 if any(0 in shape for shape in shapes) else max(1, stride_bytes // sum(4 * int(np.prod(s)) for s in shapes))
    )


def _calibrator(method: Method, plain: Path, augmented: Path, values: frozenset[str]) -> Any:
    from onnxruntime.quantization import calibrate

    def select(model: onnx.ModelProto) -> tuple[set[str], dict[str, onnx.ValueInfoProto]]:
        infos = {info.name: info for info in (*model.graph.value_info, *model.graph.output, *model.graph.input)}
        return set(values), infos

    if method == "minmax":
        calibrator = calibrate.MinMaxCalibrater(plain, augmented_model_path=str(augmented))
    elif method == "entropy":
        calibrator = calibrate.EntropyCalibrater(
            plain, augmented_model_path=str(augmented), num_bins=BINS[method], num_quantized_bins=128
        )
    else:
        calibrator = calibrate.PercentileCalibrater(
            plain, augmented_model_path=str(augmented), num_bins=BINS[method], percentile=PERCENTILE
        )
    # It selects by operator; what is not going to be quantized would cost memory for nothing.
    calibrator.select_tensors_to_calibrate = select
    calibrator.augment_graph()
    with contextlib.redirect_stdout(io.StringIO()):
        calibrator.create_inference_session()
    return calibrator


class _Reader:
    """Frames one by one, as ONNX Runtime's calibrators read them."""

    def __init__(self, images: NDArray[np.uint8], name: str) -> None:
        self._images: Iterator[NDArray[np.uint8]] = iter(images)
        self._name = name

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        image = next(self._images, None)
        return None if image is None else {self._name: image[np.newaxis]}
