"""whycam: video-anomaly detection on the edge, with its reasons.

>>> import whycam  # doctest: +SKIP
>>> detector = whycam.load("fight.whycam")
>>> for frame in whycam.open_source("rtsp://camera/stream"):
...     decision = detector.push(frame.image, frame.time)
...     if decision and decision.alert:
...         explanation = detector.explain("grad-cam")
...         picture = whycam.overlay(frame.image, explanation.heatmaps[-1])
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from whycam.errors import BundleError, InputError, MissingDependencyError, SourceError, WhycamError

# From 1.29 on, ONNX Runtime's wheels tell Microsoft of each model that is opened, unless this is said before they are
# loaded. A device that watches people sends nothing that its owner has not asked for; a user's own setting stands.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from whycam.detect import Decision, Detector, load
    from whycam.explain import Explanation, overlay
    from whycam.sources import Frame, open_source
else:
    # Imported at their first use (PEP 562): they bring numpy and pydantic, which `whycam --help` does without.
    _HOMES = {
        "Decision": "whycam.detect",
        "Detector": "whycam.detect",
        "Explanation": "whycam.explain",
        "Frame": "whycam.sources",
        "load": "whycam.detect",
        "open_source": "whycam.sources",
        "overlay": "whycam.explain",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'whycam' has no attribute '{name}'")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES})


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
