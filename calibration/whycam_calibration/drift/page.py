"""The report on drift: what is usual, how far from it the limits are, and how the footage lies within them."""

from __future__ import annotations

import numpy as np

from whycam.bundle import Manifest
from whycam.drift import SIGNS
from whycam_calibration.drift.check import Held
from whycam_calibration.drift.fit import FALSE_ALARM_DAYS, Fit
from whycam_calibration.drift.gather import Footage
from whycam_calibration.report import Fact, Picture, Report, Section, Table, picture_of

_FEW = 15.0
"""Independent blocks; below, limits are wide."""


def report_of(manifest: Manifest, footage: Footage, made: Fit, held: Held | None) -> Report:
    """The report on the baseline `made` of `footage`."""
    baseline = made.baseline
    count = len(footage.blocks)
    run = baseline.consecutive
    return Report(
        kind="drift",
        title=f"Drift: what is usual for {manifest.name}",
        lead=f"{count} blocks of {footage.seconds:g} s from {len(footage.runs)} videos, in {baseline.precision}. "
        f"{run} blocks in a row beyond a limit are drift, {run} within them its end.",
        facts=(
            Fact(f"{count * footage.seconds / 60:.1f} min", "of normal footage"),
            Fact(str(count), f"blocks of {footage.seconds:g} s"),
            Fact(f"{run * footage.seconds:.0f} s", "until drift is reported"),
            Fact(
                f"1 in {FALSE_ALARM_DAYS:g} days", "false reports at most, where the footage shows all that is normal"
            ),
            *((Fact(f"{held.beyond} of {held.blocks}", "held-back blocks beyond a limit"),) if held else ()),
        ),
        sections=(
            Section(
                "The signs",
                "Mean and spread are those of a block's mean. A limit is so many spreads from the mean; `reported "
                "outside` is the range that it leaves. Independent: how many blocks without a likeness to their "
                "neighbours would tell as much of the spread.",
                (_signs(made),),
            ),
            Section(
                "The footage within the limits",
                "Each sign's deviation, over its limit: beyond 1 is what chance does not explain. View and scene are "
                "measured against the other blocks.",
                (),
                (_chart(made),),
            ),
        ),
        warnings=tuple(_warnings(footage, made, held)),
        figures={
            "blocks": count,
            "block_seconds": footage.seconds,
            "videos": len(footage.runs),
            "idle_videos": footage.idle,
            "unreadable": footage.unreadable,
            "precision": baseline.precision,
            "consecutive": run,
            "false_alarm_days": FALSE_ALARM_DAYS,
            "alpha": made.alpha,
            "signs": {
                sign.name: {
                    "unit": sign.unit,
                    "mean": float(baseline.mean[index]),
                    "spread": float(baseline.spread[index]),
                    "limit": float(baseline.limit[index]),
                    "correlation": float(made.correlation[index]),
                    "independent_blocks": float(made.worth[index]),
                }
                for index, sign in enumerate(SIGNS)
            },
            "largest": float(_shares(made).max()),
            "held_back": None if held is None else dict(vars(held)),
        },
    )


def _warnings(footage: Footage, made: Fit, held: Held | None) -> list[str]:
    found = [f"left out: {reason}" for reason in footage.unreadable]
    if footage.idle:
        found.append(f"{footage.idle} videos are shorter than a window and a block, and tell nothing")
    few = [(worth, sign.name) for worth, sign in zip(made.worth, SIGNS, strict=True) if worth < _FEW]
    if few:
        least, name = min(few)
        found.append(
            f"the footage changes slowly: of {name}, its {len(footage.blocks)} blocks tell as much as {least:.0f} "
            "independent ones, so only large drifts are told from chance; give more footage, of other hours"
        )
    if held is not None and held.longest >= made.baseline.consecutive:
        found.append(
            "the last third of the footage would be drift to the first two thirds: it shows more than one state of "
            "things, and others may follow; give footage of all that is normal"
        )
    return found


def _signs(made: Fit) -> Table:
    baseline = made.baseline
    rows = []
    for index, sign in enumerate(SIGNS):
        reach = baseline.limit[index] * baseline.spread[index]
        low, high = baseline.mean[index] - reach, baseline.mean[index] + reach
        outside = f"above {high:.2f}" if sign.less is None else f"{low:.2f} to {high:.2f}"
        rows.append(
            (
                sign.name,
                f"{baseline.mean[index]:.3f}",
                f"{baseline.spread[index]:.3f}",
                f"{baseline.limit[index]:.1f}",
                outside,
                f"{made.worth[index]:.0f}",
            )
        )
    return Table(("sign", "mean", "spread", "limit", "reported outside", "independent"), tuple(rows))


def _shares(made: Fit) -> np.ndarray:
    return np.asarray(made.baseline.deviations(made.signs) / made.baseline.limit)


def _chart(made: Fit) -> Picture:
    from matplotlib.figure import Figure

    shares = _shares(made)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.add_subplot()
    seconds = np.arange(1, len(shares) + 1) * made.baseline.seconds / 60
    for sign, column in zip(SIGNS, shares.T, strict=True):
        axes.plot(seconds, column, linewidth=1, marker=".", markersize=4, label=sign.name)
    for level in (-1, 1):
        axes.axhline(level, color="#c81e37", linewidth=1, linestyle="--")
    axes.axhline(0, color="#5b646e", linewidth=0.5)
    axes.set(xlabel="minutes of footage", ylabel="deviation over its limit", ylim=(-1.3, 1.3))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=len(SIGNS), frameon=False, fontsize=9, loc="upper center")
    return picture_of(figure, "The control chart of the footage: a point is a block, the dashed lines are the limits.")
