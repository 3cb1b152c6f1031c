"""The value that each scored frame yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """What the model says of the window that ends with a frame."""

    time: float
    """Seconds, of the window's last frame, on the clock of the frames pushed."""
    scores: dict[str, float]
    """Score of each class, 0 to 1; NaN while the window is cold."""
    label: str | None
    """The class with the highest score; None while the window is cold."""
    warm: bool
    """Whether the window is full and without gaps."""
    alert: bool
    """Whether an anomalous class has reached its threshold; never while the window is cold."""
