"""The page docs/reference/machines.md: a section for each kind of machine, each written by its own run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tests.machines.machine import KVM, qemu_version
from tests.machines.rows import Row


@dataclass(frozen=True)
class Facts:
    """What the machine was, and how long the run took."""

    how: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        day = datetime.now(timezone.utc).date().isoformat()
        kind = "KVM" if self.how == KVM else "software emulation (no KVM that boots a kernel here)"
        return f"Run on {day}: {qemu_version()}, {kind}, {os.cpu_count()} cores, {self.seconds / 60:.0f} minutes."


def vm_section(rows: Sequence[Row], facts: Facts) -> str:
    """The section of the virtual machine."""
    cuts = sum(row.times for row in rows if row.part == "power cut")
    verdict = "All passed." if all(row.passed for row in rows) else "**Not all passed.**"
    return f"{facts} {len(rows)} checks, {cuts} power cuts. {verdict}\n\n{table(rows)}"


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
