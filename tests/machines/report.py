"""The page docs/reference/machines.md: a section for each kind of machine, each written by its own run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from tests.machines.machine import KVM, qemu_version
from tests.machines.rows import Row


@dataclass(frozen=True)
class Result:
    """A part's last run."""

    made_from: str
    """Names the sources of image and kits."""
    seconds: float
    rows: list[Row]
    load: float = field(default_factory=lambda: round(os.getloadavg()[2], 1))
    """Processes that wanted to run, on average over a quarter of an hour."""
    day: str = field(default_factory=lambda: datetime.now(timezone.utc).date().isoformat())


def keep_part(cache: Path, name: str, result: Result) -> None:
    """Write down a part's run for the table."""
    path = cache / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=1))


def read_part(cache: Path, name: str, made_from: str) -> Result | None:
    """A part's last run; None where there is none of the sources `made_from`."""
    path = cache / "results" / f"{name}.json"
    if not path.exists():
        return None
    told = json.loads(path.read_text())
    if told["made_from"] != made_from:
        return None
    return Result(**{**told, "rows": [Row(**row) for row in told["rows"]]})


def vm_section(parts: Mapping[str, Result | None], how: tuple[str, ...]) -> str:
    """The section of the virtual machine: what came of each part, None where it has not run."""
    results = [result for result in parts.values() if result is not None]
    if not results:
        return "Not run yet.\n"
    rows = [row for result in results for row in result.rows]
    kind = "KVM" if how == KVM else "software emulation (no KVM that boots a kernel here)"
    minutes = sum(result.seconds for result in results) / 60
    cuts = sum(row.times for row in rows if row.part == "power cut")
    day = max(result.day for result in results)
    load = max(result.load for result in results)
    facts = f"Run on {day}: {qemu_version()}, {kind}, {os.cpu_count()} cores under a load of {load:.0f}."
    verdict = "All passed." if all(row.passed for row in rows) else "**Not all passed.**"
    if absent := [name for name, result in parts.items() if result is None]:
        verdict += f" Not run on these sources: {', '.join(absent)}."
    counts = f"{len(rows)} checks, {cuts} power cuts, {minutes:.0f} minutes of machines that run beside one another."
    return f"{facts} {counts} {verdict}\n\n{table(rows)}"


def arm64_section(rows: Sequence[Row], seconds: float) -> str:
    """The section of the emulated aarch64 system."""
    day = datetime.now(timezone.utc).date().isoformat()
    verdict = "All passed." if all(row.passed for row in rows) else "**Not all passed.**"
    facts = f"Run on {day}: {qemu_version('qemu-aarch64-static')}, {os.cpu_count()} cores, {seconds / 60:.0f} minutes."
    return f"{facts} {len(rows)} checks. {verdict}\n\n{table(rows)}"


def table(rows: Sequence[Row]) -> str:
    """In Markdown; what failed is told below it."""
    lines = ["| part | check | times | measured | |", "|---|---|---:|---|---|"]
    for row in rows:
        measured = row.skipped or "; ".join(row.measured)
        lines.append(f"| {row.part} | {row.check} | {row.times} | {_cell(measured)} | {row.outcome} |")
    failed = [f"- {row.part}, {row.check}: {problem}" for row in rows for problem in row.problems]
    return "\n".join([*lines, *(["", "What failed:", "", *map(_cell, failed)] if failed else [])]) + "\n"


def write(page: Path, section: str, text: str) -> None:
    """Replace what stands between the marks of `section`."""
    begin, end = f"<!-- {section}: written by the run -->", f"<!-- {section}: end -->"
    before = page.read_text()
    after, found = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}{end}", before, flags=re.DOTALL
    )
    if found != 1:
        raise ValueError(f"{page}: no place for the section {section}")
    page.write_text(after)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
