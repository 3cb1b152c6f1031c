"""The report as one HTML file."""

from __future__ import annotations

from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined

from whycam_calibration.report.report import Report


def page_of(report: Report) -> str:
    """The HTML of `report`, which needs no other file."""
    environment = Environment(
        loader=PackageLoader("whycam_calibration.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(report=report, version=version("whycam-calibration"))
