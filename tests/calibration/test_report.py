"""Reports: a page that stands alone, stored in the bundle and shown again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from whycam.bundle import Bundle, revise
from whycam.errors import BundleError
from whycam_calibration.errors import CalibrationError
from whycam_calibration.report import Fact, Picture, Report, Section, Table, picture_of, picture_of_image
from whycam_calibration.report.page import page_of
from whycam_calibration.report.stored import read_reports, report_files


def made(pictures: tuple[Picture, ...] = ()) -> Report:
    table = Table(("layer", "error"), (("<conv1>", "0.25"),), "Layers")
    section = Section("Error", "By layer.", (table,), pictures)
    return Report(
        "int8", "INT8 & co", "Eight bits.", (Fact("4.1 x", "faster"),), (section,), ("too few images: 8",), {"n": 8}
    )


def test_a_page_carries_all_that_it_shows_and_asks_for_no_other_file() -> None:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    photo = picture_of_image(np.zeros((4, 4, 3), np.uint8), "a frame")

    page = page_of(made((picture_of(figure, "a curve"), photo)))

    assert {address[:15] for address in re.findall(r'src="([^"]+)"', page)} == {"data:image/png;", "data:image/jpeg"}
    assert not re.findall(r'(?:href|src)="(?!data:)', page)
    assert "INT8 &amp; co" in page
    assert "&lt;conv1&gt;" in page
    assert "too few images: 8" in page


def test_a_report_is_read_back_from_the_bundle_as_it_was_but_for_its_pictures(bundle: Path) -> None:
    revise(Bundle.open(bundle), report_files(made((Picture("data:image/png;base64,AA", "x"),))))

    [(path, found)] = read_reports(Bundle.open(bundle))

    assert path == bundle / "calibration.int8.html"
    assert path.is_file()
    assert found == made()


def test_a_bundle_that_was_not_calibrated_says_so(bundle: Path) -> None:
    with pytest.raises(CalibrationError, match="has not been calibrated"):
        read_reports(Bundle.open(bundle))


def test_a_damaged_report_is_named(bundle: Path) -> None:
    revise(Bundle.open(bundle), report_files(made()))
    (bundle / "calibration.int8.json").write_text("{}")

    with pytest.raises(BundleError, match=r"calibration\.int8\.json: damaged"):
        read_reports(Bundle.open(bundle))


def test_the_command_shows_the_facts_and_tables_again(bundle: Path, whycam: Callable[..., object]) -> None:
    revise(Bundle.open(bundle), report_files(made()))

    shown = whycam("calibrate", "report", bundle)
    figures = whycam("calibrate", "report", bundle, "--json")

    assert shown.returncode == 0, shown.stderr
    for text in ("INT8 & co", "4.1 x", "<conv1>", "0.25", "too few images: 8", "calibration.int8.html"):
        assert text in shown.stdout
    assert json.loads(figures.stdout) == {"int8": {"n": 8}}


def test_the_command_refuses_what_was_not_calibrated(bundle: Path, whycam: Callable[..., object]) -> None:
    done = whycam("calibrate", "report", bundle)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "has not been calibrated" in done.stderr
