"""Rates to expect on Jetsons, on paper: `python -m bench.expected`. Estimates, not measurements.

What the graphs of a bundle multiply and move is counted from the graphs; a layer takes as long as its arithmetic at the
GPU's published peak, or its data at the memory's, whichever is longer (the roofline: Williams, Waterman and Patterson,
2009). How much of that rate a GPU reaches is taken from networks whose rates on Jetsons are published.

`--count` builds the networks with random weights, which takes minutes, and writes what was counted to expected.json.
Without it, docs/explanation/jetson.md and its picture are written anew from that file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.jetsons import DEVICES, PUBLISHED
from bench.pictures import BLUE, GREEN, GRID, INK, ORANGE, QUIET, YELLOW, tidy
from bench.pictures import LIGHT as SKY
from bench.roofline import (
    BYTES,
    COUNTS,
    LARGE,
    LIGHT,
    NETWORKS,
    PAPER,
    Network,
    counted,
    counts,
    memory,
    rate_at_roof,
    rates,
    share,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "explanation" / "jetson.md"
PICTURE = DOCS / "images" / "jetson.png"
COLOURS = (QUIET, YELLOW, SKY, BLUE, GREEN, ORANGE)


def main() -> None:
    """Count, where that is asked for, and write the page's tables and picture."""
    parser = argparse.ArgumentParser(prog="bench.expected", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", action="store_true", help="build the networks and count them anew")
    options = parser.parse_args()
    if options.count:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        found = {network.title: asdict(counted(network)) for network in NETWORKS}
        COUNTS.write_text(written(found), encoding="utf-8")
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    drawn().savefig(PICTURE)


def written(found: Mapping[str, Any]) -> str:
    """As JSON, a layer a line."""
    text = json.dumps(found, indent=1)
    return re.sub(r"\{\s+(\"operator\"[^}]*?)\s+\}", lambda match: f"{{{' '.join(match[1].split())}}}", text) + "\n"


def renewed(page: str) -> str:
    """`page` with its tables, each between two marks, written anew."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: written by bench/expected.py -->\n", f"<!-- {name}: end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{PAGE}: no place for {name}")
        page = f"{before}{begin}\n{table()}\n\n{end}{after}"
    return page


def _counts_table() -> str:
    rows = [
        (
            network.title,
            f"`{name}`",
            f"{graph.products / 1e9:.3f}",
            f"{sum(layer.weights for layer in graph.layers) / 1e6:.1f}",
            f"{sum(layer.activations for layer in graph.layers) / 1e6:.2f}",
            f"{len(graph.layers)}",
            f"{graph.nodes}",
        )
        for network in NETWORKS
        for name, graph in counts()[network.title].graphs.items()
    ]
    head = ("network", "graph", "multiply-adds, 10^9", "weights read, 10^6", "activations, 10^6", "layers", "nodes")
    return _table("llrrrrr", head, rows)


def _devices_table() -> str:
    rows = [
        (
            each.name,
            f"{each.generation}, {each.cores} x {each.clock / 1e6:.0f} MHz",
            *(f"{each.peak[name] / 1e12:.3g}" if name in each.peak else "-" for name in BYTES),
            f"{each.memory // 2**30} GB",
            f"{each.bandwidth / 1e9:.4g}",
            each.published,
            each.seen,
        )
        for each in dict.fromkeys((*DEVICES, *(run.device for run in PUBLISHED)))
    ]
    head = ("Jetson", "GPU", "fp32", "fp16", "INT8", "memory", "GB/s", "NVIDIA's figure", "read in")
    return _table("llrrrrrll", head, rows)


def _published_table() -> str:
    rows = []
    for run in PUBLISHED:
        roof = rate_at_roof(run)
        others = [
            share(other)
            for other in PUBLISHED
            if other is not run and (other.network, other.device.generation) == (run.network, run.device.generation)
        ]
        rows.append(
            (
                run.network,
                run.device.name,
                _precision(run.precision),
                _short(run.rate, 3),
                _short(roof, 3),
                f"{100 * share(run):.0f} %",
                _range(min(others) * roof, max(others) * roof),
                run.source,
            )
        )
    head = ("network", "Jetson", "", "published, /s", "roof, /s", "share", "from the other runs, /s", "source")
    return _table("lllrrrrl", head, rows)


def _rates_table(network: Network) -> str:
    rows = [
        (
            device.name,
            _precision(precision),
            *(_range(each.least, each.most) for each in rates(network, device, precision).values()),
        )
        for device in DEVICES
        for precision in ("fp16", "int8")
        if precision in device.peak
    ]
    head = ("Jetson", "CNN in", "frames", "decisions", "Grad-CAM, newest frame", "Grad-CAM, window")
    return _table("llrrrr", head, rows)


def _memory_table() -> str:
    rows = [
        (network.title, _precision(precision), *(f"{each / 1e6:.0f} MB" for each in memory(network, precision)))
        for network in NETWORKS
        for precision in ("fp16", "int8")
    ]
    return _table("llrr", ("network", "CNN in", "to watch", "to explain, besides"), rows)


def drawn() -> Figure:
    """The roofs in fp16 with what the graphs ask of them, and the decisions per second to expect."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.0), dpi=130, layout="constrained")
    roofs, bars = figure.subplots(1, 2)
    intensities = [0.1 * 10 ** (step / 20) for step in range(101)]
    for device, colour in zip(DEVICES, COLOURS, strict=True):
        roof = [min(device.peak["fp16"], each * device.bandwidth) / 1e9 for each in intensities]
        roofs.plot(intensities, roof, color=colour, linewidth=1.6, label=device.name)
    for place, (network, name) in enumerate(((PAPER, "step"), (LIGHT, "features"), (PAPER, "features"))):
        layers = counts()[network.title].graphs[name].layers
        read = BYTES["fp16"] * sum(layer.weights + layer.activations for layer in layers)
        intensity = 2 * sum(layer.products for layer in layers) / read
        roofs.axvline(intensity, color=QUIET, linewidth=0.9, linestyle=":")
        text = "head's step" if name == "step" else network.backbone
        roofs.text(intensity * 1.07, 10 ** (0.85 + 0.25 * place), text, fontsize=8, color=INK)
    roofs.set(xscale="log", yscale="log", xlim=(0.1, 1e4), ylim=(5, 1e6))
    roofs.set_xlabel("operations per byte", fontsize=9, color=INK)
    roofs.set_ylabel("10^9 operations per second, fp16", fontsize=9, color=INK)
    roofs.grid(color=GRID)
    roofs.legend(fontsize=7.5, frameon=False, loc="upper left")
    tidy(roofs, "Published peaks of GPU and memory")
    for place, device in enumerate(DEVICES):
        for shift, precision, colour in ((-0.18, "fp16", BLUE), (0.18, "int8", GREEN)):
            if precision in device.peak:
                found = rates(PAPER, device, precision)["decisions"]
                label = _precision(precision) if device is DEVICES[-1] else None
                width = found.most - found.least
                bars.barh(place + shift, width, left=found.least, height=0.32, color=colour, label=label)
                bars.text(
                    found.most * 1.1, place + shift, _range(found.least, found.most), va="center", fontsize=8, color=INK
                )
    bars.set_yticks(range(len(DEVICES)), [device.name for device in DEVICES])
    bars.invert_yaxis()
    bars.set(xscale="log", xlim=(10, 3e4))
    bars.set_xlabel("decisions per second, one camera at a time", fontsize=9, color=INK)
    bars.grid(axis="x", color=GRID)
    bars.legend(fontsize=8, frameon=False, loc="lower left")
    tidy(bars, f"Estimates: the paper's network, {PAPER.title}")
    return figure


TABLES = {
    "counts": _counts_table,
    "devices": _devices_table,
    "published": _published_table,
    "paper": lambda: _rates_table(PAPER),
    "large": lambda: _rates_table(LARGE),
    "light": lambda: _rates_table(LIGHT),
    "memory": _memory_table,
}


def _table(sides: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; `sides` has an l or r for each column."""
    lines = [head, ["---:" if side == "r" else "---" for side in sides], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _precision(name: str) -> str:
    return name.replace("int", "INT")


def _short(value: float, digits: int = 2) -> str:
    """`value` with so many figures and no exponent."""
    return f"{float(f'{value:.{digits}g}'):g}"


def _range(least: float, most: float) -> str:
    low, high = _short(least), _short(most)
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
