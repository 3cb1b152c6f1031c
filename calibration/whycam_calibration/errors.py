"""What calibration raises for bad input: one line that names the thing, what is wrong and what to do."""

from __future__ import annotations

from whycam.errors import WhycamError


class CalibrationError(WhycamError, ValueError):
    """Footage, options or a bundle that cannot be calibrated, or a precision that does not keep the decisions."""
