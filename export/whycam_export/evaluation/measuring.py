"""Each window under each method: explained, measured, and forgotten."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from whycam_export.evaluation import deletion, space, stability, temporal
from whycam_export.evaluation.cases import PLACES, Case
from whycam_export.evaluation.explaining import Question
from whycam_export.evaluation.figures import Tally
from whycam_export.evaluation.network import Floats, Images, Network
from whycam_export.evaluation.result import Kind, Row


@dataclass
class Measured:
    """What is known so far of one row."""

    question: Question
    kind: Kind
    tally: Tally = field(default_factory=Tally)
    classes: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    curves: list[tuple[Floats, Floats]] = field(default_factory=list)

    def add(self, label: str, **values: float) -> None:
        """One more value of each figure named, of a window that shows the class `label`."""
        self.tally.add(**values)
        self.classes[label].add(**values)

    def row(self) -> Row:
        """The row, with the means of all values."""
        deleted, inserted = (_mean([pair[side] for pair in self.curves]) for side in (0, 1))
        return Row(
            self.question.method,
            self.kind,
            self.question.versus,
            self.question.reference,
            self.tally.figures(),
            {label: tally.figures() for label, tally in sorted(self.classes.items())},
            deleted,
            inserted,
        )


class SpaceBench:
    """A window that maps are tried on; what does not depend on the map is computed once."""

    def __init__(self, case: Case, network: Network, seed: int) -> None:
        """For `case`; `seed` draws ties."""
        self.case = case
        self._seed = seed
        self._score = partial(_class_score, network, network.classes.index(case.label))
        self._veiled = deletion.blurred(case.images)
        whole, bare = self._score(np.stack([case.images, self._veiled]))
        self.ends = float(whole), float(bare)

    def measure(self, maps: Floats, into: Measured) -> None:
        """Try the heat maps [T, h, w]."""
        case = self.case
        height, width = case.images.shape[1:3]
        if case.masks is not None:
            for heatmap, mask in zip(maps, case.masks, strict=True):
                if mask.any():
                    into.add(case.label, pointing=space.hits(heatmap, mask), energy=space.energy_inside(heatmap, mask))
        rank = deletion.ranks(maps, height, width, np.random.default_rng(self._seed))
        curves = deletion.curves(case.images, self._veiled, self.ends, rank, self._score)
        deleted, inserted = (deletion.area(curve) for curve in curves)
        into.add(case.label, deletion=deleted, insertion=inserted, difference=inserted - deleted)
        into.curves.append(curves)
        for name, point in (("peak_jump", stability.peak_point), ("centre_jump", stability.centre_of_mass)):
            for jump in stability.jumps(maps, point, width / height):
                into.add(case.label, **{name: jump})


def measure_context(bench: SpaceBench, context: Tally) -> None:
    """What holds of a window whatever the method."""
    whole, bare = bench.ends
    context.add(score=whole, score_blurred=bare)
    masks = bench.case.masks
    if masks is not None:
        shown = masks[masks.any(axis=(1, 2))]
        for mask in shown:
            context.add(chance=float(mask.mean()))
        aspect = masks.shape[2] / masks.shape[1]
        for jump in stability.jumps(masks.astype(np.float32), stability.centre_of_mass, aspect):
            context.add(mask_jump=jump)


def measure_in_time(case: Case, relevance: Floats, network: Network, seed: int, into: Measured) -> None:
    """Try the relevance [T] of the case's frames."""

    def score(windows: Floats) -> Floats:
        return network.scores(windows)[:, network.classes.index(case.label)]

    order = temporal.order_of(relevance, np.random.default_rng(seed))
    curves = temporal.curves_in_time(case.features, order, score)
    deleted, inserted = (deletion.area(curve) for curve in curves)
    into.add(case.label, deletion=deleted, insertion=inserted, difference=inserted - deleted)
    into.curves.append(curves)
    if case.inside is not None:
        into.add(case.label, auc=temporal.roc_auc(relevance, case.inside))


def measure_moved(cases: tuple[Case, ...], relevances: list[Floats], into: Measured) -> None:
    """Try the relevance [T] of the same event at each of `PLACES`: one case and one relevance of each, in order."""
    aucs, shares = [], []
    for place, case, relevance in zip(PLACES, cases, relevances, strict=True):
        assert case.inside is not None
        aucs.append(temporal.roc_auc(relevance, case.inside))
        shares.append(temporal.share_inside(relevance, case.inside))
        into.add(case.label, **{f"auc_{place}": aucs[-1], f"share_{place}": shares[-1]})
    into.add(cases[0].label, auc_bias=aucs[-1] - aucs[0], share_bias=shares[-1] - shares[0])


def _class_score(network: Network, label: int, windows: Images) -> Floats:
    return network.scores_of_frames(windows)[:, label]


def _mean(curves: list[Floats]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in np.mean(curves, axis=0)) if curves else ()
