"""MP4 files that play in a browser."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError
from whycam.opencv_log import opencv_silent

Image = NDArray[np.uint8]


class Film:
    """An MP4 file, written frame by frame in a `with` statement, there whole or not at all.

    H.264 by the program `ffmpeg` where it is installed, which is fast; else by OpenCV, where its build can; else VP9
    by OpenCV, at some five frames of 480 lines a second on two cores. All three play in a browser.
    """

    def __init__(self, path: Path, fps: float) -> None:
        """A film at `path` with `fps` frames per second; the first frame sets its size."""
        self._path = path
        self._draft = path.with_name(f".{path.stem}.part.mp4")
        self._fps = fps
        self._encoder: _Encoder | None = None

    def __enter__(self) -> Film:
        return self

    def write(self, picture: Image, times: int = 1) -> None:
        """Add `picture`, uint8 [H, W, 3] BGR of even size, for `times` frames. Raises InputError where it cannot."""
        if self._encoder is None:
            height, width = picture.shape[:2]
            self._encoder = _open_encoder(self._draft, self._fps, width, height)
        for _ in range(times):
            self._encoder.write(picture)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._encoder is not None:
                self._encoder.close()
                if kind is None:
                    self._draft.replace(self._path)
        finally:
            self._draft.unlink(missing_ok=True)


class _Encoder(Protocol):
    def write(self, picture: Image) -> None: ...

    def close(self) -> None: ...


def _open_encoder(path: Path, fps: float, width: int, height: int) -> _Encoder:
    if _ffmpeg() is not None:
        return _FFmpeg(path, fps, width, height)
    return _OpenCV(path, fps, width, height)


@cache
def _ffmpeg() -> str | None:
    """The program `ffmpeg`, where it is there and encodes H.264."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    listing = subprocess.run(
        [program, "-hide_banner", "-v", "error", "-encoders"], capture_output=True, text=True, check=False
    )
    return program if "libx264" in listing.stdout else None


class _FFmpeg:
    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        program = _ffmpeg()
        assert program is not None
        self._path = path
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the encoder runs
        frames = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", f"{fps:.6f}", "-i", "pipe:0"]
        h264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23"]
        # What browsers ask for: 4:2:0, and the index before the pictures.
        playable = ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
        self._process = subprocess.Popen(
            [program, "-hide_banner", "-v", "error", "-y", *frames, *h264, *playable, f"file:{path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )

    def write(self, picture: Image) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(picture).data)
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        self._process.communicate()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        if self._process.returncode != 0:
            raise _unwritable(self._path, said[-1] if said else f"ffmpeg ended with status {self._process.returncode}")


class _OpenCV:
    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        self._path = path
        with opencv_silent():
            for codec in ("avc1", "vp09"):
                fourcc = cv2.VideoWriter.fourcc(*codec)
                self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, (width, height))
                if self._writer.isOpened():
                    return
        raise _unwritable(path, "this OpenCV encodes neither H.264 nor VP9; install the program ffmpeg")

    def write(self, picture: Image) -> None:
        self._writer.write(picture)

    def close(self) -> None:
        self._writer.release()


def _unwritable(path: Path, why: str) -> InputError:
    return InputError(f"{path.parent}: the video cannot be written there ({why})")
