"""Thresholds from real footage: what raises, what clears, how long it must hold, and how sure scores are."""

from whycam_calibration.thresholds.run import Calibration, Options, calibrate

__all__ = ["Calibration", "Options", "calibrate"]
