"""The report on thresholds: what was found, on how much, and what it does not promise."""

from __future__ import annotations

import math

import numpy as np

from whycam.detect.temperature import tempered
from whycam_calibration.report import Fact, Report, Section, Table
from whycam_calibration.thresholds.caveats import caveats_of
from whycam_calibration.thresholds.choice import Point, Trial
from whycam_calibration.thresholds.figures import figures_of
from whycam_calibration.thresholds.pictures import (
    delay_picture,
    ranking_picture,
    rates_picture,
    reliability_picture,
    timeline_picture,
)
from whycam_calibration.thresholds.ranking import by_clips, by_windows
from whycam_calibration.thresholds.rates import Rate
from whycam_calibration.thresholds.run import Calibration
from whycam_calibration.thresholds.units import hours_text, number_text, rate_text


def report_of(made: Calibration) -> Report:
    """All that a person should know, and the same figures for JSON."""
    manifest, material = made.bundle.manifest, made.material
    sections = [_points(made), _alarms(made)]
    if made.examples is not None:
        sections += [_detection(made), _temperature(made), _ranking(made)]
    pieces = f"{len(material.normal)} videos" if material.footage else f"{len(material.normal)} clips"
    return Report(
        kind="thresholds",
        title=f"Thresholds of {manifest.name} {manifest.version}",
        lead=(
            f"Asked for: {rate_text(made.options.target)}, all classes of one camera together. Chosen on "
            f"{hours_text(made.chosen_on.hours)} of normal footage, checked on {hours_text(made.checked_all.hours)} "
            f"that were held back ({pieces}), and on {len(material.clips)} labelled clips; precision "
            f"{made.options.precision}."
        ),
        facts=_facts(made),
        sections=tuple(sections),
        warnings=tuple(caveats_of(made)),
        figures=figures_of(made),
    )


def _facts(made: Calibration) -> tuple[Fact, ...]:
    words = {"promised": "promised", "open": "not promised", "broken": "broken"}
    facts = [
        Fact(words[made.verdict], rate_text(made.options.target)),
        Fact(f"{made.checked_all.alarms} in {hours_text(made.checked_all.hours)}", "false alarms on held-back footage"),
    ]
    found = [point.chosen.detection for point in made.points if point.chosen.detection is not None]
    events = sum(one.events for one in found)
    if events:
        delays = [delay for one in found for delay in one.delays]
        facts.append(Fact(f"{len(delays)} of {events}", "labelled events detected"))
        facts.append(Fact(f"{np.median(delays):.2g} s" if delays else "–", "median delay"))
    facts.append(Fact(f"{made.temperature.value:g}", "temperature"))
    return tuple(facts)


def _points(made: Calibration) -> Section:
    old = made.bundle.manifest.thresholds
    rows = [
        (
            point.label,
            f"{point.chosen.rules.raise_at:.6g}",
            f"{old[point.label]:.6g}",
            f"{point.chosen.rules.clear_at:.4g}",
            f"{point.chosen.rules.minimum_seconds:g} s",
            "–" if point.chosen.highest is None else f"{point.chosen.highest:.6f}",
            "with margin" if point.chosen.allowed is None else f"at most {point.chosen.allowed}",
            str(point.chosen.rate.alarms),
        )
        for point in made.points
    ]
    heads = ("class", "raise", "before", "clear", "must hold", "highest normal score", "alarms allowed", "raised")
    tried = [_trial_row(point, trial) for point in made.points for trial in point.tried if len(point.tried) > 1]
    tables = [Table(heads, tuple(rows))]
    if tried:
        columns = ("class", "must hold", "raise", "false alarms", "detected", "median delay", "")
        tables.append(Table(columns, tuple(tried), "Minimum durations that were tried"))
    return Section(
        "Operating points",
        "The raise threshold is the lowest that keeps to this class's part of the target on the footage it was "
        "chosen on, counted as episodes by the service's own rules, and that this footage reaches for at most 5 % of "
        "the time. Where it is too short for a bound, it is the highest score that normal footage held, its odds "
        "times 2.7, and 0.5 at least.",
        tuple(tables),
        (rates_picture(made),),
    )


