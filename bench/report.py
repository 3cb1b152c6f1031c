"""The figures as a page of Markdown, and the goals as a table on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from bench.goals import Verdict
from bench.pictures import shown
from bench.stages import STAGES

Results = Mapping[str, Any]
HOLDS = {True: "yes", False: "**no**", None: "-"}


def goals_table(verdicts: Iterable[Verdict]) -> Table:
    """The goals for the screen."""
    table = Table(title="goals")
    for column in ("figure", "goal", "measured", "holds"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for each in verdicts:
        colour = {True: "green", False: "red", None: "dim"}[each.holds]
        holds = {True: "yes", False: "no", None: "-"}[each.holds]
        table.add_row(escape(each.figure), each.goal, each.measured, f"[{colour}]{holds}[/]")
    return table


def write_report(results: Results, verdicts: Sequence[Verdict], pictures: Sequence[Path], path: Path) -> None:
    """Write the page at `path`; its pictures lie beside it."""
    machine, network = results["machine"], results["network"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    blocks = [
        "# Figures",
        "Written by `make bench`; [what they mean](README.md).",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; {versions}. "
        f"The paper's network{' made small, a smoke test' if results['quick'] else ''}: {network['frames']} frames of "
        f"{network['width']} x {network['height']}, VGG19, {network['features']} features, GRU {network['units']}. "
        f"Medians; {results['seconds']} s in all.",
        "## Goals",
        _table(
            ("figure", "goal", "measured", "holds"),
            [(each.figure, each.goal, each.measured, HOLDS[each.holds]) for each in verdicts],
        ),
    ]
    drawn = {picture.stem: picture.name for picture in pictures}
    for name, (title, section) in SECTIONS.items():
        if name in results:
            blocks.append(f"## {title}")
            if "unavailable" in results[name]:
                blocks.append(f"Not measured: {results[name]['unavailable']}.")
                continue
            if name in drawn:
                blocks.append(f"![{title}]({drawn[name]})")
            blocks += section(results)
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _decisions(results: Results) -> list[str]:
    found = results["decisions"]
    rows = []
    for each in found["peers"].values():
        difference = each["difference_from_keras"]
        converted = each["conversion_seconds"]
        rows.append(
            (
                each["title"] if each["frames"] == results["network"]["frames"] else f"{each['title']} (note)",
                *_times(each["seconds"]),
                f"{each['times_faster_than_keras']:.1f}",
                "-" if difference is None else f"{difference:.1e}",
                "-" if converted is None else f"{converted:.0f} s",
            )
        )
    blocks = [
        _table(("way", "median", "least", "most", "times faster than Keras", "scores differ by", "conversion"), rows)
    ]
    blocks += [
        f"Note: {each['title']} was measured on {each['frames']} frames, for conversion grows with each; how much "
        "faster it is counts the frames."
        for each in found["peers"].values()
        if each["frames"] != results["network"]["frames"]
    ]
    blocks += [f"Left out: {name}, {reason}." for name, reason in found["left_out"].items()]
    blocks += [f"**Disagrees**: {line}." for line in found["disagree"]]
    return blocks


def _explanations(results: Results) -> list[str]:
    rows = []
    for each in results["explanations"]["explanations"].values():
        times = [_milliseconds(each["seconds"].get(way)) for way in ("keras", "compiled", "whycam", "whycam-int8")]
        ratios = [f"{each['times_faster_than'][way]:.1f}" for way in ("keras", "compiled")]
        title = f"{each['title']}, {each['layer']}" if each["method"] == "grad-cam" else each["title"]
        rows.append((title, *times, *ratios, f"{each['error']['median']:.1e}"))
    head = ("explanation", "Keras", "compiled", "whycam", "whycam INT8", "times Keras", "times compiled", "differs by")
    disagree = [f"**Disagrees**: {line}." for line in results["explanations"]["disagree"]]
    return [_table(head, rows), *disagree]


def _pipeline(results: Results) -> list[str]:
    found = results["pipeline"]
    rate, seconds = found["decisions_per_second"], found["seconds_per_frame"]
    rows = [
        (
            precision,
            *(f"{rate[f'{way} {precision}']:.1f}" for way in ("pipeline", "memory", "bare", "batches")),
            *(f"{found[share][precision] * 100:.1f} %" for share in ("share_of_bare", "share_of_batches")),
        )
        for precision in ("fp32", "int8")
    ]
    head = (
        "precision",
        "from the file, per second",
        "from memory",
        "bare session, one by one",
        "in batches",
        "file / bare",
        "file / batches",
    )
    return [_table(head, rows), f"Decoding and resizing alone: {_milliseconds(seconds['decode'])} per frame."]


def _stages(results: Results) -> list[str]:
    found = results["stages"]["seconds"]
    rows = [(title, *(_milliseconds(found[one].get(name)) for one in found)) for name, title in STAGES.items()]
    return [_table(("stage", *found), rows)]


def _heads(results: Results) -> list[str]:
    titles = {"flatten": "flattened", "average": "averaged"}
    rows = [
        (
            titles[pooling],
            _milliseconds(each["step"]),
            _milliseconds(each["step_int8"]),
            _milliseconds(each["head"]),
            f"{each['times_faster']:.1f}",
            f"{each['largest_difference']:.1e}",
        )
        for pooling, each in results["heads"].items()
    ]
    return [
        _table(
            ("features", "sliding window", "the same, INT8", "window run again", "times faster", "scores differ by"),
            rows,
        )
    ]


def _growth(results: Results) -> list[str]:
    blocks = []
    for each in results["growth"]["axes"].values():
        values = next(iter(each["curves"].values()))["values"]
        rows = [
            (
                name,
                *(_milliseconds(point) for point in curve["seconds"]),
                f"{curve['exponent']:.2f}",
                f"{1000 * curve['seconds_per_unit']:.2g} ms",
            )
            for name, curve in each["curves"].items()
        ]
        blocks.append(_table((each["title"], *map(str, values), "exponent", "slope"), rows))
    return blocks


def _limits(results: Results) -> list[str]:
    found = results["limits"]
    rows = [
        (
            precision,
            f"{found['peak'][precision]['operations_per_second'] / 1e9:.0f}",
            found["peak"][precision]["by"],
            f"{found['whycam'][precision]['operations_per_second'] / 1e9:.0f}",
            f"{found['whycam'][precision]['share_of_peak'] * 100:.0f} %",
        )
        for precision in ("fp32", "int8")
    ]
    memory = found["memory"]
    return [
        _table(("precision", "the machine's peak, Gop/s", "reached by", "whycam's CNN, Gop/s", "share"), rows),
        f"A frame takes {found['operations_of_a_frame'] / 1e9:.2f} Gop. Memory is read at "
        f"{memory['bytes_per_second'] / 1e9:.1f} GB/s by sums in numpy, or faster by other means; "
        f"the sliding-window head reads its weights at {memory['step_bytes_per_second'] / 1e9:.1f} GB/s, "
        f"{memory['step_share'] * 100:.0f} % of that.",
    ]


def _motion(results: Results) -> list[str]:
    found = results["motion"]
    rows = [
        (
            precision,
            *(_milliseconds(found["seconds_per_decision"][f"{precision} {way}"]) for way in ("plain", "gated")),
            f"{found['times_cheaper'][precision]:.1f}",
        )
        for precision in ("fp32", "int8")
    ]
    missed = ", ".join(found["missed"]) or "none"
    return [
        _table(("still scene", "without the gate", "with it", "times cheaper"), rows),
        f"Anomalies of generated scenes: {found['anomalies']}; missed: {missed}.",
    ]


def _service(results: Results) -> list[str]:
    rows = [
        (
            count,
            f"{each['resident_bytes'] / 1e6:.0f} MB",
            f"{each['decisions_per_second']:.1f}",
            f"{each['decisions_per_second_and_camera']:.2f}",
            f"{each['worst_below_mean'] * 100:.1f} %",
        )
        for count, each in results["service"]["cameras"].items()
    ]
    head = ("cameras", "resident memory", "decisions per second", "per camera", "worst below the mean")
    return [_table(head, rows)]


def _start(results: Results) -> list[str]:
    found = results["start"]
    rows = [
        (
            each["title"],
            f"{each['seconds']['median']:.2f} s",
            f"{each['resident_bytes']['median'] / 1e6:.0f} MB",
            f"{each['most_resident_bytes']['median'] / 1e6:.0f} MB",
        )
        for each in sorted(found["peers"].values(), key=lambda each: -each["seconds"]["median"])
    ]
    head = ("a fresh process", "to the first decision", "resident then", "at most")
    left_out = [f"Left out: {name}, {reason}." for name, reason in found["left_out"].items()]
    return [_table(head, rows), *left_out, f"`whycam --help`: {found['help_seconds']['median']:.2f} s."]


def _sizes(results: Results) -> list[str]:
    rows = [
        (each["title"], f"{each['bytes'] / 1e6:.0f} MB" if "bytes" in each else f"not made: {each['unavailable']}")
        for each in results["sizes"]["environments"].values()
    ]
    return [_table(("environment", "on disk"), rows)]


SECTIONS: dict[str, tuple[str, Callable[[Results], list[str]]]] = {
    "decisions": ("Time per decision", _decisions),
    "explanations": ("Time per explanation", _explanations),
    "pipeline": ("From a video file to decisions", _pipeline),
    "stages": ("What the stages cost", _stages),
    "heads": ("Sliding the window, or running it again", _heads),
    "growth": ("Growth", _growth),
    "limits": ("The limit", _limits),
    "motion": ("The motion gate", _motion),
    "service": ("The service", _service),
    "start": ("Cold start and memory", _start),
    "sizes": ("Installed sizes", _sizes),
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _times(figure: Mapping[str, float]) -> list[str]:
    return [_milliseconds({"median": figure[key]}) for key in ("median", "least", "most")]


def _milliseconds(figure: Mapping[str, float] | None) -> str:
    return "-" if figure is None else shown(1000 * figure["median"])
