"""The self-test: whether a bundle computes on this device what it computed where it was made.

The golden window goes through the graphs with the precision and the execution providers that the cameras will use, in
both of the ways in which the service uses them: as one window through the head, and frame by frame through the step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.deployment.golden import Golden, read_frames, read_golden
from whycam.detect.detector import Detector
from whycam.detect.model import Model
from whycam.detect.providers import CPU, choose_providers
from whycam.detect.ring import Snapshot
from whycam.detect.sessions import form_of
from whycam.errors import BundleError
from whycam.explain.cams import class_activation
from whycam.explain.target import target_vector

EXPORT_SCORES, EXPORT_HEATMAPS = 1e-4, 1e-3
"""What export tolerates between Keras and the graphs on the workstation's CPU: scores absolute, heat maps relative."""
EXPORT_ROUNDING, EXPORT_MOST = 4, 5e-2
"""Heat maps that rounding moves may be off by so many times that movement, but never by more than the second."""
OTHER_CPU = 10.0
"""Another CPU, with sums in another order, may be so many times farther from Keras than export allows."""
HALF_SCORES, HALF_HEATMAPS = 0.02, 0.1
"""On a GPU: room for products that keep ten bits after the point (TF32), as half precision does; they are off."""
CALIBRATED_SCORES, CALIBRATED_MOST = 0.05, 0.2
"""INT8 and FP16, against themselves on the machine that calibrated: kernels that round otherwise move numbers as the
precision itself does, so that its own measured drift is allowed, but at least the first and never more than the second.
"""
CALIBRATED_CORRELATION, CALIBRATED_LESS = 0.98, 0.08
"""Their heat maps: the correlation that calibration asks for, less so much."""
FAINTEST = 1e-3
"""Logits: fainter heat maps are measured against this, as behind a saturated head they are rounding errors."""
_SUMS = 1e-4
"""The scores that a graph gives may be so far from the softmax of its logits."""


@dataclass(frozen=True)
class Comparison:
    """One figure of the test, and what it may be."""

    what: str
    """`scores, head`, `scores, step`, `heat maps` or `heat maps, correlation`."""
    against: str
    """The file that holds what should come out."""
    found: float
    """The error, or the correlation; NaN where what came out is no number."""
    limit: float
    """The most that the error may be, or the least that the correlation may be."""

    @property
    def passed(self) -> bool:
        """Whether it is within the limit; what is no number never is."""
        return self.found >= self.limit if self.what.endswith("correlation") else self.found <= self.limit

    def __str__(self) -> str:
        """`scores, head: 0.31 from golden.npz, at most 0.001`."""
        found = f"{self.found:.2g}" if math.isfinite(self.found) else "no number"
        if self.what.endswith("correlation"):
            return f"{self.what} {found} with {self.against}, at least {self.limit:.2g}"
        return f"{self.what}: {found} from {self.against}, at most {self.limit:.2g}"


