"""Explanations: where and when a window made the model decide as it did."""

from whycam.default_methods import METHOD, TIME
from whycam.explain.explanation import Explanation
from whycam.explain.methods import METHODS, TIME_METHODS
from whycam.explain.overlay import outline, overlay
from whycam.explain.regions import Region, strongest_regions

__all__ = [
    "METHOD",
    "METHODS",
    "TIME",
    "TIME_METHODS",
    "Explanation",
    "Region",
    "outline",
    "overlay",
    "strongest_regions",
]
