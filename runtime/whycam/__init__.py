"""whycam: video-anomaly detection on the edge, with its reasons.

>>> import whycam  # doctest: +SKIP
>>> detector = whycam.load("fight.whycam")
>>> for frame in whycam.open_source("rtsp://camera/stream"):
...     decision = detector.push(frame.image, frame.time)
...     if decision and decision.alert:
...         explanation = detector.explain("grad-cam")
...         picture = whycam.overlay(frame.image, explanation.heatmaps[-1])
"""

from whycam.detect import Decision, Detector, load
from whycam.errors import BundleError, InputError, MissingDependencyError, SourceError, WhycamError
from whycam.explain import Explanation, overlay
from whycam.sources import Frame, open_source

__all__ = [
    "BundleError",
    "Decision",
    "Detector",
    "Explanation",
    "Frame",
    "InputError",
    "MissingDependencyError",
    "SourceError",
    "WhycamError",
    "load",
    "open_source",
    "overlay",
]
__version__ = "0.1.0"
