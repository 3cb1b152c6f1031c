"""What is usual: the statistics that calibration stores in the bundle, `drift.npz`."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle
from whycam.drift.blocks import Block
from whycam.drift.signs import SIGNS, Vector, novelty
from whycam.errors import BundleError

FILE = "drift.npz"
_REMEDY = "run `whycam calibrate drift` on the bundle again"


@dataclass(frozen=True, eq=False)
class Baseline:
    """The usual range of each sign, over blocks of footage that was calibrated on."""

    seconds: float
    """How long a block lasts."""
    consecutive: int
    """So many blocks in a row beyond a limit are drift, so many within them its end."""
    precision: str
    """The precision that the footage was scored with."""
    mean: Vector
    """[signs]"""
    spread: Vector
    """[signs]: standard deviation of a block's mean."""
    limit: Vector
    """[signs]: so many spreads from the mean are beyond what chance explains."""
    edges_mean: NDArray[np.float32]
    """[cells]"""
    edges_spread: NDArray[np.float32]
    """[cells]"""
    features_mean: NDArray[np.float32]
    """[F]"""
    features_spread: NDArray[np.float32]
    """[F]"""

    def signs(self, block: Block) -> Vector:
        """The signs [signs] of `block`, in the order of `SIGNS`."""
        view = novelty(block.edges, self.edges_mean, self.edges_spread)
        scene = novelty(block.features, self.features_mean, self.features_spread)
        return np.array([*block.tones, float(view), float(scene), block.lean])

    def deviations(self, signs: Vector) -> Vector:
        """How many spreads each of `signs` [..., signs] is from its mean; none where low is as good as usual."""
        deviations: Vector = (signs - self.mean) / self.spread
        one_sided = np.array([sign.less is None for sign in SIGNS])
        return np.where(one_sided, np.maximum(deviations, 0.0), deviations)

    def encode(self) -> bytes:
        """The file."""
        buffer = io.BytesIO()
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        arrays["signs"] = np.array([sign.name for sign in SIGNS])
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def read_baseline(bundle: Bundle) -> Baseline | None:
    """The statistics in `bundle`; None where it has none. Raises BundleError, naming the file, where it is damaged."""
    name = bundle.manifest.drift
    if name is None:
        return None
    path = bundle.file(name)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: cannot be read as statistics of drift ({error}); {_REMEDY}") from None
    lacking = sorted({"signs", *(field.name for field in fields(Baseline))} - set(arrays))
    if lacking:
        raise BundleError(f"{path}: lacks {', '.join(lacking)}; {_REMEDY}")
    if list(map(str, arrays.pop("signs").ravel())) != [sign.name for sign in SIGNS]:
        raise BundleError(f"{path}: has other signs than this version of whycam; {_REMEDY}")
    try:
        baseline = Baseline(
            seconds=float(arrays["seconds"]),
            consecutive=int(arrays["consecutive"]),
            precision=str(arrays["precision"]),
            mean=arrays["mean"].astype(np.float64),
            spread=arrays["spread"].astype(np.float64),
            limit=arrays["limit"].astype(np.float64),
            edges_mean=arrays["edges_mean"].astype(np.float32),
            edges_spread=arrays["edges_spread"].astype(np.float32),
            features_mean=arrays["features_mean"].astype(np.float32),
            features_spread=arrays["features_spread"].astype(np.float32),
        )
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path}: holds no statistics of drift ({error}); {_REMEDY}") from None
    wrong = _wrong(baseline, bundle.manifest.features)
    if wrong:
        raise BundleError(f"{path}: {wrong}; {_REMEDY}")
    return baseline


def _wrong(baseline: Baseline, features: int) -> str | None:
    """What cannot be right in `baseline`, for a model with so many `features`."""
    signs = (len(SIGNS),)
    cells = baseline.edges_mean.shape
    shapes = {"mean": signs, "spread": signs, "limit": signs, "edges_spread": cells}
    shapes |= {"features_mean": (features,), "features_spread": (features,)}
    for name, shape in shapes.items():
        if getattr(baseline, name).shape != shape:
            return f"{name} has the shape {list(getattr(baseline, name).shape)}, not {list(shape)}"
    for name in ("mean", "edges_mean", "features_mean"):
        if not np.isfinite(getattr(baseline, name)).all():
            return f"{name} holds what is no number"
    for name in ("seconds", "consecutive", "spread", "limit", "edges_spread", "features_spread"):
        value = np.asarray(getattr(baseline, name))
        if not (np.isfinite(value).all() and (value > 0).all()):
            return f"{name} must be above 0"
    return None
