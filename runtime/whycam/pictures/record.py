"""The folder that `whycam score -o` leaves: decisions, an annotated film, a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.decision import Decision
from whycam.detect.sampling import COLD, Resampler
from whycam.errors import InputError
from whycam.libraries import MATPLOTLIB, needs
from whycam.pictures.annotate import annotate
from whycam.pictures.film import Film
from whycam.pictures.timeline import draw_timeline
from whycam.sources.frame import Frame

MOST_FPS = 30.0
_FALLBACK_FPS = 25.0
_LONGEST_HOLD = 3600.0
_FADE = 0.9
"""How the heat maps' scale falls from one alert decision to the next: a weaker map glows less, yet stays visible."""


class Record:
    """Collects a video's decisions in a `with` statement; writes the folder's three files at its end, each whole or not
    at all.

    `decisions.jsonl`, `annotated.mp4` and `timeline.png` are replaced where they exist; nothing else is touched.
    """

    def __init__(self, folder: Path, manifest: Manifest, title: str, fps: float | None) -> None:
        """A record in `folder`, made where it is missing, of a video called `title` with `fps` frames per second.

        Raises InputError where the folder cannot be made, MissingDependencyError without Matplotlib: now, not after
        hours of video.
        """
        with needs(MATPLOTLIB):
            import matplotlib  # noqa: F401 - the timeline will want it
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: the output folder cannot be made ({error.strerror})") from error
        self.paths = tuple(folder / name for name in ("decisions.jsonl", "annotated.mp4", "timeline.png"))
        self._manifest = manifest
        self._title = title
        fps = _FALLBACK_FPS if fps is None else fps / max(1, round(fps / MOST_FPS))
        self._film = Film(self.paths[1], fps)
        # Films have a constant rate, cameras need not: frames repeat or are left out, so that time stays true.
        self._shutter = Resampler(1 / fps, _LONGEST_HOLD)
        self._decisions: list[Decision] = []
        self._heatmap: NDArray[np.float32] | None = None
        self._peak = 0.0

    def __enter__(self) -> Record:
        return self

    def add(self, frame: Frame, decision: Decision | None, heatmap: NDArray[np.float32] | None) -> None:
        """Take the next frame, the decision that it brought, if any, and, at an alert, its heat map [h, w]."""
        if decision is not None:
            self._decisions.append(decision)
            self._heatmap = heatmap
            self._peak = 0.0 if heatmap is None else max(float(heatmap.max()), _FADE * self._peak)
        slots = self._shutter.push(frame.time)
        if slots == 0:
            return
        newest = self._decisions[-1] if self._decisions else None
        heat = None if self._heatmap is None or self._peak <= 0 else (self._heatmap, self._peak)
        picture = annotate(frame.image, frame.time, newest, self._manifest, heat)
        self._film.write(picture, 1 if slots == COLD else slots)

    def __exit__(
        self, kind: type[BaseException] | None, reason: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._film.__exit__(kind, reason, trace)
        if kind is not None:
            return
        lines, _, timeline = self.paths
        try:
            with _draft_of(lines) as draft:
                text = "".join(f"{decision.json()}\n" for decision in self._decisions)
                draft.write_text(text, encoding="utf-8")
            with _draft_of(timeline) as draft:
                draw_timeline(self._decisions, self._manifest, self._title, draft)
        except OSError as error:
            raise InputError(f"{lines.parent}: cannot be written ({error.strerror})") from error


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
