"""Evidence: a folder for each alert, kept on the device within bounds of age and bytes."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whycam.config.models import Evidence
from whycam.errors import WhycamError
from whycam.explain.overlay import overlay
from whycam.libraries import OPENCV, needs
from whycam.pictures.film import Film

log = logging.getLogger(__name__)

_DRAFT = ".draft-"
_FIRST_DATE = 1577836800.0
"""2020-01-01: a clock that shows less was not set."""
_STRIP_FRAMES = 5
_STRIP_HEIGHT = 224


class EvidenceStore:
    """Writes `DIRECTORY/CAMERA/DATE/ALERT/` with `alert.json` (all its messages), `heatmap.jpg` and `clip.mp4`.

    No fault of the disk is raised: an alert goes out with or without evidence. `problem` says why the last was not
    kept.
    """

    def __init__(self, directory: Path, settings: Evidence) -> None:
        """The store in `directory`; what a killed process left half-written there is removed."""
        self._directory = directory
        self._settings = settings
        self.problem: str | None = None
        self._clipless = False
        with suppress(OSError):
            for draft in directory.glob(f"*/*/{_DRAFT}*"):
                shutil.rmtree(draft, ignore_errors=True)

    def path_of(self, camera: str, alert: str, onset: float) -> Path:
        """Where the evidence of an alert is, or will be; `onset` in seconds since the epoch."""
        date = datetime.fromtimestamp(onset, timezone.utc).strftime("%Y-%m-%d")
        return self._directory / camera / date / alert

    def write(
        self, folder: Path, alert: dict[str, Any], heatmap: bytes | None, clip: Sequence[tuple[float, bytes]]
    ) -> Path | None:
        """Keep a message of an alert in `folder`, with a JPEG of its heat maps and a clip where there are some.

        A later message of the same alert is added to those before. None where it could not be kept.
        """
        try:
            if shutil.disk_usage(_existing(folder)).free < self._settings.min_free_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._write(folder, alert, heatmap, clip)
        except (OSError, WhycamError) as error:
            problem = "disk full" if isinstance(error, OSError) and error.errno in _FULL else "disk fails"
            if problem != self.problem:
                log.error("%s: alerts go without evidence: %s", folder, error)
            self.problem = problem
            return None
        if self.problem is not None:
            log.warning("%s: evidence is kept again", folder)
            self.problem = None
        return folder

    def _write(
        self, folder: Path, alert: dict[str, Any], heatmap: bytes | None, clip: Sequence[tuple[float, bytes]]
    ) -> None:
        messages = []
        if (folder / "alert.json").exists():
            try:
                messages = json.loads((folder / "alert.json").read_text(encoding="utf-8"))["messages"]
            except (ValueError, KeyError, TypeError):
                log.error("%s: damaged, begun anew", folder / "alert.json")
        messages = [*messages, alert]
        if len(messages) > _MOST_MESSAGES:
            # An episode of days is told by its beginning and what came last.
            messages = [*messages[:8], *messages[8 - _MOST_MESSAGES :]]
        draft = folder.with_name(f"{_DRAFT}{folder.name}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            text = json.dumps({"messages": messages}, indent=2, ensure_ascii=False) + "\n"
            _write_through(draft / "alert.json", text.encode())
            if heatmap is not None:
                _write_through(draft / "heatmap.jpg", heatmap)
            if clip and not (folder / "clip.mp4").exists():
                self._film(draft / "clip.mp4", clip)
            if folder.exists():
                for part in draft.iterdir():
                    part.replace(folder / part.name)
            else:
                draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _film(self, path: Path, clip: Sequence[tuple[float, bytes]]) -> None:
        """Write the clip, or leave it out: without a video encoder there is still something to keep."""
        try:
            write_clip(path, clip)
        except WhycamError as error:
            path.unlink(missing_ok=True)
            if not self._clipless:
                log.error("%s: evidence goes without clips: %s", path.parent, error)
            self._clipless = True
        else:
            self._clipless = False

    def retention(self) -> int:
        """Delete what is too old, then the oldest until the rest keeps to its bytes; how many alerts' were deleted."""
        try:
            return self._retain()
        except OSError as error:
            log.error("%s: cannot be read, nothing is deleted (%s)", self._directory, error)
            return 0

    def _retain(self) -> int:
        kept: list[tuple[float, int, Path]] = []
        deleted = 0
        oldest = time.time() - self._settings.max_age_days * 86400
        for folder in self._directory.glob("*/*/*"):
            try:
                made, size = folder.stat().st_mtime, sum(part.stat().st_size for part in folder.iterdir())
            except OSError:
                continue
            # Made before the device knew the date: its age is unknown.
            if _FIRST_DATE < made < oldest:
                deleted += _delete(folder)
            else:
                kept.append((made, size, folder))
        total = sum(size for _, size, _ in kept)
        for _, size, folder in sorted(kept):
            if total <= self._settings.max_bytes:
                break
            total -= size
            deleted += _delete(folder)
        return deleted


_MOST_MESSAGES = 64
_FULL = (errno.ENOSPC, errno.EDQUOT)


def strip(
    frames: NDArray[np.uint8], heatmaps: NDArray[np.float32], relevance: NDArray[np.float32], times: NDArray[np.float64]
) -> bytes:
    """JPEG of the most relevant frames, in order, each above itself under its heat map, with its time and share.

    `frames` uint8 [T, H, W, 3], `heatmaps` f32 [T, h, w] on one scale, `relevance` f32 [T], `times` f64 [T], seconds.
    """
    with needs(OPENCV):
        import cv2
    chosen = sorted(sorted(range(len(frames)), key=lambda index: -relevance[index])[:_STRIP_FRAMES])
    peak = float(heatmaps.max())
    columns = []
    for index in chosen:
        height, width = frames[index].shape[:2]
        size = (max(1, round(width * _STRIP_HEIGHT / height)), _STRIP_HEIGHT)
        plain = np.asarray(cv2.resize(frames[index], size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        caption = np.full((24, size[0], 3), 255, dtype=np.uint8)
        text = f"{times[index] - times[-1]:+.1f} s  {relevance[index]:.0%}"
        cv2.putText(caption, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
        columns.append(np.vstack([plain, overlay(plain, heatmaps[index], peak if peak > 0 else None), caption]))
    done, jpeg = cv2.imencode(".jpg", np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise OSError(errno.EIO, "OpenCV cannot encode JPEG")
    return bytes(jpeg)


def write_clip(path: Path, clip: Sequence[tuple[float, bytes]]) -> None:
    """Write JPEG pictures with their times (seconds) as a film of the same pace."""
    with needs(OPENCV):
        import cv2
    span = clip[-1][0] - clip[0][0]
    fps = min(30.0, max(1.0, (len(clip) - 1) / span)) if span > 0 else 10.0
    with Film(path, fps) as film:
        shown = 0
        for moment, jpeg in clip:
            picture = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                continue
            due = round((moment - clip[0][0]) * fps) + 1
            if due > shown:
                film.write(np.asarray(picture, dtype=np.uint8), due - shown)
                shown = due


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _delete(folder: Path) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    for parent in (folder.parent, folder.parent.parent):
        try:
            parent.rmdir()
        except OSError:  # noqa: PERF203 - it holds other evidence
            break
    return 1
