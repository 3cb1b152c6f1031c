"""What a calibration of the precision is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.cache import default_cache
from whycam_calibration.precision.gate import Limits
from whycam_calibration.precision.ranges import METHODS, Method

Precision = Literal["int8", "fp16", "auto"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

IMAGES = 200


@dataclass(frozen=True)
class Options:
    """Of `whycam calibrate precision`."""

    precision: Precision
    method: Method = "minmax"
    images: int = IMAGES
    limits: Limits = field(default_factory=Limits)
    cache: Path = field(default_factory=default_cache)

    def __post_init__(self) -> None:
        """Raise CalibrationError for what is not possible."""
        if self.precision not in PRECISIONS:
            raise CalibrationError(f"--precision {self.precision}: choose {', '.join(PRECISIONS)}")
        if self.method not in METHODS:
            raise CalibrationError(f"--method {self.method}: choose {', '.join(METHODS)}")
        if self.images < 1:
            raise CalibrationError(f"--images {self.images}: give 1 or more")
