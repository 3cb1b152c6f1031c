"""The detector over a clip, as a camera would deliver it: decisions, and an explanation of every alert."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import whycam
from whycam import Decision, Explanation, Frame
from whycam.default_methods import METHOD
from whycam.detect.decision import alerting
from whycam.explain.target import contrast
from whycam.pictures.figure import draw_explanation
from whycam.pictures.record import Record
from whycam_export.demo.footage import Truth, read_truth

VERSUS = "normal"

OTHER_WAYS: tuple[tuple[str, str | None], ...] = (("grad-cam", None), (METHOD, None))
"""Methods and contrasts that are measured beside, on the same windows: the paper's, and ours without the contrast."""

_OUTLINE = (120, 255, 60)
_WHY_WIDTH = 320


@dataclass(frozen=True)
class Reason:
    """An alert's explanation: the score at that time, whether it is the first of its episode, and `OTHER_WAYS`'."""

    explanation: Explanation
    score: float
    raised: bool
    others: tuple[Explanation, ...]


@dataclass(frozen=True)
class Watched:
    """What the detector made of a clip; `folder` holds the files that `watch` wrote."""

    name: str
    clip: Path
    folder: Path
    truth: Truth
    decisions: tuple[Decision, ...]
    reasons: tuple[Reason, ...]
    filmed: bool


def watch(bundle: Path, clip: Path, folder: Path, filmed: bool = True) -> Watched:
    """Run the detector of `bundle` over `clip` and explain its alerts.

    Each is explained when it is raised or changes its class, and then once per window for as long as it lasts, so that
    no frame of an episode is explained twice.

    Writes into `folder` what `whycam score -o` writes (`filmed`: the annotated video needs time), the explanations as
    `heatmaps.npz`, and `why.png`, the explanation at the end of the first window after the alert was raised.
    """
    truth = read_truth(clip)
    detector = whycam.load(bundle)
    manifest = detector.manifest
    decisions: list[Decision] = []
    reasons: list[Reason] = []
    pictures: dict[float, NDArray[np.uint8]] = {}
    alerted: str | None = None
    since = 0
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as exits:
        record = None
        if filmed:
            fps = 1 / float(np.median(np.diff(truth.times)))
            record = exits.enter_context(Record(folder, manifest, clip.stem, fps))
        for frame in whycam.open_source(clip):
            pictures[frame.time] = frame.image
            decision = detector.push(frame.image, frame.time)
            heat = None
            if decision is not None:
                decisions.append(decision)
                label = alerting(decision.scores, manifest.thresholds)[0] if decision.alert else None
                since += 1
                if label is not None:
                    versus = contrast(manifest, label, VERSUS)
                    raised = label != alerted
                    if raised or since == manifest.window.frames:
                        since = 0
                        why = detector.explain(METHOD, label, versus)
                        others = tuple(detector.explain(method, label, other) for method, other in OTHER_WAYS)
                        reasons.append(Reason(why, decision.scores[label], raised, others))
                    if record is not None:
                        newest = detector.explain(METHOD, label, versus, frames=[-1], time="relevance")
                        heat = newest.heatmaps[-1]
                alerted = label
            if record is not None:
                record.add(Frame(frame.image, frame.time), decision, heat)
    if record is None:
        lines = "".join(f"{decision.json()}\n" for decision in decisions)
        (folder / "decisions.jsonl").write_text(lines, encoding="utf-8")
    if reasons:
        _save(reasons, folder / "heatmaps.npz")
        # An alert is raised while its window still reaches back before the event: the next window shows more of it.
        shown = reasons[min(1, len(reasons) - 1)]
        _draw(shown, truth, pictures, folder / "why.png")
    return Watched(clip.stem, clip, folder, truth, tuple(decisions), tuple(reasons), filmed)


def _save(reasons: list[Reason], path: Path) -> None:
    """All explanations of a clip: the arrays' first axis counts them."""
    np.savez_compressed(
        path,
        heatmaps=np.stack([reason.explanation.heatmaps for reason in reasons]),
        relevance=np.stack([reason.explanation.relevance for reason in reasons]),
        times=np.stack([reason.explanation.times for reason in reasons]),
        labels=np.array([reason.explanation.label for reason in reasons]),
        raised=np.array([reason.raised for reason in reasons]),
        method=np.array(METHOD),
        versus=np.array(VERSUS),
    )


def _draw(reason: Reason, truth: Truth, pictures: dict[float, NDArray[np.uint8]], path: Path) -> None:
    times = np.array(list(pictures))
    frames = []
    for time in reason.explanation.times:
        picture = pictures[float(times[np.abs(times - time).argmin()])]
        frames.append(_outlined(picture, truth.mask_at(float(time))))
    draw_explanation(replace(reason.explanation, pictures=frames), reason.score, path, frames)


def _outlined(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture, enlarged, with the outline of the true mask."""
    size = (_WHY_WIDTH, round(_WHY_WIDTH * picture.shape[0] / picture.shape[1]))
    large = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    shape = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR) > 127
    lines, _ = cv2.findContours(shape.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(large, lines, -1, _OUTLINE, 2, cv2.LINE_AA)
    return large
