"""The control chart of a camera: its blocks, one after the other, against what is usual."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whycam.bundle import Manifest
from whycam.detect.model import Model
from whycam.detect.ring import Sample
from whycam.drift.baseline import Baseline, read_baseline
from whycam.drift.blocks import BlockMeans
from whycam.drift.signs import SIGNS

log = logging.getLogger(__name__)

_ALIKE = frozenset({"fp32", "fp16"})
"""Precisions whose features differ by less than any scene does."""


@dataclass(frozen=True)
class Deviation:
    """A sign beyond its limit."""

    sign: str
    """One of `SIGNS`."""
    says: str
    """In plain words: `darker`, `another view`."""
    deviation: float
    """In spreads of a block's mean, above 0 or below."""
    limit: float
    """The deviation, either way, that chance does not explain."""


@dataclass(frozen=True)
class DriftReport:
    """What a block says."""

    time: float
    """Seconds, of the block's last sample."""
    statistic: float
    """The largest deviation, over its limit: beyond 1 it is no chance."""
    signs: tuple[Deviation, ...]
    """The signs beyond their limits, farthest first."""
    drifted: bool | None
    """Whether the camera shows something else than it was calibrated on; None: not enough blocks in a row agree yet."""
    since: float | None
    """Seconds: when the present drift began; None without."""
    changed: bool
    """Whether `drifted` is other than after the block before."""


class DriftMonitor:
    """Compares blocks with a baseline, in constant memory.

    A control chart for single observations on several signs at once; each has the limit of a prediction interval for
    one future observation (Hahn and Meeker, Statistical Intervals, 1991; Montgomery, Introduction to Statistical
    Quality Control), which calibration has computed. As many blocks in a row as the baseline says, all beyond a limit,
    are drift; as many within are its end.
    """

    def __init__(self, baseline: Baseline, manifest: Manifest) -> None:
        """Nothing seen yet of a camera that runs the model in `manifest`."""
        self.baseline = baseline
        self.latest: DriftReport | None = None
        """What the last block said."""
        self._blocks = BlockMeans(baseline.seconds, manifest)
        self._run = 0
        self._beyond = False
        self._run_start = 0.0
        self._drifted: bool | None = None
        self._since: float | None = None

    def push(self, sample: Sample, scores: Mapping[str, float]) -> DriftReport | None:
        """Take the newest sample of a full window, and its scores; a report where it completes a block."""
        block = self._blocks.push(sample, scores)
        if block is None:
            return None
        deviations = self.baseline.deviations(self.baseline.signs(block))
        if not np.isfinite(deviations).all():
            return None  # A model that gives no numbers says nothing.
        shares = abs(deviations) / self.baseline.limit
        statistic = float(shares.max())
        beyond = statistic > 1
        if beyond != self._beyond or self._run == 0:
            self._run, self._beyond, self._run_start = 0, beyond, block.start
        self._run += 1
        before = self._drifted
        if self._run >= self.baseline.consecutive and self._drifted is not beyond:
            self._drifted = beyond
            self._since = self._run_start if beyond else None
        order = sorted(range(len(SIGNS)), key=lambda index: -shares[index])
        signs = tuple(
            Deviation(
                SIGNS[index].name,
                (SIGNS[index].less if deviations[index] < 0 else None) or SIGNS[index].more,
                float(deviations[index]),
                float(self.baseline.limit[index]),
            )
            for index in order
            if shares[index] > 1
        )
        self.latest = DriftReport(block.end, statistic, signs, self._drifted, self._since, before is not self._drifted)
        return self.latest

    def cut(self) -> None:
        """The window is cold: what has been gathered of the present block is forgotten."""
        self._blocks.cut()


def monitor_of(model: Model) -> DriftMonitor | None:
    """A monitor for a camera that runs `model`; None where its bundle has no statistics for it.

    Raises BundleError, naming the file, where they are damaged.
    """
    baseline = read_baseline(model.bundle)
    if baseline is None:
        return None
    if baseline.precision != model.precision and not {baseline.precision, model.precision} <= _ALIKE:
        # Its features are a little off everywhere, and that would be taken for another scene.
        log.warning(
            "%s: its statistics of drift are of %s, %s is not watched for drift; run `whycam calibrate drift` with "
            "--precision %s",
            model.bundle.path,
            baseline.precision,
            model.precision,
            model.precision,
        )
        return None
    return DriftMonitor(baseline, model.manifest)
