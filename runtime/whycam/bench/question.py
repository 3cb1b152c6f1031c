"""The explanations that are timed: what a user gets who asks for nothing special, as far as the bundle offers it."""

from __future__ import annotations

from dataclasses import dataclass

from whycam.bundle import Manifest
from whycam.default_methods import METHOD, TIME
from whycam.detect import Model, Snapshot
from whycam.detect.graphs import explanation_specs
from whycam.detect.model import Frames
from whycam.explain import METHODS, TIME_METHODS, Explanation
from whycam.explain.methods import offered
from whycam.explain.target import NORMAL, contrast


@dataclass(frozen=True)
class Question:
    """Why an anomaly, rather than the normal class, and by which methods."""

    method: str
    time: str

    def ask(self, model: Model, window: Snapshot, frames: Frames) -> Explanation:
        """Its answer for `frames` of `window`."""
        label = model.manifest.anomalies[0]
        versus = contrast(model.manifest, label, NORMAL)
        return model.explain(window, self.method, label, versus, frames=frames, time=self.time)


def default_question(manifest: Manifest) -> Question | None:
    """The default methods, or the first that the bundle has graphs for; None where it has none for either."""
    graphs = explanation_specs(manifest)
    methods, times = offered(METHODS, graphs), offered(TIME_METHODS, graphs)
    if not methods or not times:
        return None
    return Question(METHOD if METHOD in methods else methods[0], TIME if TIME in times else times[0])


def grad_cam(manifest: Manifest) -> Question | None:
    """Grad-CAM as it was published, with the shares of the frames that come with it; None without their graphs."""
    graphs = explanation_specs(manifest)
    there = "grad-cam" in offered(METHODS, graphs) and "relevance" in offered(TIME_METHODS, graphs)
    return Question("grad-cam", "relevance") if there else None
