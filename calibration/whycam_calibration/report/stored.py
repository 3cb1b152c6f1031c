"""Reports in a bundle: `calibration.KIND.html` for people, `calibration.KIND.json` to be shown again."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from whycam.bundle import Bundle
from whycam_calibration.errors import CalibrationError
from whycam_calibration.report.page import page_of
from whycam_calibration.report.report import Fact, Report, Section, Table

SCHEMA = "whycam.calibration/1"
_PREFIX = "calibration."


def report_files(report: Report) -> dict[str, bytes]:
    """The files of `report`, by name, as `whycam.bundle.revise` takes them."""
    plain = replace(report, sections=tuple(replace(section, pictures=()) for section in report.sections))
    text = json.dumps({"schema": SCHEMA, **asdict(plain)}, indent=2, ensure_ascii=False) + "\n"
    return {
        f"{_PREFIX}{report.kind}.html": page_of(report).encode(),
        f"{_PREFIX}{report.kind}.json": text.encode(),
    }


def read_reports(bundle: Bundle) -> list[tuple[Path, Report]]:
    """The reports in `bundle`, each with the path of its page; without the pictures, which the page alone has.

    Raises CalibrationError where there are none, BundleError where one is damaged.
    """
    names = [name for name in bundle.manifest.files if name.startswith(_PREFIX) and name.endswith(".json")]
    if not names:
        raise CalibrationError(
            f"{bundle.path}: has not been calibrated; run `whycam calibrate precision`, `thresholds` or `drift` on it"
        )
    return [
        (bundle.path / f"{name.removesuffix('.json')}.html", _report(json.loads(bundle.file(name).read_text("utf-8"))))
        for name in names
    ]


def _report(stored: dict[str, Any]) -> Report:
    sections = tuple(
        Section(
            section["title"],
            section["text"],
            tuple(
                Table(tuple(table["columns"]), tuple(map(tuple, table["rows"])), table["title"])
                for table in section["tables"]
            ),
        )
        for section in stored["sections"]
    )
    return Report(
        kind=stored["kind"],
        title=stored["title"],
        lead=stored["lead"],
        facts=tuple(Fact(**fact) for fact in stored["facts"]),
        sections=sections,
        warnings=tuple(stored["warnings"]),
        figures=stored["figures"],
    )
