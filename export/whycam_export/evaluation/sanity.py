"""Does an explanation depend on what the network has learnt?

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 4.1, cascading randomisation: the network's layers lose
what they have learnt one after the other, from the scores down; maps that stay as they are show the picture, not the
network. A method fails where, with all layers shuffled, its maps' mean rank correlation with the true ones is still
`LIMIT` or more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from whycam.bundle import Bundle
from whycam.detect.model import Model
from whycam_export.evaluation.cases import Case
from whycam_export.evaluation.explaining import Question, heatmaps
from whycam_export.evaluation.figures import Figure, Tally
from whycam_export.evaluation.gather import Progress
from whycam_export.evaluation.network import Floats, Network
from whycam_export.evaluation.result import Row, Similarity
from whycam_export.evaluation.similarity import rank_correlation, structural_similarity

LIMIT = 0.5
UNCHANGED, HARDLY_CHANGED = 0.999, 0.95
"""Rank correlations from which on maps count as the same, and as much the same."""
WINDOWS = 3
"""Windows explained at each stage; every one costs all methods again."""


def check_rows(
    rows: Sequence[Row],
    cases: Sequence[Case],
    true: Network,
    shuffled: Iterable[tuple[str, Bundle]],
    stages: int,
    progress: Progress,
) -> list[Row]:
    """`rows`, those of methods with how their maps of `cases` change over the `shuffled` bundles, and the verdict."""
    asked = [row.question for row in rows if row.kind == "method"]
    progress("shuffling weights", 0, stages)
    originals = [_explain(true, asked, case) for case in cases]
    found: dict[Question, list[Similarity]] = {question: [] for question in asked}
    for done, (name, bundle) in enumerate(shuffled):
        network = Network(Model(bundle))
        tallies = {question: Tally() for question in asked}
        for case, before in zip(cases, originals, strict=True):
            for question, maps in _explain(network, asked, case).items():
                for old, new in zip(before[question], maps, strict=True):
                    tallies[question].add(
                        correlation=rank_correlation(old, new), structure=structural_similarity(old, new)
                    )
        for question, tally in tallies.items():
            figures = tally.figures()
            nothing = Figure(0.0, 0)
            similarity = Similarity(name, figures.get("correlation", nothing), figures.get("structure", nothing))
            found[question].append(similarity)
        progress("shuffling weights", done + 1, stages)
    return [judged(row, found.get(row.question, ())) for row in rows]


def judged(row: Row, similarities: Sequence[Similarity]) -> Row:
    """`row` with its `similarities`, one per stage, and the verdict on them; as it is where there are none."""
    if row.kind != "method" or not similarities:
        return row
    last = similarities[-1].correlation
    return dataclasses.replace(
        row,
        figures={**row.figures, "correlation_all": last},
        sanity=tuple(similarities),
        verdict="fails" if last.value >= LIMIT else "passes",
        note=_note({each.stage: each.correlation.value for each in similarities}),
    )


def _note(correlations: Mapping[str, float]) -> str | None:
    """What stays as it is although layers above are shuffled; passing at the end does not tell that."""
    notes = []
    head = correlations.get("head", 0.0)
    if head >= HARDLY_CHANGED:
        notes.append("does not depend on the head" if head >= UNCHANGED else "hardly depends on the head")
    upper = [name for name, value in correlations.items() if name.startswith("CNN") and value >= LIMIT]
    if upper:
        notes.append(f"{correlations[upper[-1]]:.2f} with the {upper[-1]} shuffled")
    return ", ".join(notes) or None


def _explain(network: Network, asked: Sequence[Question], case: Case) -> dict[Question, Floats]:
    window = network.snapshot(case.images, case.times, case.before)
    return heatmaps(network.model, window, asked, case.label)
