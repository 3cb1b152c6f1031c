"""Calibration of whycam bundles: precision and thresholds from real footage."""
