"""Folders of pictures, one frame each."""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from whycam.errors import SourceError
from whycam.libraries import OPENCV, needs
from whycam.sources.frame import Frame

DEFAULT_FPS = 10.0
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def open_images(what: str) -> Generator[Frame, None, None]:
    """The pictures of a folder as frames; `what` is `FOLDER` or `FOLDER?fps=10`.

    Their order is that of their names, numbers in them by value: `9.jpg` before `10.jpg`. The times are in seconds,
    from 0, one frame period apart. Other files in the folder are left out.

    Raises SourceError at once where there is no such folder, no picture in it, or the first cannot be decoded, and
    later at another that cannot.
    """
    # The last one: a folder's name may hold a question mark too.
    folder, mark, query = what.rpartition("?")
    path, fps = Path(folder if mark else what), _fps(query) if mark else DEFAULT_FPS
    try:
        names = [one for one in path.iterdir() if one.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise SourceError(f"images:{path}: not a folder that can be read ({error.strerror})") from error
    if not names:
        raise SourceError(f"images:{path}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    with needs(OPENCV):
        import cv2  # noqa: F401 - a missing library is to be told now
    names.sort(key=lambda one: _by_number(one.name))
    return _frames(names, _picture(names[0]), fps)


def _frames(names: list[Path], first: NDArray[np.uint8], fps: float) -> Generator[Frame, None, None]:
    yield Frame(first, 0.0)
    for number, name in enumerate(names[1:], start=1):
        yield Frame(_picture(name), number / fps)


def _picture(path: Path) -> NDArray[np.uint8]:
    import cv2

    try:
        # Read by Python: OpenCV says nothing of what is wrong with a file.
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(f"{path}: not a picture that can be decoded; take it out of the folder, or make it anew")
    return np.asarray(image, dtype=np.uint8)


def _fps(query: str) -> float:
    try:
        ((key, value),) = parse_qsl(query, strict_parsing=True)
        fps = float(value)
    except ValueError:
        key, fps = "", math.nan
    if key != "fps" or not (math.isfinite(fps) and fps > 0):
        raise SourceError(f"images:...?{query}: after the question mark stands only the frame rate, such as fps=10")
    return fps


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
