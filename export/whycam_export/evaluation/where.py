"""The methods that say where, and what stands beside them, over all windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from whycam.detect.ring import Snapshot
from whycam_export.evaluation import cost, deletion
from whycam_export.evaluation.cases import Case
from whycam_export.evaluation.explaining import TOP, Question, heatmaps, quick, relevance
from whycam_export.evaluation.figures import Figure, Tally
from whycam_export.evaluation.gather import Gathered, Progress
from whycam_export.evaluation.measuring import Measured, SpaceBench, measure_context
from whycam_export.evaluation.network import Floats, Network
from whycam_export.evaluation.result import Example, Row

EXAMPLES = 4
"""Windows that are shown with all their maps, of one class each as long as there are others."""


def evaluate_where(
    found: Gathered,
    network: Network,
    asked: Sequence[Question],
    asked_when: Sequence[Question],
    seed: int,
    context: Tally,
    progress: Progress,
) -> tuple[list[Row], list[Example]]:
    """A row for each question `asked` that has an answer, and for each baseline, on the windows that show the anomaly.

    A few of the windows come as examples, with what the methods of `asked_when` say of them, too.
    """
    rows = {question: Measured(question, "method") for question in asked}
    baselines = [Measured(Question(name, None), "baseline") for name in ("random", "centre")]
    kept = _chosen(found.shown)
    examples: list[Example] = []
    for index, case in enumerate(found.shown):
        progress("explaining windows", index, len(found.shown))
        window = network.snapshot(case.images, case.times, case.before)
        bench = SpaceBench(case, network, seed)
        measure_context(bench, context)
        answers = heatmaps(network.model, window, asked, case.label)
        for question, maps in answers.items():
            bench.measure(maps, rows[question])
        if index in kept:
            examples.append(_example(case, window, answers, network, asked_when))
        for row, maps in zip(baselines, _baseline_maps(network, case, seed + index), strict=True):
            bench.measure(maps, row)
    progress("explaining windows", len(found.shown), len(found.shown))
    measured = (row.row() for row in (*rows.values(), *baselines))
    return [row for row in measured if row.figures], examples


def with_costs(rows: Sequence[Row], case: Case, network: Network, context: Tally, progress: Progress) -> list[Row]:
    """`rows` with what each method costs on the window of `case`, in milliseconds and in frames."""
    model, window = network.model, network.snapshot(case.images, case.times, case.before)
    frame = cost.milliseconds(partial(model.extract, case.images[:1]))
    context.add(frame_ms=frame)
    found: list[Row] = []
    for index, row in enumerate(rows):
        progress("measuring cost", index, len(rows))
        if row.kind == "method" and row.question.can_be_asked(model.manifest, case.label, window):
            whole = cost.milliseconds(partial(quick, model, window, row.question, case.label, "all"))
            top = cost.milliseconds(partial(quick, model, window, row.question, case.label, TOP))
            taken = {"ms": whole, "ms_top": top, "frames": whole / frame, "frames_top": top / frame}
            figures = {name: Figure(value, 1) for name, value in taken.items()}
            row = dataclasses.replace(row, figures={**row.figures, **figures})
        found.append(row)
    progress("measuring cost", len(rows), len(rows))
    return found


def _example(
    case: Case, window: Snapshot, maps: Mapping[Question, Floats], network: Network, asked_when: Sequence[Question]
) -> Example:
    """The window with what every method says of it, each asked in the first way that has an answer."""
    by_method: dict[str, Floats] = {}
    for question, each in maps.items():
        by_method.setdefault(question.method, each)
    shares: dict[str, Floats] = {}
    for question in asked_when:
        if question.method not in shares and question.can_be_asked(network.model.manifest, case.label, window):
            shares[question.method] = relevance(network.model, window, question, case.label)
    return Example(case, window.scores[case.label], by_method, shares)


def _baseline_maps(network: Network, case: Case, seed: int) -> tuple[Floats, Floats]:
    cam, frames = network.model.manifest.cams[0], len(case.images)
    return (
        deletion.random_maps(frames, cam.height, cam.width, np.random.default_rng(seed)),
        deletion.centre_maps(frames, cam.height, cam.width),
    )


def _chosen(cases: Sequence[Case]) -> set[int]:
    """Which of the cases to show: the first of each class, then others."""
    first: dict[str, int] = {}
    for index, case in enumerate(cases):
        first.setdefault(case.label, index)
    chosen = [*first.values(), *(index for index in range(len(cases)) if index not in first.values())]
    return set(chosen[:EXAMPLES])
