"""The figures as pictures: time per decision by way, per explanation, growth with its slopes, and the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Results = Mapping[str, Any]

INK, QUIET, GRID = "#1b1f24", "#8a929c", "#e4e7eb"
BLUE, LIGHT, ORANGE, GREEN, YELLOW = "#0072b2", "#56b4e9", "#e69f00", "#009e73", "#f0e442"
CURVES = {
    "window": ("ONNX Runtime, whole window", QUIET, "s"),
    "whycam": ("whycam, fp32", BLUE, "o"),
    "whycam-int8": ("whycam, INT8", GREEN, "D"),
}
WAYS = {
    "keras": ("Keras, GradientTape", QUIET),
    "compiled": ("Keras, batched and compiled", "#c3c9d0"),
    "whycam": ("whycam, fp32", BLUE),
    "whycam-int8": ("whycam, INT8", GREEN),
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw what was measured into `folder`; the PNG files written."""
    written = []
    for name, drawn in PICTURES.items():
        if "unavailable" not in results.get(name, {"unavailable": "not asked for"}):
            figure = drawn(results)
            path = folder / f"{name}.png"
            figure.savefig(path)
            written.append(path)
    return written


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def shown(milliseconds: float) -> str:
    """Three figures of it, with its unit."""
    digits = 2 if milliseconds < 10 else 1 if milliseconds < 100 else 0
    return f"{milliseconds:.{digits}f} ms"


def tidy(axes: Axes, title: str) -> None:
    """Give `axes` a title and quiet lines."""
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=INK, labelsize=8.5)
    axes.set_axisbelow(True)


def _milliseconds(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _decisions(results: Results) -> Figure:
    peers = sorted(results["decisions"]["peers"].items(), key=lambda item: -per_window(results, item[1]))
    network = results["network"]
    figure = _figure(8.6, 0.44 * len(peers) + 1.1)
    axes = figure.subplots()
    values = [1000 * per_window(results, each) for _, each in peers]
    colours = [GREEN if name == "whycam-int8" else BLUE if name == "whycam" else "#c3c9d0" for name, _ in peers]
    axes.barh(range(len(peers)), values, color=colours, height=0.68)
    axes.set_yticks(range(len(peers)), [_title(results, each) for _, each in peers])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2.5, max(values) * 4)
    _milliseconds(axes.xaxis)
    for place, (value, (name, each)) in enumerate(zip(values, peers, strict=True)):
        text = shown(value)
        if name != "keras":
            text += f", {each['times_faster_than_keras']:.3g} x"
        axes.text(value * 1.07, place, text, va="center", fontsize=8.5, color=INK)
    axes.set_xlabel("ms per decision, logarithmic", fontsize=9, color=INK)
    axes.grid(axis="x", color=GRID)
    tidy(
        axes,
        f"One decision: {network['frames']} frames of {network['width']} x {network['height']}, "
        f"GRU {network['units']}, {results['machine']['cores']} CPU cores",
    )
    return figure


def _title(results: Results, peer: Mapping[str, Any]) -> str:
    whole = peer["frames"] == results["network"]["frames"]
    return str(peer["title"]) if whole else f"{peer['title']},\nreckoned from {peer['frames']} frames"


def per_window(results: Results, peer: Mapping[str, Any]) -> float:
    """Seconds per decision; where a shorter window was measured, as much longer as the network's has more frames."""
    return float(peer["seconds"]["median"] * results["network"]["frames"] / peer["frames"])


