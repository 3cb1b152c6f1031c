"""What a calibration of the precision reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from whycam_calibration.precision.candidate import Candidate
from whycam_calibration.precision.footage import HELD_BACK
from whycam_calibration.precision.ground import Ground
from whycam_calibration.precision.int8 import CPU
from whycam_calibration.precision.options import Options
from whycam_calibration.precision.pictures import error_bars, heat_map_pairs, score_scatter
from whycam_calibration.precision.speed import ROUNDS, Speed
from whycam_calibration.report import Fact, Report, Section, Table

_TITLES = {"int8": "INT8", "fp16": "FP16"}


def report_of(
    ground: Ground, options: Options, found: Sequence[Candidate], speeds: Mapping[str, Speed], warnings: Sequence[str]
) -> Report:
    """The report on the precisions `found`, the first of which names it."""
    first = found[0]
    # What a machine like this one will run.
    here = found[-1]
    figures = here.figures
    facts = [Fact(f"{speeds[here.precision].ratio:.1f} x", f"the speed of fp32 ({here.precision}, one frame, CPU)")]
    facts.append(Fact(f"{figures.agreement:.1%}", "labels as fp32's"))
    facts.append(Fact(f"{figures.score_drift:.3f}", "score drift, 95th percentile"))
    if figures.heatmap_correlation is not None:
        facts.append(Fact(f"{figures.heatmap_correlation:.3f}", "correlation of heat maps, median"))
    facts.append(Fact(f"{len(first.content) / 1e6:.1f} MB", f"file, fp32: {_size(ground) / 1e6:.1f} MB"))
    count = len(ground.held.windows)
    return Report(
        kind=first.precision,
        title=f"{_TITLES[first.precision]} of {ground.manifest.name} {ground.manifest.version}",
        lead=f"Compared with fp32 on {count} windows that it was not made from (kept apart by {ground.footage.by}).",
        facts=tuple(facts),
        sections=(
            _against_fp32(options, found),
            _speed(ground, found, speeds),
            _layers(ground, found),
            Section("Scores", "Each window's scores.", pictures=(score_scatter(ground, found),)),
            *_heat_maps(ground, here),
            _footage(ground, options),
        ),
        warnings=tuple(warnings),
        figures=_figures(ground, options, found, speeds),
    )


def _against_fp32(options: Options, found: Sequence[Candidate]) -> Section:
    limits = options.limits
    rows = [
        (
            "score drift, 95th percentile",
            f"≤ {limits.max_score_drift:g}",
            *(f"{c.figures.score_drift:.4f}" for c in found),
        ),
        ("score drift, largest", "", *(f"{c.figures.score_drift_max:.4f}" for c in found)),
        ("labels that agree", f"≥ {limits.min_agreement:.1%}", *(f"{c.figures.agreement:.1%}" for c in found)),
        ("windows that alert in one only", "", *(str(c.figures.flipped) for c in found)),
        (
            "correlation of heat maps, median",
            f"≥ {limits.min_heatmap_correlation:g}",
            *(_or_none(c.figures.heatmap_correlation, ".4f") for c in found),
        ),
        ("hottest point in fp32's hottest tenth", "", *(_or_none(c.figures.heatmap_peak, ".1%") for c in found)),
    ]
    return Section(
        "Against fp32",
        "Drift is the largest change of a window's scores.",
        (Table(("", "limit", *(each.precision for each in found)), tuple(rows)),),
    )


def _speed(ground: Ground, found: Sequence[Candidate], speeds: Mapping[str, Speed]) -> Section:
    sizes = {"fp32": _size(ground)} | {each.precision: len(each.content) for each in found}
    rows = tuple(
        (name, f"{1000 * speed.seconds:.1f}", f"{speed.ratio:.2f}", f"{sizes[name] / 1e6:.1f}")
        for name, speed in speeds.items()
    )
    text = f"One frame on the CPU of this machine, in turn, medians of {ROUNDS} rounds."
    if found[-1].step is not None:
        text += " The sliding window's step is in INT8 too; scores and labels are with it."
    if found[-1].precision != CPU.precision and found[0].precision == "int8":
        text += " A form of its own for the CPU was not faster here, or not near enough to fp32."
    return Section("Speed", text, (Table(("precision", "ms", "times fp32's speed", "MB"), rows),))


def _layers(ground: Ground, found: Sequence[Candidate]) -> Section:
    if found[0].precision == "fp16":
        reasons = found[0].reasons
        return Section(
            "In float32",
            "Nodes that half precision is not safe for." if reasons else "No node had to stay in float32.",
            (Table(("node", "why"), tuple(reasons.items())),) if reasons else (),
        )
    rows = tuple(
        (
            layer.name,
            f"{layer.weights:,}",
            *(f"{each.errors[layer.node]:.4f}{' kept' if layer.name in each.higher else ''}" for each in found),
        )
        for layer in ground.network.layers
    )
    return Section(
        "Layers",
        "Error of the features or maps where this layer alone is INT8, over their norm, worst of the frames tried; "
        "what is kept stays in float32.",
        (Table(("layer", "weights", *(each.precision for each in found)), rows),),
        (error_bars(ground, found),),
    )


def _heat_maps(ground: Ground, here: Candidate) -> tuple[Section, ...]:
    pictures = heat_map_pairs(ground, here)
    if not pictures:
        return ()
    return (Section("Heat maps", f"Held-back frames: as filmed, by fp32, by {here.precision}.", pictures=pictures),)


def _footage(ground: Ground, options: Options) -> Section:
    rows = (
        ("frames that ranges come from", f"{len(ground.chosen.images)} of at most {options.images}"),
        ("near duplicates skipped", str(ground.chosen.near)),
        ("clips they come from", str(ground.chosen.clips)),
        ("clips held back", str(len(ground.footage.held_back))),
        ("windows compared", str(len(ground.held.windows))),
        ("windows whose heat maps are compared", str(len(ground.reference.heatmaps))),
        ("kept apart by", ground.footage.by),
        ("clips that could not be read", str(len(ground.chosen.unread | ground.held.unread))),
        ("method", options.method if options.precision != "fp16" else "half precision"),
    )
    return Section("Footage and options", f"About {HELD_BACK:.0%} are held back.", (Table(("", ""), rows),))


def _figures(
    ground: Ground, options: Options, found: Sequence[Candidate], speeds: Mapping[str, Speed]
) -> dict[str, object]:
    return {
        "precision": options.precision,
        "method": options.method,
        "limits": asdict(options.limits),
        "images": len(ground.chosen.images),
        "split_by": ground.footage.by,
        "unread": ground.chosen.unread | ground.held.unread,
        "speed": {name: asdict(speed) for name, speed in speeds.items()},
        "precisions": {
            each.precision: {
                **asdict(each.figures),
                "bytes": len(each.content),
                "step": each.step is not None,
                "higher": each.higher,
                "reasons": each.reasons,
                "layers": {
                    layer.name: each.errors[layer.node] for layer in ground.network.layers if layer.node in each.errors
                },
                "scores": [[round(float(score), 6) for score in scores] for scores in each.seen.scores],
            }
            for each in found
        },
        "scores": {"fp32": [[round(float(score), 6) for score in scores] for scores in ground.reference.scores]},
    }


def _size(ground: Ground) -> int:
    return ground.manifest.files[ground.manifest.precisions["fp32"]].bytes


def _or_none(value: float | None, form: str) -> str:
    return "none" if value is None else format(value, form)
