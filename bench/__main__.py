"""All speeds that this project claims, measured side by side in one run: `make bench`.

Parts may be chosen (`--only decisions`), and `--quick` runs all of them on a small network, as a smoke test. Without
either, the figures beside this file are replaced: results.json, results.md and the pictures. A part that fails is
told, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import (
    decisions,
    explanations,
    growth,
    heads,
    limits,
    motion,
    pipeline,
    service,
    sizes,
    stages,
    start,
)
from bench.goals import as_json, judge
from bench.machine import machine
from bench.network import PAPER, SMALL, Network, build
from bench.peers import PEERS
from bench.pictures import draw
from bench.report import goals_table, write_report
from bench.workers import LOG, in_process, line_of

HERE = Path(__file__).resolve().parent
UNFINISHED = LOG.with_name("unfinished.json")
Tell = Callable[[str], None]


def parts(quick: bool) -> dict[str, Callable[[Network, dict[str, Any], Tell], Any]]:
    """The parts of the run, in order; each gets the network, what was measured before it, and whom to tell."""

    def many(full: int, few: int = 2) -> int:
        return few if quick else full

    def left_out(results: dict[str, Any]) -> dict[str, str]:
        converted = {peer.name: "not converted" for peer in PEERS if peer.convert is not None}
        return dict(results.get("decisions", {}).get("left_out", converted))

    return {
        "decisions": lambda network, _, tell: decisions.measure(network, many(12), tell),
        "explanations": lambda network, _, tell: explanations.measure(network, many(4), tell),
        "pipeline": lambda network, _, tell: pipeline.measure(network, many(80, 20), many(4), tell),
        "stages": lambda network, _, tell: stages.measure(network, many(20), tell),
        "heads": lambda network, _, tell: heads.measure(network, many(40), tell),
        "growth": lambda network, _, tell: growth.measure(network, many(15, 3), tell, quick=quick),
        "limits": lambda network, _, tell: limits.measure(network, many(10), tell),
        "motion": lambda network, _, tell: motion.measure(network, many(3), many(5, 1), tell),
        "service": lambda network, _, tell: service.measure(network, (1, 2) if quick else (1, 16), many(16, 5), tell),
        "start": lambda network, results, tell: start.measure(network, many(3, 1), left_out(results), tell),
        "sizes": lambda network, _, tell: sizes.measure(network.folder / "sizes", tell),
    }


def main() -> int:
    """Measure, judge, write; status 1 where a part fails or ways that must agree do not, 0 where goals are missed."""
    names = list(parts(quick=True))
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="PART", choices=names, help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a small network and few rounds: a smoke test")
    parser.add_argument("--seed", type=int, default=0, help="draws weights and frames (default: 0)")
    parser.add_argument("-o", "--output", type=Path, help="folder (default: bench; with --only or --quick build/bench)")
    options = parser.parse_args()
    output = options.output or (Path("build/bench") if options.only or options.quick else HERE)
    output.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    results, failed = run(options.only or names, quick=options.quick, seed=options.seed)
    verdicts = judge(results)
    results["goals"] = as_json(verdicts)
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    pictures = draw(results, output)
    write_report(results, verdicts, pictures, output / "results.md")
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(goals_table(verdicts))
    print(f"wrote {output / 'results.json'}, results.md, {', '.join(path.name for path in pictures)}")
    disagree = [line for part in results.values() if isinstance(part, dict) for line in part.get("disagree", ())]
    for line in disagree:
        print("disagrees:", line)
    for name in failed:
        print(f"{name} failed: {results[name]['unavailable']}; see {LOG}")
    return int(bool(failed) or (bool(disagree) and not options.quick))


def run(names: list[str], *, quick: bool, seed: int) -> tuple[dict[str, Any], list[str]]:
    """The figures of the parts `names`, and which of them failed: they have the reason instead."""
    screen = Console(stderr=True, highlight=False)
    began = time.monotonic()
    shape = SMALL if quick else PAPER
    results: dict[str, Any] = {"quick": quick, "machine": machine()}
    failed: list[str] = []
    columns = (
        TextColumn("{task.fields[part]:<12}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with tempfile.TemporaryDirectory(prefix="whycam-bench-") as folder, Progress(*columns, console=screen) as progress:
        task = progress.add_task("build and export it", total=len(names) + 1, part="network")
        network = in_process(build, Path(folder), shape, seed)
        results["network"] = {
            "frames": shape.frames,
            "height": shape.side,
            "width": shape.side,
            "units": shape.units,
            "features": network.features,
        }
        for name, part in parts(quick).items():
            if name not in names:
                continue
            progress.update(task, advance=1, part=name, description="")
            before = time.monotonic()
            try:
                results[name] = part(network, results, lambda text: progress.update(task, description=text))
            except Exception as error:  # what the others have to say is not lost with it
                results[name] = {"unavailable": line_of(error)}
                failed.append(name)
            # What a run that is cut off has measured is not lost.
            UNFINISHED.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            if not screen.is_terminal:
                screen.print(f"{name}: {time.monotonic() - before:.0f} s")
        progress.update(task, advance=1, description="")
    results["seconds"] = round(time.monotonic() - began)
    return results, failed


if __name__ == "__main__":
    sys.exit(main())
