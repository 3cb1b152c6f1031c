"""Does an explanation depend on what the network has learnt?

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 4.1, cascading randomisation: the network's layers lose
what they have learnt one after the other, from the scores down; maps that stay as they are show the picture, not the
network. A method fails where, with all layers shuffled, its maps' mean rank correlation with the true ones is still
`LIMIT` or more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whycam.bundle import Bundle
from whycam.detect.model import Model
from whycam.explain.target import contrast
from whycam_export.evaluation import explaining
from whycam_export.evaluation.cases import Case
from whycam_export.evaluation.figures import Figure, Tally
from whycam_export.evaluation.gather import Progress
from whycam_export.evaluation.network import Floats, Network
from whycam_export.evaluation.result import Row, Similarity
from whycam_export.evaluation.similarity import rank_correlation, structural_similarity

LIMIT = 0.5
UNCHANGED = 0.999
"""A rank correlation from which on maps count as the same."""
WINDOWS = 6
"""Windows explained at each stage; every one costs all methods again."""


@dataclass(frozen=True)
class Way:
    """A method with a contrast."""

    method: str
    versus: str | None


def check_rows(
    rows: Sequence[Row],
    cases: Sequence[Case],
    true: Network,
    shuffled: Iterable[tuple[str, Bundle]],
    stages: int,
    progress: Progress,
) -> list[Row]:
    """`rows`, those of methods with how their maps of `cases` change over the `shuffled` bundles, and the verdict."""
    ways = [Way(row.method, row.versus) for row in rows if row.kind == "method"]
    progress("shuffling weights", 0, stages)
    originals = [_explain(true, ways, case) for case in cases]
    found: dict[Way, list[Similarity]] = {way: [] for way in ways}
    for done, (name, bundle) in enumerate(shuffled):
        network = Network(Model(bundle))
        tallies = {way: Tally() for way in ways}
        for case, before in zip(cases, originals, strict=True):
            for way, maps in _explain(network, ways, case).items():
                for old, new in zip(before[way], maps, strict=True):
                    tallies[way].add(correlation=rank_correlation(old, new), structure=structural_similarity(old, new))
        for way, tally in tallies.items():
            figures = tally.figures()
            nothing = Figure(0.0, 0)
            similarity = Similarity(name, figures.get("correlation", nothing), figures.get("structure", nothing))
            found[way].append(similarity)
        progress("shuffling weights", done + 1, stages)
    return [judged(row, found.get(Way(row.method, row.versus), ())) for row in rows]


def judged(row: Row, similarities: Sequence[Similarity]) -> Row:
    """`row` with its `similarities`, one per stage, and the verdict on them; as it is where there are none."""
    if row.kind != "method" or not similarities:
        return row
    last = similarities[-1].correlation
    head = [each for each in similarities if each.stage in ("scores", "head")]
    same = [each for each in head if each.correlation.value >= UNCHANGED]
    return dataclasses.replace(
        row,
        figures={**row.figures, "correlation_all": last},
        sanity=tuple(similarities),
        verdict="fails" if last.value >= LIMIT else "passes",
        note="does not depend on the head" if head and len(same) == len(head) else None,
    )


def _explain(network: Network, ways: Sequence[Way], case: Case) -> dict[Way, Floats]:
    window = network.snapshot(case.images, case.times)
    found = {}
    for way in ways:
        versus = None if way.versus is None else contrast(network.model.manifest, case.label, way.versus)
        if versus != case.label:
            found[way] = explaining.heatmaps(network.model, window, way.method, case.label, versus)
    return found
