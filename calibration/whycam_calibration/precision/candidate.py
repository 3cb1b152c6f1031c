"""A precision that may go into the bundle: found, judged, and refused where it is outside the limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from whycam.detect.providers import choose_providers
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.extractor import CPU_ONLY
from whycam_calibration.precision.fp16 import unsafe_nodes
from whycam_calibration.precision.gate import Figures
from whycam_calibration.precision.ground import Ground
from whycam_calibration.precision.int8 import CPU, Form
from whycam_calibration.precision.network import layer_name, names_of
from whycam_calibration.precision.options import Options
from whycam_calibration.precision.search import MOST, search
from whycam_calibration.precision.seen import Seen
from whycam_calibration.precision.speed import FASTER, Measure
from whycam_calibration.precision.step import STEP, Stepper, quantize_step


@dataclass(frozen=True, eq=False)
class Candidate:
    """A feature extractor that the gate lets through."""

    precision: str
    content: bytes
    """ONNX."""
    method: str | None
    higher: tuple[str, ...]
    """Layers in higher precision, in the order of the data."""
    figures: Figures
    seen: Seen
    errors: dict[str, float] = field(default_factory=dict)
    """Of each layer alone, by node; INT8 only."""
    step: bytes | None = None
    """ONNX, where the sliding window's step has a form of its own."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why nodes are in higher precision, by node; FP16 only."""


def find_int8(ground: Ground, form: Form, options: Options) -> Candidate:
    """INT8 in `form`; with `auto`, with as few layers in higher precision as the gate asks for.

    Raises CalibrationError, with what was measured, where the gate does not hold.
    """
    method = options.method
    # The symmetric form means the same wherever it runs; what it costs is measured apart.
    judged: dict[frozenset[str], tuple[Figures, Seen]] = {}

    def holds(higher: frozenset[str]) -> bool:
        found = ground.judge(form.precision, method, higher, lambda: ground.int8(form, method, higher), CPU_ONLY)
        judged[higher] = found
        return not found[0].beyond(options.limits)

    errors = ground.sensitivity(form, method)
    order = sorted(errors, key=lambda node: -errors[node])
    if options.precision != "auto":
        if not holds(frozenset()):
            worst = names_of(ground.network, frozenset(order[:1]))[0]
            raise _refused(
                form.precision,
                ground,
                judged[frozenset()][0].beyond(options.limits),
                f"{worst} hurts most; try --precision auto, which leaves such layers in higher precision",
            )
        chosen: frozenset[str] | None = frozenset()
    else:
        chosen = search(order, holds)
    if chosen is None:
        last = max(judged, key=len)
        raise _refused(
            form.precision,
            ground,
            judged[last][0].beyond(options.limits),
            f"even with {len(last)} of {len(order)} layers in higher precision (at most {MOST:.0%}); "
            "try --precision fp16, another --method, or wider limits",
        )
    figures, seen = judged[chosen]
    content = ground.int8(form, method, chosen)
    return Candidate(form.precision, content, method, names_of(ground.network, chosen), figures, seen, errors)


def with_step(ground: Ground, found: Candidate, options: Options, measure: Measure, warnings: list[str]) -> Candidate:
    """`found` with the sliding window's step in INT8 too, where that is faster and the gate still holds.

    Where the gate does not, a line is added to `warnings`.
    """
    if not ground.manifest.step.available:
        return found
    content = quantize_step(ground.bundle)
    plain = ground.bundle.file(STEP).read_bytes()
    steppers = {"fp32": Stepper(plain, ground.manifest), found.precision: Stepper(content, ground.manifest)}
    if measure(steppers, np.zeros(ground.manifest.features, np.float32))[found.precision].ratio < FASTER:
        return found
    figures, seen = ground.judge_step(found.precision, found.content, steppers[found.precision], found.seen)
    beyond = figures.beyond(options.limits)
    if beyond:
        warnings.append(f"the step stays in float32: in INT8 {'; '.join(beyond)}")
        return found
    return replace(found, step=content, figures=figures, seen=seen)


def find_fp16(ground: Ground, options: Options) -> Candidate:
    """FP16, with the nodes that it is not safe for in float32.

    Raises CalibrationError, with what was measured, where the gate does not hold.
    """
    reasons = unsafe_nodes(ground.network, ground.ranges("minmax", every=True))
    nodes = [node for node in ground.network.model.graph.node if node.name in reasons]
    content = ground.fp16(set(reasons))
    providers = choose_providers(None)
    figures, seen = ground.judge("fp16", f"on-{providers[0]}", reasons, lambda: content, providers)
    beyond = figures.beyond(options.limits)
    if beyond:
        raise _refused("fp16", ground, beyond, "use fp32, or wider limits")
    higher = tuple(dict.fromkeys(layer_name(node) for node in nodes))
    return Candidate("fp16", content, None, higher, figures, seen, reasons=reasons)


def _refused(precision: str, ground: Ground, beyond: list[str], advice: str) -> CalibrationError:
    form = f"{precision} (the form for the CPU)" if precision == CPU.precision else precision
    return CalibrationError(
        f"{form} does not keep what fp32 decides on {len(ground.held.windows)} held-back windows: {'; '.join(beyond)}; "
        f"nothing was written: {advice}"
    )
