"""The colours that all pictures share."""

from __future__ import annotations

from collections.abc import Sequence

ALERT = "#d7263d"
INK = "#1b1f24"
PAPER = "#ffffff"
QUIET = "#8a929c"

# Okabe and Ito's, which colour-blind readers can tell apart, without the red that means alert.
SERIES = ("#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#009e73", "#f0e442")


def class_colours(classes: Sequence[str], normal: str) -> dict[str, str]:
    """A colour, `#rrggbb`, for each class; the normal one is quiet."""
    anomalies = [name for name in classes if name != normal]
    colours = {name: SERIES[index % len(SERIES)] for index, name in enumerate(anomalies)}
    return {name: colours.get(name, QUIET) for name in classes}


def bgr(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as OpenCV wants it."""
    return int(colour[5:7], 16), int(colour[3:5], 16), int(colour[1:3], 16)