def _explanations(results: Results) -> Figure:
    rows = list(results["explanations"]["explanations"].values())
    figure = _figure(8.6, 0.9 * len(rows) + 1.3)
    axes = figure.subplots()
    height = 0.8 / len(WAYS)
    every = [1000 * each["median"] for row in rows for each in row["seconds"].values()]
    for offset, (way, (title, colour)) in enumerate(WAYS.items()):
        places = [index + offset * height for index, row in enumerate(rows) if way in row["seconds"]]
        values = [1000 * row["seconds"][way]["median"] for row in rows if way in row["seconds"]]
        axes.barh(places, values, height=height * 0.92, color=colour, label=title)
        for place, value in zip(places, values, strict=True):
            axes.text(value * 1.06, place, shown(value), va="center", fontsize=8, color=INK)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(rows))], [_question(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(every) / 2.5, max(every) * 2.5)
    _milliseconds(axes.xaxis)
    axes.set_xlabel("ms per window, logarithmic", fontsize=9, color=INK)
    axes.grid(axis="x", color=GRID)
    figure.legend(fontsize=8.5, frameon=False, loc="outside lower center", ncols=len(WAYS))
    tidy(axes, "One explanation of a window that has just been scored")
    return figure


def _question(row: Mapping[str, Any]) -> str:
    return f"{row['title']},\n{row['layer']}" if row["method"] == "grad-cam" else str(row["title"])


def _growth(results: Results) -> Figure:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes_of = results["growth"]["axes"]
    figure = _figure(9.6, 7.2)
    for axes, each in zip(figure.subplots(2, 2).flat, axes_of.values(), strict=True):
        drawn: list[float] = []
        for name, (title, colour, marker) in CURVES.items():
            curve = each["curves"].get(name)
            if curve is None:
                continue
            median, least, most = (
                [1000 * point[key] for point in curve["seconds"]] for key in ("median", "least", "most")
            )
            drawn += median
            slope = _slope(1000 * curve["seconds_per_unit"])
            label = f"{title}: ~ x^{curve['exponent']:.2f}, {slope} ms per {each['unit']}"
            axes.fill_between(curve["values"], least, most, color=colour, alpha=0.13, linewidth=0)
            axes.plot(curve["values"], median, color=colour, marker=marker, markersize=5, linewidth=1.6, label=label)
            for value, point in ((curve["values"][0], median[0]), (curve["values"][-1], median[-1])):
                axes.annotate(
                    f"{point:.0f}" if point >= 100 else f"{point:.3g}",
                    (value, point),
                    # The lowest curve's figures lie below it, so that curves may come close.
                    xytext=(0, -13 if name == "whycam-int8" else 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                    color=colour,
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        # A decade at least, so that what does not grow looks so; room above for the legend.
        centre = (min(drawn) * max(drawn)) ** 0.5
        axes.set_ylim(min(min(drawn) / 2, centre / 4), max(max(drawn) * 2, centre * 4) * 2)
        axes.xaxis.set_major_locator(FixedLocator(next(iter(each["curves"].values()))["values"]))
        axes.xaxis.set_minor_locator(NullLocator())
        _milliseconds(axes.xaxis)
        _milliseconds(axes.yaxis)
        axes.set_xlabel(each["title"], fontsize=9, color=INK)
        axes.set_ylabel("ms per decision", fontsize=9, color=INK)
        axes.grid(color=GRID)
        axes.legend(fontsize=7.8, frameon=False, loc="upper left")
        tidy(axes, "")
    figure.suptitle(
        "How the cost of a decision grows (both axes logarithmic)", x=0.01, ha="left", fontsize=11, color=INK
    )
    return figure


def _slope(value: float) -> str:
    return "0" if abs(value) < 0.0005 else f"{value:+.2g}"


def _stages(results: Results) -> Figure:
    seconds = results["stages"]["seconds"]
    figure = _figure(8.6, 3.0)
    axes = figure.subplots()
    parts = (
        ("decode", "decode", YELLOW),
        ("resize", "resize", ORANGE),
        ("features", "CNN", BLUE),
        ("step", "head", GREEN),
        ("rest", "the rest of the detector", QUIET),
    )
    for place, (_, each) in enumerate(seconds.items()):
        median = {name: 1000 * figure["median"] for name, figure in each.items()}
        spent = median["resize"] + median["features"] + median["step"]
        median["rest"] = max(0.0, median["decision"] - spent)
        left = 0.0
        for name, title, colour in parts:
            value = median[name]
            axes.barh(place, value, left=left, color=colour, height=0.6, label=title if place == 0 else None)
            if value > 0.06 * 1000 * max(sum(_parts(one)) for one in seconds.values()):
                dark = colour in (BLUE, GREEN, QUIET)
                axes.text(
                    left + value / 2, place, f"{value:.1f}", ha="center", va="center", fontsize=8.5,
                    color="white" if dark else INK,
                )  # fmt: skip
            left += value
        axes.text(left, place, f"  {left:.1f} ms", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(seconds)), [{"fp32": "fp32", "int8": "INT8"}[name] for name in seconds])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms", fontsize=9, color=INK)
    axes.grid(axis="x", color=GRID)
    figure.legend(fontsize=8.5, frameon=False, loc="outside lower center", ncols=3)
    tidy(axes, "Where a decision's time goes, from a frame of 640 x 360")
    return figure


def _parts(each: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(each[name]["median"] for name in ("decode", "decision"))


PICTURES: dict[str, Callable[[Results], Figure]] = {
    "decisions": _decisions,
    "explanations": _explanations,
    "growth": _growth,
    "stages": _stages,
}