def _trial_row(point: Point, trial: Trial) -> tuple[str, ...]:
    found = trial.detection
    return (
        point.label,
        f"{trial.rules.minimum_seconds:g} s",
        f"{trial.rules.raise_at:.6g}",
        str(trial.rate.alarms),
        "–" if found is None else f"{len(found.delays)} of {found.events}",
        "–" if found is None else _seconds(found.delay(0.5)),
        "chosen" if trial is point.chosen else "",
    )


def _alarms(made: Calibration) -> Section:
    rows = [_rate_row("all, where chosen", made.chosen_on), _rate_row("all, held back", made.checked_all)]
    rows += [_rate_row(f"{label}, held back", rate) for label, rate in made.checked.items()]
    return Section(
        "False alarms",
        "Episodes in normal footage, with the exact 95 % interval of a Poisson count. What was held back was not "
        "used to choose, so its interval is the one to believe.",
        (Table(("classes", "alarms", "scored", "per hour", "95 % from", "to"), tuple(rows)),),
        (timeline_picture(made),),
    )


def _rate_row(name: str, rate: Rate) -> tuple[str, ...]:
    low, high = rate.interval
    return (
        name,
        str(rate.alarms),
        hours_text(rate.hours),
        number_text(rate.per_hour),
        number_text(low),
        number_text(high),
    )


def _detection(made: Calibration) -> Section:
    rows: list[tuple[str, ...]] = []
    for point in made.points:
        found = point.chosen.detection
        if found is None:
            rows.append((point.label, "0", "–", "–", "–", "–", "–"))
            continue
        rows.append(
            (
                point.label,
                str(found.events),
                f"{len(found.delays)} ({found.rate:.0%})",
                _seconds(found.delay(0.5)),
                _seconds(found.delay(0.9)),
                str(found.timed),
                str(found.held),
            )
        )
    columns = ("class", "events", "detected", "median delay", "90 % within", "beginning known", "clips held")
    picture = delay_picture(made)
    return Section(
        "Detection and delay",
        "Of the labelled events, at the operating points above. The delay runs from the event's beginning in "
        "ranges.csv, else from the clip's, and then holds the time that fills a window.",
        (Table(columns, tuple(rows)),),
        (picture,) if picture is not None else (),
    )


def _temperature(made: Calibration) -> Section:
    found = made.temperature
    text = (
        f"Logits are divided by {found.value:g}, fitted on {found.windows} windows of {found.clips} clips from "
        f"{found.sources} sources, and measured in {found.folds} folds of sources that it was not fitted on."
        if found.reason is None
        else f"The temperature stays {found.value:g}: {found.reason}."
    )
    if found.before is None or found.after is None:
        return Section("Temperature", text)
    rows = [
        (name, f"{one.error:.4f}", f"{one.loss:.4f}", str(found.windows))
        for name, one in (("as exported", found.before), ("with temperature, unseen sources", found.after))
    ]
    columns = ("scores", "expected calibration error", "negative log likelihood", "windows")
    return Section("Temperature", text, (Table(columns, tuple(rows)),), (reliability_picture(found),))


def _ranking(made: Calibration) -> Section:
    examples, manifest = made.examples, made.bundle.manifest
    assert examples is not None
    scores = np.asarray(tempered(examples.logits, examples.own_scores, made.temperature.value), np.float64)
    rows: list[tuple[str, ...]] = []
    for label in manifest.anomalies:
        column = manifest.classes.index(label)
        for what, found in (
            ("windows", by_windows(examples, scores, column)),
            ("clips", by_clips(examples, scores, column)),
        ):
            if found is not None:
                counts = str(found.positives), str(found.negatives)
                rows.append((f"{label}, {what}", f"{found.roc_auc:.4f}", f"{found.average_precision:.4f}", *counts))
            else:
                rows.append((f"{label}, {what}", "–", "–", "–", "–"))
    picture = ranking_picture(made)
    return Section(
        "How well scores tell the classes apart",
        "Whatever the threshold: the area under the ROC curve, 0.5 is guessing, and the average precision.",
        (Table(("class", "ROC AUC", "average precision", "of the class", "others"), tuple(rows)),),
        (picture,) if picture is not None else (),
    )


def _seconds(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f} s"