@dataclass(frozen=True)
class SelfTest:
    """What came of it."""

    precision: str
    """The bundle's own name for it: where `int8` was asked for, it may be `int8-cpu`."""
    providers: tuple[str, ...]
    """ONNX Runtime's names of what really ran, the one that took most of the time first."""
    comparisons: tuple[Comparison, ...]
    load_seconds: float
    frame_seconds: float
    """A frame through the CNN and the step, the median of the window's."""
    seconds: float
    """All of it, loading included."""

    @property
    def passed(self) -> bool:
        """Whether all figures are within their limits."""
        return all(each.passed for each in self.comparisons)

    @property
    def problems(self) -> list[str]:
        """What is beyond its limit, a line each."""
        return [str(each) for each in self.comparisons if not each.passed]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is no number is null."""
        values = asdict(self)
        for comparison, each in zip(values["comparisons"], self.comparisons, strict=True):
            comparison["found"] = each.found if math.isfinite(each.found) else None
            comparison["passed"] = each.passed
        return {"passed": self.passed, **values}


def self_test(
    bundle: Bundle, precision: str = "fp32", providers: Sequence[str] | None = None, threads: int | None = None
) -> SelfTest:
    """Run the golden window of `bundle` here; `precision`, `providers` and `threads` are those of `whycam.load`.

    What is beyond a limit is in the result. Raises BundleError where the bundle has no golden window, or it or a graph
    is damaged or does not run; InputError where there is no such precision or provider; MissingDependencyError without
    ONNX Runtime.
    """
    began = time.monotonic()
    frames = read_frames(bundle)
    model = Model(bundle, precision, providers, threads)
    form = form_of(bundle.manifest, precision, choose_providers(providers))
    golden = read_golden(bundle, form)
    load_seconds = time.monotonic() - began
    try:
        window = model.snapshot(frames)
        comparisons = [_head(model, window, form, golden)]
        stepped, frame_seconds = _step(model, frames, form, golden)
        comparisons += [stepped, *_heatmaps(model, window, form, golden)]
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        text = " ".join(str(error).split())
        raise BundleError(f"{bundle.path}: {form} does not run on this device ({text[:200]})") from error
    return SelfTest(
        form,
        model.providers,
        tuple(comparisons),
        round(load_seconds, 3),
        round(frame_seconds, 6),
        round(time.monotonic() - began, 3),
    )


def _head(model: Model, window: Snapshot, form: str, golden: Golden) -> Comparison:
    """All frames through the CNN in batches, and the window through the head."""
    logits, scores = model.logits(window.features()[np.newaxis])
    return _scores("scores, head", model, logits[0], scores[0], form, golden)


def _step(model: Model, frames: NDArray[np.uint8], form: str, golden: Golden) -> tuple[Comparison, float]:
    """Frame by frame, as from a camera; and the median of what a frame took, in seconds."""
    detector = Detector(model)
    took, decision = [], None
    for frame in frames:
        began = time.monotonic()
        decision = detector.push(frame)
        took.append(time.monotonic() - began)
    assert decision is not None and detector.logits is not None  # a whole window has gone in
    scores = np.array([decision.scores[name] for name in model.manifest.classes], np.float32)
    return _scores("scores, step", model, detector.logits, scores, form, golden), float(np.median(took))


def _scores(
    what: str, model: Model, logits: NDArray[np.float32], scores: NDArray[np.float32], form: str, golden: Golden
) -> Comparison:
    error = _largest(_softmax(logits / golden.temperature) - golden.scores)
    # The golden scores are of the temperature of their time; those that the device goes by may have another.
    unlike = _largest(_softmax(logits / model.manifest.temperature) - scores)
    if not unlike <= _SUMS:
        error = math.nan if math.isnan(unlike) else max(error, unlike)
    return Comparison(what, golden.file, error, _scores_limit(model, form))


def _heatmaps(model: Model, window: Snapshot, form: str, golden: Golden) -> list[Comparison]:
    """Grad-CAM of all frames, where the bundle explains."""
    if golden.heatmaps is None or "grad-cam" not in model.methods:
        return []
    if form in model.manifest.calibrated:
        return _correlation(model, window, form, golden, golden.heatmaps)
    ask = model.inquiry(window, target_vector(model.manifest.classes, golden.label, None))
    found = class_activation(ask.maps[0], ask.map_gradients[0])
    scale = max(_largest(found), FAINTEST)
    error = _largest(np.maximum(found, 0) - golden.heatmaps) / scale
    return [Comparison("heat maps", golden.file, error, _heatmaps_limit(model))]


def _correlation(
    model: Model, window: Snapshot, form: str, golden: Golden, expected: NDArray[np.float32]
) -> list[Comparison]:
    made = model.explain(window, "grad-cam", golden.label, time="relevance", reference="none").heatmaps
    if not np.isfinite(made).all():
        median = math.nan
    else:
        found = [_correlated(one, other) for one, other in zip(made, expected, strict=True)]
        told = [value for value in found if value is not None]
        if not told:
            return []
        median = float(np.median(told))
    measured = model.manifest.calibrated[form].heatmap_correlation
    least = min(CALIBRATED_CORRELATION, CALIBRATED_CORRELATION if measured is None else measured) - CALIBRATED_LESS
    return [Comparison("heat maps, correlation", golden.file, median, round(least, 4))]


def _correlated(one: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """Pearson's correlation; None where neither has any heat, 0 where one has none."""
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norms = math.sqrt(float(a @ a)), math.sqrt(float(b @ b))
    if norms == (0, 0):
        return None
    return float(a @ b) / (norms[0] * norms[1]) if all(norms) else 0.0


def _scores_limit(model: Model, form: str) -> float:
    calibrated = model.manifest.calibrated.get(form)
    if calibrated is not None:
        return min(max(CALIBRATED_SCORES, calibrated.score_drift_max), CALIBRATED_MOST)
    if form != "fp32":
        return CALIBRATED_MOST
    return OTHER_CPU * EXPORT_SCORES if _on_cpu(model) else HALF_SCORES


def _heatmaps_limit(model: Model) -> float:
    if not _on_cpu(model):
        return HALF_HEATMAPS
    return min(OTHER_CPU * _heatmaps_at_export(model.manifest), HALF_HEATMAPS)


def _heatmaps_at_export(manifest: Manifest) -> float:
    rounding = manifest.parity.heatmaps_rounding
    if rounding is None or not math.isfinite(rounding):
        return EXPORT_HEATMAPS
    return max(EXPORT_HEATMAPS, min(EXPORT_ROUNDING * rounding, EXPORT_MOST))


def _on_cpu(model: Model) -> bool:
    return model.providers[0] == CPU


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        powers = np.exp(logits.astype(np.float64) - logits.max())
        softmax: NDArray[np.float64] = powers / powers.sum()
    return softmax


def _largest(values: NDArray[Any]) -> float:
    """The largest magnitude; NaN where one is no number, or infinite."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest if math.isfinite(largest) else math.nan
