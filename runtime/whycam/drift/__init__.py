"""Drift: whether a camera still shows what its bundle was calibrated on."""

from whycam.drift.baseline import Baseline, read_baseline
from whycam.drift.blocks import Block, BlockMeans
from whycam.drift.monitor import Deviation, DriftMonitor, DriftReport, monitor_of
from whycam.drift.signs import SIGNS, Sign, novelty

__all__ = [
    "SIGNS",
    "Baseline",
    "Block",
    "BlockMeans",
    "Deviation",
    "DriftMonitor",
    "DriftReport",
    "Sign",
    "monitor_of",
    "novelty",
    "read_baseline",
]
