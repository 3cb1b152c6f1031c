"""The whole evaluation of a bundle's explanations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whycam.bundle import Bundle
from whycam.detect.model import Model
from whycam.errors import InputError
from whycam.explain.target import NORMAL
from whycam_export.evaluation.cases import spread
from whycam_export.evaluation.explaining import questions, time_questions
from whycam_export.evaluation.figures import Tally
from whycam_export.evaluation.gather import Gathered, Progress, gather
from whycam_export.evaluation.network import Network
from whycam_export.evaluation.result import Evaluation, Row
from whycam_export.evaluation.sanity import LIMIT, WINDOWS, check_rows
from whycam_export.evaluation.when import evaluate_when
from whycam_export.evaluation.where import evaluate_where, with_costs

MEMORY = 100
"""Frames before a window from which what is usual is known."""


@dataclass(frozen=True)
class Options:
    """What to evaluate, and how."""

    methods: tuple[str, ...] | None = None
    """Those that say where; None for all that the bundle offers."""
    versus: tuple[str, ...] = (NORMAL,)
    """Contrasts, each with every method that knows a class: `normal`, `none` or a class."""
    references: tuple[str, ...] = ("usual", "none")
    """References, each with every method that asks for one: `none`, or `usual` for what the camera usually shows."""
    windows: int = 2
    """Windows of a clip at most."""
    masks: Path | None = None
    model: Path | None = None
    """The Keras model that the bundle was exported from: for the sanity checks, and for the paper's recipe."""
    when: bool = True
    """Whether to evaluate the methods that say when, too."""
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
    asked = questions(model, options.methods, options.versus, options.references)
    asked_when = time_questions(model, options.versus, options.references)
    if options.model is not None:
        # Now, not after minutes of work; and Keras, which this opens, takes seconds to load.
        from whycam_export.evaluation.rewriting import check_origin

        check_origin(options.model, model.manifest)
    network = Network(model)
    memory = MEMORY if "usual" in options.references else 0
    found = gather(clips, network, options.windows, options.masks, memory, progress)
    context = Tally()
    where, examples = evaluate_where(found, network, asked, asked_when, options.seed, context, progress)
    if options.model is not None:
        where = _checked(where, found, network, options.model, options.seed, progress)
    when = evaluate_when(found, network, asked_when, options.seed, context, progress) if options.when else []
    if options.model is not None:
        where, when = _with_paper(where, when, found, network, options, progress)
    if options.cost:
        # Where most came before, what is usual is known if it is known anywhere.
        longest = max(found.shown, key=lambda case: len(case.before))
        where = with_costs(where, longest, network, context, progress)
    return Evaluation(
        bundle=model.manifest.name,
        version=model.manifest.version,
        cam_layers=tuple(cam.name for cam in model.manifest.cams),
        clips=found.clips,
        windows=_counts(found),
        without=found.without,
        unread=found.unread,
        options={
            "clips": str(clips),
            "masks": None if options.masks is None else str(options.masks),
            "model": None if options.model is None else str(options.model),
            "methods": list(dict.fromkeys(question.method for question in asked)),
            "versus": list(options.versus),
            "references": list(options.references),
            "windows": options.windows,
            "seed": options.seed,
            "sanity_limit": LIMIT,
        },
        where=tuple(where),
        when=tuple(when),
        context=context.figures(),
        examples=tuple(examples),
    )


def _checked(
    rows: list[Row], found: Gathered, network: Network, model: Path, seed: int, progress: Progress
) -> list[Row]:
    # Keras takes seconds to load, and only this needs it.
    from whycam_export.evaluation.shuffling import STAGES, shuffled_bundles

    cases = [found.shown[int(index)] for index in spread(np.arange(len(found.shown)), WINDOWS)]
    bundles = shuffled_bundles(model, network.model.manifest, seed)
    return check_rows(rows, cases, network, bundles, STAGES, progress)


def _with_paper(
    where: list[Row], when: list[Row], found: Gathered, network: Network, options: Options, progress: Progress
) -> tuple[list[Row], list[Row]]:
    from whycam_export.evaluation.paper import evaluate_paper

    assert options.model is not None
    more_where, more_when = evaluate_paper(found, network, options.model, options.seed, options.when, progress)
    return where + more_where, when + more_when


def _counts(found: Gathered) -> dict[str, int]:
    labels = [case.label for case in found.shown]
    kinds = {"shown": len(found.shown), "mixed": len(found.mixed), "moved": len(found.moved)}
    return {**kinds, **{f"shown, {label}": labels.count(label) for label in sorted(set(labels))}}
