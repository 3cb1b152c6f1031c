"""The value that a report is: what a person reads, and the figures behind it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Fact:
    """A figure worth seeing first."""

    value: str
    name: str


@dataclass(frozen=True)
class Table:
    """Rows of texts below the names of their columns; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture that the page carries within it."""

    address: str
    """`data:image/...;base64,...`"""
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the report: what it is about, then its tables and pictures."""

    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Report:
    """What one calibration found."""

    kind: str
    """`int8`, `fp16`, `thresholds`, ...: names its files, `calibration.KIND.html` and `.json`."""
    title: str
    lead: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    """All figures, as JSON takes them."""


def picture_of(figure: Figure, caption: str) -> Picture:
    """A matplotlib figure as a picture (PNG)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return Picture(_address("png", buffer.getvalue()), caption)


def picture_of_image(image: NDArray[np.uint8], caption: str) -> Picture:
    """An image uint8 [h, w, 3] BGR as a picture (JPEG)."""
    import cv2

    return Picture(_address("jpeg", cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()), caption)


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
