"""Drift: what a camera usually shows, learnt from normal footage, and how far from it chance does not lead."""

from whycam_calibration.drift.calibrate import calibrate_drift

__all__ = ["calibrate_drift"]
