"""What a precision gives for the bundle's golden window on this machine: a device's self-test."""

from __future__ import annotations

import io

import numpy as np

from whycam.bundle import Bundle
from whycam.detect.model import Model
from whycam.errors import BundleError
from whycam_calibration.precision.seen import Extract, heatmaps_of, snapshot_of

GOLDEN = "golden.npz"
_METHOD = "grad-cam"


def golden_file(precision: str) -> str:
    """The file's name."""
    return f"golden.{precision}.npz"


def golden_of(bundle: Bundle, model: Model, extract: Extract) -> bytes:
    """As `golden.npz`, without its frames: `scores` f32 [K], `heatmaps` f32 [T, h, w] (empty without such), `label`;
    and the `temperature` of the scores, which a later calibration may change.

    Raises BundleError where the bundle's golden window is missing or damaged.
    """
    path = bundle.file(GOLDEN)
    try:
        with np.load(path, allow_pickle=False) as stored:
            frames, label = stored["frames"], str(stored["label"])
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); export the model again") from error
    window = snapshot_of(model, extract, frames)
    heatmaps = np.zeros((0, 0, 0), np.float32)
    if _METHOD in model.methods:
        heatmaps = heatmaps_of(model, window, _METHOD, label, None)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        scores=np.array([window.scores[name] for name in model.manifest.classes], np.float32),
        heatmaps=heatmaps,
        label=np.array(label),
        temperature=np.array(model.manifest.temperature, np.float64),
    )
    return buffer.getvalue()
