"""The report on a screen: a line per check, and under what is wrong the fix, to be copied."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whycam.doctor.catalogue import CHECKS, SECTIONS, section_of
from whycam.doctor.report import Finding, Report, Status

_MARKS = {
    Status.OK: ("✓", "green"),
    Status.WARNING: ("!", "bold yellow"),
    Status.FAILURE: ("✗", "bold red"),
    Status.SKIPPED: ("–", "dim"),
}
_PLAIN = {Status.OK: "ok", Status.WARNING: "!!", Status.FAILURE: "XX", Status.SKIPPED: "--"}
"""For terminals that know ASCII only."""
_INDENT = 5
_LABEL = 15


def show(report: Report, console: Console) -> None:
    """Print the report."""
    what = f", {report.device}" if report.device else ""
    console.print(Text.assemble((f"whycam {report.whycam} doctor", "bold"), (f"{what}, {report.time}", "dim")))
    for section, findings in groupby(report.findings, key=lambda finding: section_of(finding.check)):
        console.print()
        console.print(Text(SECTIONS[section], style="bold cyan"))
        _section(list(findings), console)
    console.print()
    _summary(report, console)


def _section(findings: Sequence[Finding], console: Console) -> None:
    for finding in findings:
        mark, style = _MARKS[finding.status]
        if not console.encoding.startswith("utf"):
            mark = _PLAIN[finding.status]
        label = CHECKS[finding.check]
        row = Table.grid(padding=(0, 1))
        row.add_column(width=2)
        row.add_column(width=_LABEL)
        row.add_column(overflow="fold")
        found = Text(_encodable(finding.found, console), style="dim" if finding.status is Status.SKIPPED else "")
        if finding.camera:
            found = Text.assemble((f"{finding.camera}  ", "bold"), found)
        row.add_row(Text(mark, style=style), Text(label), found)
        console.print(Padding(row, (0, 0, 0, 1), expand=False))
        if finding.fix:
            _fix(_encodable(finding.fix, console), console)


def _encodable(text: str, console: Console) -> str:
    """The text with question marks for what the terminal cannot show."""
    return text.encode(console.encoding, "replace").decode(console.encoding)


def _fix(fix: str, console: Console) -> None:
    """The fix as it is to be pasted: never broken into lines that it does not have."""
    for line in fix.splitlines():
        command, hash_, comment = line.partition("    # ")
        text = Text(" " * _INDENT).append(command, style="bold")
        if hash_:
            text.append(f"    # {comment}", style="dim")
        console.print(text, soft_wrap=True)


def _summary(report: Report, console: Console) -> None:
    counts = {status: report.count(status) for status in (Status.FAILURE, Status.WARNING, Status.OK, Status.SKIPPED)}
    words = {Status.FAILURE: "failure", Status.WARNING: "warning", Status.OK: "ok", Status.SKIPPED: "skipped"}
    plural = {Status.FAILURE: "failures", Status.WARNING: "warnings"}
    parts = [
        (f"{count} {plural.get(status, words[status]) if count != 1 else words[status]}", _MARKS[status][1])
        for status, count in counts.items()
        if count
    ]
    line = Text(", ").join(Text(text, style=style) for text, style in parts)
    console.print(line.append(f"  in {report.seconds:.1f} s", style="dim"))
    if report.config is None:
        console.print(Text("Without a configuration, the platform alone was looked at. All of it:", style="dim"))
        console.print(Text("     whycam doctor -c /etc/whycam/whycam.toml", style="bold"), soft_wrap=True)
