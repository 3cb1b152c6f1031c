"""The whole of it: videos in, a bundle with statistics and a report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whycam.bundle import Bundle, check_writable, reopened, revise
from whycam.detect import Model
from whycam.drift.baseline import FILE
from whycam_calibration.drift.check import Held, hold_back
from whycam_calibration.drift.fit import Fit, fit
from whycam_calibration.drift.gather import (
    LEAST_BLOCKS,
    LEAST_SECONDS,
    Footage,
    Prepare,
    Track,
    announced_seconds,
    block_seconds,
    gather,
)
from whycam_calibration.drift.page import report_of
from whycam_calibration.errors import CalibrationError
from whycam_calibration.report import Report
from whycam_calibration.report.stored import report_files


@dataclass(frozen=True, eq=False)
class Found:
    """What calibration found in the footage."""

    footage: Footage
    fit: Fit
    held: Held | None
    """How newer footage looks to what is older; None where there is too little to part."""


def calibrate_drift(bundle: Bundle, model: Model, videos: Sequence[Path], prepare: Prepare, track: Track) -> Report:
    """Store in `bundle` what `model` usually sees in `videos`, and the report on it, which is returned.

    `prepare` is what the camera does to its frames, `track` shows progress over them. Raises CalibrationError, and
    changes nothing, where the videos hold too little; BundleError where the bundle cannot be written.
    """
    check_writable(bundle)
    window = bundle.manifest.window
    announced, _ = announced_seconds(videos)
    seconds = block_seconds(announced, window.frame_interval)
    if 0 < announced < LEAST_BLOCKS * seconds:
        raise CalibrationError(
            _too_little(f"{announced:.0f} s of footage", seconds, window.frames, window.frame_interval)
        )
    footage = gather(model, videos, seconds, prepare, track)
    if len(footage.blocks) < LEAST_BLOCKS:
        unreadable = f"; {footage.unreadable[0]}" if footage.unreadable else ""
        held = f"{len(footage.blocks)} whole blocks of {seconds:g} s in {len(videos)} videos"
        raise CalibrationError(_too_little(held, seconds, window.frames, window.frame_interval) + unreadable)
    found = Found(footage, fit(footage.runs, seconds, model.precision), hold_back(footage, model.precision))
    report = report_of(bundle.manifest, found.footage, found.fit, found.held)
    revise(reopened(bundle), {FILE: found.fit.baseline.encode(), **report_files(report)}, drift=FILE)
    return report


def _too_little(what: str, seconds: float, frames: int, interval: float) -> str:
    least = max(LEAST_SECONDS, LEAST_BLOCKS * seconds) + frames * interval
    return (
        f"--footage: {what} are too little to tell what is usual; give at least {least:.0f} s of normal footage in one "
        "piece, better hours of it at all times of the day"
    )
