"""The golden window of a bundle: frames, and what they gave where the bundle was made."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from whycam.bundle import Bundle
from whycam.errors import BundleError

GOLDEN = "golden.npz"
_NO_HEATMAPS = (0, 0, 0)
_MOST_LABEL_BYTES = 1024


@dataclass(frozen=True, eq=False)
class Golden:
    """What one precision gave for the golden window."""

    file: str
    scores: NDArray[np.float32]
    """[K], the softmax of the logits divided by `temperature`."""
    temperature: float
    heatmaps: NDArray[np.float32] | None
    """[T, h, w]: Grad-CAM of the logit of `label`, as it is; None where the bundle did not explain."""
    label: str


def read_frames(bundle: Bundle) -> NDArray[np.uint8]:
    """The frames of the golden window, uint8 [T, H, W, 3] BGR.

    Raises BundleError where the bundle has none, or they are damaged or of another shape than its manifest's.
    """
    manifest = bundle.manifest
    shape = (manifest.window.frames, manifest.input.height, manifest.input.width, 3)
    frames: NDArray[np.uint8] = _read(bundle, GOLDEN, {"frames": (np.uint8, (shape,))})["frames"]
    return frames


def read_golden(bundle: Bundle, precision: str) -> Golden:
    """What `precision`, one of the manifest's own names, gave; Keras for fp32, and where there is nothing better.

    Raises BundleError where it is missing, damaged, or of another shape than its manifest's.
    """
    manifest = bundle.manifest
    calibrated = manifest.calibrated.get(precision)
    file = GOLDEN if calibrated is None else calibrated.golden
    layer = manifest.cams[0]
    heatmaps = (manifest.window.frames, layer.height, layer.width)
    wanted: dict[str, Any] = {
        "scores": (np.float32, ((len(manifest.classes),),)),
        "heatmaps": (np.float32, (heatmaps, _NO_HEATMAPS)),
        "label": (np.str_, ((),)),
    }
    read = _read(bundle, file, wanted, temperature=(np.float64, ((),)))
    label = str(read["label"])
    if label not in manifest.classes:
        raise _damaged(bundle.path / file, f"label '{label[:64]}' is none of the classes")
    return Golden(
        file,
        read["scores"],
        float(read["temperature"]) if "temperature" in read else 1.0,
        read["heatmaps"] if read["heatmaps"].size else None,
        label,
    )


Wanted = Mapping[str, "tuple[type[np.generic], tuple[tuple[int, ...], ...]]"]
"""By name: the type of an array, and the shapes that it may have."""


def _read(bundle: Bundle, file: str, wanted: Wanted, **optional: Any) -> dict[str, NDArray[Any]]:
    """The arrays of `file`; none is read whose own header does not say that it is as it should be."""
    if file not in bundle.manifest.files:
        raise BundleError(
            f"{bundle.path}: has no {file}, so that nothing tells whether it computes here what it should; "
            "export the model again"
        )
    path = bundle.file(file)
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            asked = {name: what for name, what in {**wanted, **optional}.items() if f"{name}.npy" in names}
            missing = sorted(set(wanted) - set(asked))
            if missing:
                raise _damaged(path, f"it lacks {', '.join(missing)}")
            return {name: _array(archive, name, *what, path=path) for name, what in asked.items()}
    except BundleError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise much on bytes that somebody has made up
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _array(
    archive: zipfile.ZipFile, name: str, kind: type[np.generic], shapes: tuple[tuple[int, ...], ...], *, path: Path
) -> NDArray[Any]:
    # The header first: memory is taken for what it announces.
    with archive.open(f"{name}.npy") as member:
        version = npy.read_magic(member)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(member)
    text = kind is np.str_ and dtype.kind == "U" and dtype.itemsize <= _MOST_LABEL_BYTES
    if shape not in shapes or not (text or dtype == np.dtype(kind)):
        raise _damaged(path, f"'{name}' is {dtype} {list(shape)}, not {np.dtype(kind)} {list(shapes[0])}")
    with archive.open(f"{name}.npy") as member:
        found: NDArray[Any] = npy.read_array(member, allow_pickle=False)
    return found


def _damaged(path: Path, how: str) -> BundleError:
    return BundleError(f"{path}: is no golden window of this bundle ({' '.join(how.split())}); export the model again")
