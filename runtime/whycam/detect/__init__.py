"""Detection: from frames to decisions."""

from whycam.detect.decision import Decision
from whycam.detect.detector import Detector, load
from whycam.detect.intake import Due
from whycam.detect.model import Model
from whycam.detect.ring import Snapshot

__all__ = ["Decision", "Detector", "Due", "Model", "Snapshot", "load"]
