"""The whole evaluation of a bundle's explanations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from whycam.bundle import Bundle
from whycam.detect.model import Model
from whycam.detect.ring import Snapshot
from whycam.errors import InputError
from whycam.explain.target import NORMAL, contrast, target_vector
from whycam_export.evaluation import cost, deletion, explaining
from whycam_export.evaluation.cases import PLACES, Case
from whycam_export.evaluation.figures import Figure, Tally
from whycam_export.evaluation.gather import Gathered, Progress, gather
from whycam_export.evaluation.measuring import Measured, SpaceBench, measure_context, measure_in_time, measure_moved
from whycam_export.evaluation.network import Floats, Network
from whycam_export.evaluation.result import Evaluation, Example, Row
from whycam_export.evaluation.sanity import LIMIT, WINDOWS, check_rows

EXAMPLES = 4
"""Windows whose maps are kept to be shown, of one class each as long as there are others."""


@dataclass(frozen=True)
class Options:
    """What to evaluate, and how."""

    methods: tuple[str, ...] | None = None
    """Those of space; None for all that the bundle offers."""
    versus: tuple[str, ...] = (NORMAL,)
    """Contrasts, each with every method: `normal`, `none` or a class."""
    windows: int = 2
    """Windows of a clip at most."""
    masks: Path | None = None
    model: Path | None = None
    """The Keras model that the bundle was exported from: for the sanity checks."""
    in_time: bool = True
    """Whether to evaluate the methods of time, too."""
    cost: bool = True
    """Whether to measure what explanations cost."""
    seed: int = 0


def evaluate(
    clips: Path, bundle: Path, options: Options | None = None, progress: Progress = lambda text, done, total: None
) -> Evaluation:
    """Measure the explanations of the bundle at `bundle` on the folder `clips`, as `whycam train` takes one.

    Raises WhycamError for a wrong bundle, folder or option, and where no window is left to measure on.
    """
    options = options or Options()
    if options.windows < 1:
        raise InputError(f"--windows {options.windows}: must be 1 or more")
    model = Model(Bundle.open(bundle))
    methods = explaining.choose_methods(model, options.methods)
    for choice in options.versus:
        for label in model.manifest.anomalies:
            versus = contrast(model.manifest, label, choice)
            if versus != label:
                target_vector(model.manifest.classes, label, versus)
    network = Network(model)
    found = gather(clips, network, options.windows, options.masks, progress)
    context = Tally()
    space, examples = _in_space(found, network, methods, options, context, progress)
    if options.model is not None:
        space = _checked(space, found, network, options.model, options.seed, progress)
    time = _in_time(found, network, options, context, progress) if options.in_time else []
    return Evaluation(
        bundle=model.manifest.name,
        version=model.manifest.version,
        cam_layer=model.manifest.cam.name,
        clips=found.clips,
        windows=_counts(found),
        without=found.without,
        unread=found.unread,
        options={
            "clips": str(clips),
            "masks": None if options.masks is None else str(options.masks),
            "model": None if options.model is None else str(options.model),
            "methods": list(methods),
            "versus": list(options.versus),
            "windows": options.windows,
            "seed": options.seed,
            "sanity_limit": LIMIT,
        },
        space=tuple(space),
        time=tuple(time),
        context=context.figures(),
        examples=tuple(examples),
    )


def _in_space(
    found: Gathered,
    network: Network,
    methods: tuple[str, ...],
    options: Options,
    context: Tally,
    progress: Progress,
) -> tuple[list[Row], list[Example]]:
    rows = [Measured(method, "method", versus) for method in methods for versus in options.versus]
    baselines = [Measured(name, "baseline", None) for name in ("random", "centre")]
    kept = _examples(found.shown)
    examples: list[Example] = []
    for index, case in enumerate(found.shown):
        progress("explaining windows", index, len(found.shown))
        window = network.snapshot(case.images, case.times)
        bench = SpaceBench(case, network, options.seed)
        measure_context(bench, context)
        maps: dict[str, Floats] = {}
        for row in rows:
            versus = _versus(network, case.label, row.versus)
            if versus == case.label:
                continue
            heatmaps = explaining.heatmaps(network.model, window, row.method, case.label, versus)
            bench.measure(heatmaps, row)
            maps.setdefault(row.method, heatmaps)
        for row, heatmaps in zip(baselines, _baseline_maps(network, case, options.seed + index), strict=True):
            bench.measure(heatmaps, row)
        if index in kept:
            examples.append(_example(network, case, window, maps, options.versus[0]))
    progress("explaining windows", len(found.shown), len(found.shown))
    costs = _costs(found.shown[0], network, rows, context, progress) if options.cost else {}
    return [row.row(**costs.get(row.method, {})) for row in (*rows, *baselines)], examples


def _in_time(found: Gathered, network: Network, options: Options, context: Tally, progress: Progress) -> list[Row]:
    rows = [Measured(method, "method", versus) for method in explaining.TIME_METHODS for versus in options.versus]
    baselines = [Measured(name, "baseline", None) for name in ("random", "newest first")]
    groups = [found.moved[start : start + len(PLACES)] for start in range(0, len(found.moved), len(PLACES))]
    steps = len(found.in_time) + len(groups)
    rng = np.random.default_rng(options.seed)

    def relevance(row: Measured, case: Case, window: Snapshot) -> Floats | None:
        frames = len(case.times)
        if row.kind == "method":
            versus = _versus(network, case.label, row.versus)
            if versus == case.label:
                return None
            return explaining.relevance(network.model, window, row.method, case.label, versus)
        ascending = np.arange(1, frames + 1) if row.method == "newest first" else rng.random(frames)
        return np.asarray(ascending / ascending.sum(), np.float32)

    for index, case in enumerate(found.in_time):
        progress("explaining frames", index, steps)
        window = network.snapshot(case.images, case.times)
        for row in (*rows, *baselines):
            values = relevance(row, case, window)
            if values is not None:
                measure_in_time(case, values, network, options.seed, row)
    for index, group in enumerate(groups):
        progress("explaining frames", len(found.in_time) + index, steps)
        windows = [network.snapshot(case.images, case.times) for case in group]
        for place, case, window in zip(PLACES, group, windows, strict=True):
            assert case.inside is not None
            context.add(**{f"score_{place}": window.scores[case.label]}, share_chance=float(case.inside.mean()))
        for row in (*rows, *baselines):
            each = [relevance(row, case, window) for case, window in zip(group, windows, strict=True)]
            known = [values for values in each if values is not None]
            if len(known) == len(each):
                measure_moved(group, known, row)
    progress("explaining frames", steps, steps)
    return [row.row() for row in (*rows, *baselines)]


def _checked(
    rows: list[Row], found: Gathered, network: Network, model: Path, seed: int, progress: Progress
) -> list[Row]:
    # Keras takes seconds to load, and only this needs it.
    from whycam_export.evaluation.shuffling import STAGES, shuffled_bundles

    count = min(WINDOWS, len(found.shown))
    cases = [found.shown[int((index + 0.5) * len(found.shown) / count)] for index in range(count)]
    bundles = shuffled_bundles(model, network.model.manifest, seed)
    return check_rows(rows, cases, network, bundles, STAGES, progress)


def _costs(
    case: Case, network: Network, rows: list[Measured], context: Tally, progress: Progress
) -> dict[str, dict[str, Figure]]:
    """Milliseconds and frames of each method, for one window."""
    model, window = network.model, network.snapshot(case.images, case.times)
    frame = cost.milliseconds(lambda: model.extract(case.images[0]))
    context.add(frame_ms=frame)
    contrasts = {row.method: _versus(network, case.label, row.versus) for row in rows}
    found = {}
    for index, (method, versus) in enumerate(contrasts.items()):
        progress("measuring cost", index, len(contrasts))
        taken = cost.milliseconds(partial(explaining.heatmaps, model, window, method, case.label, versus))
        found[method] = {"ms": Figure(taken, 1), "frames": Figure(taken / frame, 1)}
    progress("measuring cost", len(contrasts), len(contrasts))
    return found


def _baseline_maps(network: Network, case: Case, seed: int) -> tuple[Floats, Floats]:
    cam, frames = network.model.manifest.cam, len(case.images)
    rng = np.random.default_rng(seed)
    return (
        deletion.random_maps(frames, cam.height, cam.width, rng),
        deletion.centre_maps(frames, cam.height, cam.width),
    )


def _versus(network: Network, label: str, choice: str | None) -> str | None:
    return None if choice is None else contrast(network.model.manifest, label, choice)


def _examples(cases: tuple[Case, ...]) -> set[int]:
    """The indices of the cases to show: the first of each class, then others."""
    first: dict[str, int] = {}
    for index, case in enumerate(cases):
        first.setdefault(case.label, index)
    chosen = [*first.values(), *(index for index in range(len(cases)) if index not in first.values())]
    return set(chosen[:EXAMPLES])


def _example(network: Network, case: Case, window: Snapshot, maps: dict[str, Floats], choice: str) -> Example:
    versus = _versus(network, case.label, choice)
    relevance = {}
    if versus != case.label:
        relevance = {
            method: explaining.relevance(network.model, window, method, case.label, versus)
            for method in explaining.TIME_METHODS
        }
    return Example(case, window.scores[case.label], maps, relevance)


def _counts(found: Gathered) -> dict[str, int]:
    labels = [case.label for case in found.shown]
    kinds = {"shown": len(found.shown), "mixed": len(found.mixed), "moved": len(found.moved)}
    return {**kinds, **{f"shown, {label}": labels.count(label) for label in sorted(set(labels))}}
