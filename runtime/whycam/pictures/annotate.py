"""A frame with what the model says of it: heat map, label, and a score bar for each class in a panel below."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.decision import Decision, alerting
from whycam.explain.overlay import overlay
from whycam.pictures.palette import ALERT, bgr, class_colours

MIN_HEIGHT = 480
"""Smaller videos are enlarged to this height, so that the writing stays readable."""
MIN_WIDTH = 480

_FONT = cv2.FONT_HERSHEY_DUPLEX
_PANEL = (36, 31, 27)
_TROUGH = (74, 66, 60)
_TEXT = (240, 240, 240)
_FAINT = (168, 160, 150)

Image = NDArray[np.uint8]
Heat = tuple[NDArray[np.float32], float]
"""A heat map [h, w], and the value that glows fully."""


def annotate(
    frame: Image, time: float, decision: Decision | None, manifest: Manifest, heat: Heat | None = None
) -> Image:
    """`frame`, uint8 [H, W, 3] BGR, enlarged where small, with a panel that shows `decision`, the last one taken.

    Width and height of the picture are even, as video codecs want them, and depend only on the frame's size and the
    number of classes.
    """
    picture = _enlarged(frame)
    if heat is not None:
        picture = overlay(picture, *heat)
    width = picture.shape[1]
    unit = max(1.0, picture.shape[0] / 480)
    raised = alerting(decision.scores, manifest.thresholds) if decision is not None else []
    if raised:
        _frame_in_red(picture, unit)
    panel = _panel(width, unit, time, decision, manifest, raised)
    return np.asarray(np.vstack([picture, panel]), dtype=np.uint8)


def _enlarged(frame: Image) -> Image:
    height, width = frame.shape[:2]
    scale = max(1.0, MIN_HEIGHT / height, MIN_WIDTH / width)
    size = (_even(width * scale), _even(height * scale))
    if size == (width, height):
        return np.array(frame)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _frame_in_red(picture: Image, unit: float) -> None:
    thickness = round(5 * unit)
    height, width = picture.shape[:2]
    half = thickness // 2
    cv2.rectangle(picture, (half, half), (width - 1 - half, height - 1 - half), bgr(ALERT), thickness)


def _panel(
    width: int, unit: float, time: float, decision: Decision | None, manifest: Manifest, raised: list[str]
) -> Image:
    row, margin = round(24 * unit), round(12 * unit)
    rows = max(len(manifest.classes), 2)
    panel: Image = np.full((_even(rows * row + 2 * margin), width, 3), _PANEL, dtype=np.uint8)

    left = round(width * 0.36)
    headline, colour = _headline(decision, manifest, raised)
    if raised:
        panel[:, : left - margin] = bgr(ALERT)
    room = left - 3 * margin
    _write(panel, headline, (margin, margin + round(17 * unit)), 0.72 * unit, colour, room)
    below = f"{_clock(time)}   {manifest.name}"
    _write(panel, below, (margin, margin + round((17 + 24) * unit)), 0.5 * unit, _TEXT if raised else _FAINT, room)

    colours = class_colours(manifest.classes, manifest.normal)
    names = left + round(width * 0.17)
    right = width - margin - round(46 * unit)
    for index, name in enumerate(manifest.classes):
        top = margin + index * row
        middle, half = top + row // 2, max(3, round(6 * unit))
        baseline = middle + round(5 * unit)
        _write(panel, name, (left, baseline), 0.5 * unit, _TEXT, names - left - margin)
        cv2.rectangle(panel, (names, middle - half), (right, middle + half), _TROUGH, cv2.FILLED)
        if decision is not None and decision.warm:
            score = decision.scores[name]
            end = names + round((right - names) * score)
            cv2.rectangle(panel, (names, middle - half), (end, middle + half), bgr(colours[name]), cv2.FILLED)
            _write(panel, f"{score:.2f}", (right + round(8 * unit), baseline), 0.5 * unit, _TEXT, width)
        if name in manifest.thresholds:
            tick = names + round((right - names) * manifest.thresholds[name])
            cv2.line(panel, (tick, middle - half - 3), (tick, middle + half + 3), _TEXT, max(1, round(1.5 * unit)))
    return panel


def _headline(decision: Decision | None, manifest: Manifest, raised: list[str]) -> tuple[str, tuple[int, int, int]]:
    if raised:
        return f"ALERT: {raised[0]}", (255, 255, 255)
    if decision is None or decision.label is None:
        return "warming up", _FAINT
    return decision.label, bgr(class_colours(manifest.classes, manifest.normal)[decision.label])


def _write(
    panel: Image, text: str, origin: tuple[int, int], scale: float, colour: tuple[int, int, int], room: int
) -> None:
    # OpenCV's stroke fonts hold ASCII only.
    text = text.encode("ascii", "replace").decode("ascii")
    thickness = 1 if scale < 1 else round(scale)
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    if width > room > 0:
        scale *= room / width
    cv2.putText(panel, text, origin, _FONT, scale, colour, thickness, cv2.LINE_AA)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(seconds, 0.0), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _even(size: float) -> int:
    return max(2, 2 * round(size / 2))
