"""One run of all measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import groupby

from whycam import __version__
from whycam.bench.cameras import measure_capacity
from whycam.bench.clip import Clip
from whycam.bench.cold_start import ColdStart, measure_cold_starts
from whycam.bench.machine import this_machine
from whycam.bench.question import default_question
from whycam.bench.report import Measured, Report
from whycam.bench.stages import measure_frames, measure_stages
from whycam.bench.timing import Show
from whycam.bench.variants import Guard, Losses, Variant, startable
from whycam.bundle import Bundle
from whycam.detect import Model
from whycam.errors import WhycamError

ROUNDS = 7
_COLD_STARTS = 3


def measure(
    bundle: Bundle,
    variants: Sequence[Variant],
    clip: Clip,
    show: Show,
    *,
    named: Sequence[str] = (),
    fps: float | None = None,
    rounds: int = ROUNDS,
    threads: int | None = None,
) -> Report:
    """Measure `variants` of `bundle` on this machine with the pictures of `clip`.

    Those that do not run here are left out, unless their providers are `named`. One that fails later is left out too,
    and the others go on. `fps` is the wanted number of decisions per second of a camera, by default the bundle's;
    `threads` those of a run on the CPU, by default one for each core. The models of one provider are open at the same
    time, as their stages are timed in turn; those of two providers are not.

    Raises what stands in the way of one with a named provider, or of all; BundleError for a damaged bundle; WhycamError
    where none could be measured to its end.
    """
    wanted = 1 / bundle.manifest.window.frame_interval if fps is None else fps
    started, left_out = startable(bundle, variants, named, show, threads)
    losses = Losses(left_out)
    cold_starts = measure_cold_starts(bundle, started, clip, min(rounds, _COLD_STARTS), show, losses.guard, threads)
    frames = measure_frames(clip, bundle.manifest.input, rounds, show)
    measured: list[Measured] = []
    for _, group in groupby(cold_starts, key=lambda variant: variant.provider):
        measured += _measure_together(
            bundle, list(group), clip, wanted, rounds, threads, cold_starts, show, losses.guard
        )
    if not measured:
        last = losses.left_out[-1]
        raise WhycamError(f"{last.variant} failed on the way, and no other is left to measure: {last.reason}")
    return Report(
        time=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        whycam=__version__,
        machine=this_machine(),
        manifest=bundle.manifest,
        clip=clip,
        fps=wanted,
        rounds=rounds,
        question=default_question(bundle.manifest),
        frames=frames,
        measured=tuple(measured),
        left_out=losses.left_out,
    )


def _measure_together(
    bundle: Bundle,
    variants: Sequence[Variant],
    clip: Clip,
    fps: float,
    rounds: int,
    threads: int | None,
    cold_starts: Mapping[Variant, ColdStart],
    show: Show,
    guard: Guard,
) -> list[Measured]:
    models: dict[Variant, Model] = {}
    for variant in variants:
        with guard(variant):
            models[variant] = variant.open(bundle, threads)
    stages = measure_stages(models, clip, rounds, show, f"stages on {variants[0].provider}", guard)
    question = default_question(bundle.manifest)
    measured = []
    for variant in stages:
        model = models.pop(variant)
        with guard(variant):
            plain = measure_capacity(model, clip, fps, None, rounds, show, f"cameras, {variant}")
            explained = None
            if question is not None:
                explained = measure_capacity(model, clip, fps, question, rounds, show, f"explained, {variant}")
            measured.append(
                Measured(
                    variant=variant,
                    file=variant.file(bundle),
                    providers=model.providers,
                    threads=model.threads,
                    stages=stages[variant],
                    cameras=plain,
                    cameras_explained=explained,
                    cold_start=cold_starts[variant],
                )
            )
        model.rest(0)
    return measured
