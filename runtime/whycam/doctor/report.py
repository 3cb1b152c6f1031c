"""What an examination has found: a finding per check, and the document that scripts read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

SCHEMA = "whycam.doctor/1"


class Status(str, Enum):
    """How a check ended; a warning works, or may."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check has found."""

    check: str
    """GROUP.NAME, a key of `catalogue.CHECKS`."""
    status: Status
    found: str
    """In one line, for whoever installs devices."""
    fix: str | None = None
    """What makes it well: a command or a line of the configuration, to be pasted."""
    camera: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same as values, for scripts."""


def ok(check: str, found: str, *, camera: str | None = None, **facts: Any) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, found, None, camera, facts)


def warning(check: str, found: str, fix: str | None = None, *, camera: str | None = None, **facts: Any) -> Finding:
    """It works, or may, but not as well as it could."""
    return Finding(check, Status.WARNING, found, fix, camera, facts)


def failure(check: str, found: str, fix: str, *, camera: str | None = None, **facts: Any) -> Finding:
    """It does not work until it is fixed."""
    return Finding(check, Status.FAILURE, found, fix, camera, facts)


def skipped(check: str, why: str, fix: str | None = None, *, camera: str | None = None) -> Finding:
    """It was not looked at; `fix` is what lets it be."""
    return Finding(check, Status.SKIPPED, why, fix, camera)


@dataclass(frozen=True)
class Report:
    """An examination."""

    time: str
    """UTC, as in all of whycam's messages."""
    whycam: str
    config: Path | None
    device: str | None
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst that was found; what was skipped is no fault."""
        found = {finding.status for finding in self.findings}
        return next((status for status in (Status.FAILURE, Status.WARNING) if status in found), Status.OK)

    def count(self, status: Status) -> int:
        """Findings of this status."""
        return Counter(finding.status for finding in self.findings)[status]

    def json(self) -> str:
        """The document whose keys docs/reference/doctor.md tells."""
        document = {
            "schema": SCHEMA,
            "time": self.time,
            "whycam": self.whycam,
            "config": None if self.config is None else str(self.config),
            "device": self.device,
            "status": self.status.value,
            "counts": {status.value: self.count(status) for status in Status},
            "seconds": round(self.seconds, 1),
            "checks": [_entry(finding) for finding in self.findings],
        }
        return json.dumps(document, indent=2, allow_nan=False, default=str)


def _entry(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "camera": finding.camera,
        "status": finding.status.value,
        "found": finding.found,
        "fix": finding.fix,
        "facts": dict(finding.facts),
    }


def listed(words: Sequence[object]) -> str:
    """`a, b and c`."""
    texts = [str(word) for word in words]
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))
