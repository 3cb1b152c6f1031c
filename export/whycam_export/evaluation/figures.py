"""The figures that are measured: what each means, and how they are gathered."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

Better = Literal["high", "low", "neither"]


@dataclass(frozen=True)
class Meaning:
    """What a figure says."""

    title: str
    better: Better
    text: str


WHERE: dict[str, Meaning] = {
    "pointing": Meaning("peak in", "high", "part of the frames whose hottest point lies inside the anomaly's mask"),
    "energy": Meaning("heat in", "high", "part of a frame's heat that lies inside the mask"),
    "deletion": Meaning("del.", "low", "deletion: area under the score as the hottest pixels are blurred"),
    "insertion": Meaning(
        "ins.", "high", "insertion: area under the score as the hottest pixels appear on the blurred window"
    ),
    "difference": Meaning("ins - del", "high", "insertion minus deletion"),
    "peak_jump": Meaning("jump", "low", "how far the peak moves from frame to frame, in parts of the diagonal"),
    "centre_jump": Meaning("mass jump", "low", "how far the centre of the heat moves, in parts of the diagonal"),
    "correlation_all": Meaning(
        "sanity", "neither", "rank correlation with the maps of the same network with all its weights shuffled"
    ),
    "ms": Meaning("ms", "low", "milliseconds for the explanation of a window"),
    "ms_top": Meaning("ms, top 3", "low", "milliseconds for the explanation of the three most relevant frames"),
    "frames": Meaning("cost", "low", "the cost of a window in frames: runs of the CNN on one image"),
    "frames_top": Meaning("cost, top 3", "low", "the cost of the three most relevant frames, in frames"),
}
"""Of a method that says where."""

WHEN: dict[str, Meaning] = {
    "auc": Meaning("AUC", "high", "chance that a frame of the anomaly is more relevant than one before or after it"),
    "deletion": Meaning("del.", "low", "deletion: area under the score as the most relevant frames are replaced"),
    "insertion": Meaning("ins.", "high", "insertion: area under the score as the most relevant frames alone are kept"),
    "difference": Meaning("ins - del", "high", "insertion minus deletion"),
    "auc_start": Meaning("AUC at start", "high", "AUC with the event moved to the start of a calm window"),
    "auc_middle": Meaning("AUC mid", "high", "AUC with the event moved to the middle"),
    "auc_end": Meaning("AUC at end", "high", "AUC with the event moved to the end"),
    "auc_bias": Meaning("AUC bias", "neither", "AUC with the event at the end minus AUC with it at the start"),
    "share_start": Meaning("share at start", "high", "part of the relevance on the event moved to the start"),
    "share_middle": Meaning("share mid", "high", "part of the relevance on the event moved to the middle"),
    "share_end": Meaning("share at end", "high", "part of the relevance on the event moved to the end"),
    "share_bias": Meaning("share bias", "neither", "share with the event at the end minus share with it at the start"),
}
"""Of a method that says when."""

CONTEXT: dict[str, Meaning] = {
    "chance": Meaning("chance", "neither", "the mask's part of the frame: peak and heat inside it by chance"),
    "mask_jump": Meaning("mask jump", "neither", "how far the centre of the true mask moves from frame to frame"),
    "score": Meaning("score", "neither", "the class's score of the window as it is"),
    "score_blurred": Meaning("score, blurred", "neither", "the class's score of the window blurred as a whole"),
    "score_start": Meaning("score at start", "neither", "the class's score with the event moved to the window's start"),
    "score_middle": Meaning("score in the middle", "neither", "the same in the middle"),
    "score_end": Meaning("score at end", "neither", "the same at the end"),
    "share_chance": Meaning("share by chance", "neither", "the moved event's part of the window"),
    "frame_ms": Meaning("ms of a frame", "neither", "milliseconds of the CNN on one image"),
}
"""Of the windows, whatever the method."""


@dataclass(frozen=True)
class Figure:
    """A mean, and how many values it is of."""

    value: float
    n: int


class Tally:
    """Values as they are measured, by figure; what is not a number counts as not measured."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, **values: float) -> None:
        """One more value of each figure named."""
        for name, value in values.items():
            if not math.isnan(value):
                self._values[name].append(float(value))

    def figures(self) -> dict[str, Figure]:
        """The mean of each figure that has a value."""
        return {name: Figure(math.fsum(each) / len(each), len(each)) for name, each in self._values.items()}
