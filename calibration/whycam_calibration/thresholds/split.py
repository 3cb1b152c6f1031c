"""A contiguous part of the normal footage that is not used to choose, and so can check what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from whycam_calibration.thresholds.timeline import Timeline


@dataclass(frozen=True)
class Parts:
    """The normal footage in two; no moment of it is in both."""

    choose: tuple[Timeline, ...]
    check: tuple[Timeline, ...]


def hold_back(normal: Sequence[Timeline], share: float, window: int) -> Parts:
    """Hold back the last `share` of the normal footage, and of the normal clips: whole sources where they allow it.

    They allow it where a boundary between sources gives from half of `share` to half as much again. Else a video is cut
    in time, and the decisions of a whole `window` after the cut belong to neither part: they look at frames before it.
    """
    choose: list[Timeline] = []
    check: list[Timeline] = []
    for kind in (False, True):
        ordered = sorted((one for one in normal if one.clip == kind), key=lambda one: (one.source, one.name))
        first, second = _split(ordered, share, window, in_time=not kind)
        choose += first
        check += second
    choose, check = [[one for one in part if one.warm.any()] for part in (choose, check)]
    # Too little to divide: choosing comes first.
    return Parts(tuple(choose), tuple(check)) if choose else Parts(tuple(check), ())


def _split(
    ordered: Sequence[Timeline], share: float, window: int, *, in_time: bool
) -> tuple[list[Timeline], list[Timeline]]:
    total = sum(one.hours for one in ordered)
    if not total:
        return list(ordered), []
    sources = [len(list(group)) for _, group in groupby(ordered, key=lambda one: one.source)]
    done = np.cumsum([one.hours for one in ordered]) / total
    ends = np.cumsum(sources)[:-1]
    best = min(ends, key=lambda end: abs(1 - done[end - 1] - share), default=None)
    if best is not None and abs(1 - done[best - 1] - share) <= share / 2:
        return list(ordered[:best]), list(ordered[best:])
    if not in_time:
        # Clips are too short to be cut: of one source, whole clips.
        cut = int(np.argmin(np.abs(1 - done[:-1] - share))) + 1 if len(ordered) > 1 else len(ordered)
        return list(ordered[:cut]), list(ordered[cut:])
    place = int(np.searchsorted(done, 1 - share))
    before = float(done[place - 1]) if place else 0.0
    one = ordered[place]
    inside = (1 - share - before) / (float(done[place]) - before)
    cut = round(inside * len(one.times))
    first, second = one.part(0, cut), one.part(cut + window, len(one.times))
    return [*ordered[:place], first], [second, *ordered[place + 1 :]]
