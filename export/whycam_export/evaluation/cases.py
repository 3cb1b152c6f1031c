"""The windows that explanations are measured on: rightly decided, and showing the anomaly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam_export.evaluation.footage import Footage
from whycam_export.evaluation.network import Floats, Images, Network
from whycam_export.evaluation.truth import Truth

_BATCH = 64
"""Windows in one run of the head."""

PLACES = ("start", "middle", "end")
"""Where in the window an event is moved to."""


@dataclass(frozen=True, eq=False)
class Case:
    """A window to explain."""

    clip: str
    label: str
    """The class that the window shows, and that was decided."""
    images: Images
    """[T, H, W, 3] BGR at the model's size."""
    times: NDArray[np.float64]
    """[T], seconds of the clip."""
    features: Floats
    """[T, F]."""
    inside: NDArray[np.bool_] | None
    """[T], which frames the anomaly lasts at; None where that is unknown."""
    masks: NDArray[np.bool_] | None
    """[T, h, w], where it is; None where that is unknown."""
    before: Images
    """[n, H, W, 3], what the camera showed before the window, as far as it is kept."""


@dataclass(frozen=True)
class ClipCases:
    """What a clip gives to measure on."""

    shown: tuple[Case, ...] = ()
    """The anomaly lasts through the newer half of the window at least."""
    mixed: tuple[Case, ...] = ()
    """Frames with and without the anomaly in one window."""
    moved: tuple[Case, ...] = ()
    """The same few frames of the event at each of `PLACES` of an otherwise calm window; empty or one of each."""


def choose_cases(
    clip: str, label: str, footage: Footage, truth: Truth | None, network: Network, count: int, memory: int = 0
) -> ClipCases:
    """At most `count` windows of each kind, evenly spread over those of the clip that the model labels rightly.

    Each keeps up to `memory` frames of what came before it. Without `truth` every window so labelled counts as showing
    the anomaly.
    """
    frames = network.model.manifest.window.frames
    features = network.features(footage.images)
    masks = None if truth is None else truth.masks_at(footage.times)
    inside = None if truth is None else truth.inside(footage.times)

    def case(slots: NDArray[np.int64]) -> Case:
        return Case(
            clip,
            label,
            footage.images[slots],
            footage.times[slots],
            features[slots],
            None if inside is None else inside[slots],
            None if masks is None else masks[slots],
            footage.images[max(0, slots.min() - memory) : slots.min()],
        )

    windows = np.arange(len(features) - frames + 1)[:, None] + np.arange(frames)
    windows = windows[_labels(features, windows, network) == network.classes.index(label)]
    if inside is None:
        return ClipCases(tuple(case(window) for window in spread(windows, count)))
    shows = inside[windows]
    shown = spread(windows[shows[:, frames // 2 :].all(axis=1)], count)
    mixed = spread(windows[shows.any(axis=1) & ~shows.all(axis=1)], count)
    moved = move_event(inside, shown[0], frames) if len(shown) else []
    kinds = (tuple(case(window) for window in kind) for kind in (shown, mixed, moved))
    return ClipCases(*kinds)


def spread(windows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of `windows` [n, ...]: the middle one of each of `count` equal parts."""
    taken = min(count, len(windows))
    return windows[((np.arange(taken) + 0.5) * len(windows) / max(taken, 1)).astype(np.int64)]


def move_event(inside: NDArray[np.bool_], shown: NDArray[np.int64], frames: int) -> list[NDArray[np.int64]]:
    """The slots [T] of a window for each of `PLACES`: a third of it the event, the rest the calm right before it.

    The event's frames are the newest of the window `shown` [T]; `inside` [n] says at which slots it lasts. Empty where
    the clip has not as many calm frames before its first event.
    """
    length = max(1, frames // 3)
    onset = int(inside.argmax())
    if onset < frames - length:
        return []
    event, calm = shown[-length:], np.arange(onset - (frames - length), onset)
    starts = (0, (frames - length) // 2, frames - length)
    return [np.concatenate([calm[:start], event, calm[start:]]) for start in starts]


def _labels(features: Floats, windows: NDArray[np.int64], network: Network) -> NDArray[np.int64]:
    """The class [n] with the highest score of each window [n, T] of slots."""
    parts = [
        network.scores(features[windows[start : start + _BATCH]]).argmax(axis=1)
        for start in range(0, len(windows), _BATCH)
    ]
    return np.concatenate(parts)
