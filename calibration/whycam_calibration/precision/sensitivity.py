"""Which layers quantization hurts: the error of the features where one layer alone is quantized."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam_calibration.precision.extractor import Extractor
from whycam_calibration.precision.int8 import Form, quantize
from whycam_calibration.precision.network import Network
from whycam_calibration.precision.ranges import Ranges

FRAMES = 8
"""Of the chosen frames, the first: the most different ones."""


def reference_of(extract: Extractor, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """What fp32 gives for the frames that errors are measured on."""
    features, maps = extract(images[:FRAMES])
    return [features, *maps]


def layer_error(
    network: Network,
    ranges: Ranges,
    form: Form,
    node: str,
    images: NDArray[np.uint8],
    reference: list[NDArray[np.float32]],
    manifest: Manifest,
) -> float:
    """Error of the features, or of the maps where that is larger, over their norm, with the layer `node` in INT8."""
    extract = Extractor(quantize(network, ranges, form, only=node), manifest)
    features, maps = extract(images[:FRAMES])
    return max(relative_error(found, wanted) for found, wanted in zip([features, *maps], reference, strict=True))


def relative_error(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Norm of the difference over the norm of `wanted`; of the worst frame, which a mean would hide."""
    axes = tuple(range(1, wanted.ndim))
    error = np.sqrt(((found.astype(np.float64) - wanted) ** 2).sum(axis=axes))
    norm = np.sqrt((wanted.astype(np.float64) ** 2).sum(axis=axes))
    worst = float((error / np.maximum(norm, 1e-12)).max())
    return worst if np.isfinite(worst) else 1e12
