"""From a URI to frames."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from whycam.errors import SourceError
from whycam.sources.csi import open_csi
from whycam.sources.file import open_file
from whycam.sources.frame import Frame
from whycam.sources.images import open_images
from whycam.sources.network import open_network, without_credentials
from whycam.sources.v4l2 import open_v4l2

FORMS = (
    "a video file's path, file://PATH, images:FOLDER, rtsp://HOST/PATH, http://HOST/PATH (MJPEG), v4l2:/dev/video0 or "
    "csi://0"
)
LIVE = ("v4l2:", "csi://", "rtsp://", "rtsps://", "http://", "https://")


def open_source(uri: str | os.PathLike[str], timeout_seconds: float | None = None) -> Generator[Frame, None, None]:
    """The frames of a video file or a camera, in order, each with its time.

    `uri` is a path, `file://PATH` or `images:FOLDER?fps=10` (times in seconds from the start), or `rtsp://...`,
    `http://...` that sends MJPEG, `v4l2:/dev/video0` or `csi://0` (times in seconds since the epoch).

    `timeout_seconds` is how long a camera of the network, or one that GStreamer reads, may take to answer, or send
    nothing; 10 by default.

    Raises SourceError at once, not at the first frame, where the source cannot be opened or gives no frame; a live
    source raises it also when its frames stop. Raises MissingDependencyError without OpenCV.

    >>> for frame in open_source("fight.mp4"):  # doctest: +SKIP
    ...     print(frame.time, frame.image.shape)
    """
    if not isinstance(uri, str):
        return open_file(Path(uri))
    if uri.startswith("v4l2:"):
        return open_v4l2(uri.removeprefix("v4l2:").removeprefix("//"), timeout_seconds)
    if uri.startswith("images:"):
        return open_images(uri.removeprefix("images:"))
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme is None:
        if not uri:
            raise SourceError(f"no source named; give {FORMS}")
        return open_file(Path(uri))
    match scheme[1].lower():
        case "file":
            return open_file(Path(_path(uri)))
        case "rtsp" | "rtsps" | "http" | "https":
            return open_network(uri, timeout_seconds)
        case "csi":
            return open_csi(uri.partition("://")[2].strip("/"), timeout_seconds)
        case other:
            raise SourceError(f"{without_credentials(uri)}: no source of kind '{other}'; give {FORMS}")


def is_live(uri: str) -> bool:
    """Whether `uri` names a camera, whose frames have no end, and not a file."""
    return uri.lower().startswith(LIVE)


def in_folder(uri: str, folder: Path) -> str:
    """`uri` with a relative path of a file or folder taken from `folder`; other sources are left as they are."""
    if uri.startswith("images:"):
        path, mark, query = uri.removeprefix("images:").partition("?")
        return f"images:{folder / path}{mark}{query}"
    if is_live(uri) or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", uri):
        return uri
    return str(folder / uri)


def _path(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise SourceError(f"{uri}: not a file's address ({error}); give {FORMS}") from None
    if parts.netloc not in ("", "localhost"):
        raise SourceError(f"{uri}: names a file on another machine, '{parts.netloc}'; write file:///PATH")
    return unquote(parts.path)
