"""Detection: from frames to decisions."""

from whycam.detect.decision import Decision
from whycam.detect.detector import Detector, load

__all__ = ["Decision", "Detector", "load"]
