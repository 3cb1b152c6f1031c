"""Explanations: where and when a window made the model decide as it did."""

from whycam.explain.explanation import Explanation
from whycam.explain.methods import METHODS
from whycam.explain.overlay import overlay

__all__ = ["METHODS", "Explanation", "overlay"]
