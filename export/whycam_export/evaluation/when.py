"""The methods that say when, and what stands beside them, over all windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whycam_export.evaluation.cases import PLACES, Case
from whycam_export.evaluation.explaining import Question, relevance
from whycam_export.evaluation.figures import Tally
from whycam_export.evaluation.gather import Gathered, Progress
from whycam_export.evaluation.measuring import Measured, measure_in_time, measure_moved
from whycam_export.evaluation.network import Floats, Network
from whycam_export.evaluation.result import Row

RANDOM, NEWEST = Question("random", None), Question("newest first", None)


def evaluate_when(
    found: Gathered, network: Network, asked: Sequence[Question], seed: int, context: Tally, progress: Progress
) -> list[Row]:
    """A row for each question that has an answer, and for each baseline: on windows as they are, and with the event
    moved through them.
    """
    rows = [Measured(question, "method") for question in asked]
    rows += [Measured(question, "baseline") for question in (RANDOM, NEWEST)]
    every = [row.question for row in rows]
    groups = [found.moved[start : start + len(PLACES)] for start in range(0, len(found.moved), len(PLACES))]
    steps = len(found.in_time) + len(groups)
    rng = np.random.default_rng(seed)
    for index, case in enumerate(found.in_time):
        progress("explaining frames", index, steps)
        shares = _relevances(case, network, every, rng)
        for row in rows:
            if row.question in shares:
                measure_in_time(case, shares[row.question], network, seed, row)
    for index, group in enumerate(groups):
        progress("explaining frames", len(found.in_time) + index, steps)
        moved = [_relevances(case, network, every, rng) for case in group]
        for place, case in zip(PLACES, group, strict=True):
            assert case.inside is not None
            score = network.scores(case.features[np.newaxis])[0, network.classes.index(case.label)]
            context.add(**{f"score_{place}": float(score)}, share_chance=float(case.inside.mean()))
        for row in rows:
            if all(row.question in shares for shares in moved):
                measure_moved(group, [shares[row.question] for shares in moved], row)
    progress("explaining frames", steps, steps)
    return [row for row in (row.row() for row in rows) if row.figures]


def _relevances(
    case: Case, network: Network, asked: Sequence[Question], rng: np.random.Generator
) -> dict[Question, Floats]:
    """The relevance [T] of the frames of `case` by each question that can be asked of it."""
    window = network.snapshot(case.images, case.times, case.before)
    frames = len(case.times)
    found: dict[Question, Floats] = {}
    for question in asked:
        if question == RANDOM:
            found[question] = rng.random(frames).astype(np.float32)
        elif question == NEWEST:
            found[question] = np.arange(1, frames + 1, dtype=np.float32)
        elif question.can_be_asked(network.model.manifest, case.label, window):
            found[question] = relevance(network.model, window, question, case.label)
    return found
