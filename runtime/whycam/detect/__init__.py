"""Detection: from frames to decisions."""

from whycam.detect.decision import Decision

__all__ = ["Decision"]
