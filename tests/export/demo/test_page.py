"""The demo's report and page: the figures are those of the decisions, and every link leads to a file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from whycam import Decision, Explanation, InputError
from whycam.bundle import Manifest, write_manifest
from whycam_export.demo.footage import Truth
from whycam_export.demo.live import Received
from whycam_export.demo.page import write_page
from whycam_export.demo.report import Report, measure
from whycam_export.demo.run import MARK, clear
from whycam_export.demo.watch import OTHER_WAYS, Reason, Watched

CLASSES = ("normal", "fire")


def bundle(folder: Path) -> Path:
    path = folder / "demo.whycam"
    path.mkdir(parents=True)
    digest = {"sha256": "0" * 64, "bytes": 1}
    content = {
        "schema": "whycam.bundle/1",
        "name": "demo",
        "version": "1",
        "classes": CLASSES,
        "normal": "normal",
        "window": {"frames": 4, "frame_interval": 0.1, "max_gap": 0.2},
        "input": {"height": 112, "width": 112},
        "features": 8,
        "cams": [{"name": "block4_conv4", "channels": 4, "height": 4, "width": 4}],
        "step": {"available": False, "reason": "made by hand"},
        "thresholds": {"fire": 0.5},
        "precisions": {"fp32": "features.onnx"},
        "parity": {"frames": 1, "features": 0.0, "scores": 0.0, "heatmaps": 0.0, "step": None},
        "provenance": {},
        "files": {"features.onnx": digest},
    }
    write_manifest(path, Manifest.model_validate(content))
    return path


def watched(folder: Path, name: str, label: str, onset: float, points: bool = True) -> Watched:
    """A clip of 2 s at 10 fps whose model is right from the onset on, and whose maps point at the mask or not."""
    place = folder / "clips" / name
    place.mkdir(parents=True)
    happens = label != "normal"
    times = np.arange(20) / 10
    masks = np.zeros((20, 40, 40), np.bool_)
    masks[times >= onset, :20, :20] = happens
    truth = Truth(label, "street", onset if happens else 0.0, 2.0 if happens else 0.0, times, masks)
    decisions, reasons = [], []
    for time in times:
        if time < 0.25:
            decisions.append(Decision(float(time), dict.fromkeys(CLASSES, float("nan")), None, False, False))
            continue
        fire = 0.9 if happens and time >= onset else 0.1
        label_now = "fire" if fire > 0.5 else "normal"
        decisions.append(Decision(float(time), {"normal": 1 - fire, "fire": fire}, label_now, True, fire > 0.5))
    if happens:
        heatmaps = np.zeros((4, 4, 4), np.float32)
        heatmaps[:, 0, 0 if points else 3] = 1
        share = np.full(4, 0.25, np.float32)
        window = np.array([onset, onset + 0.1, onset + 0.2, onset + 0.3])
        frames = np.zeros((4, 8, 8, 3), np.uint8)
        why = Explanation(
            heatmaps=heatmaps,
            relevance=share,
            times=window,
            label="fire",
            method="layercam",
            time="relevance",
            versus="normal",
            counter=False,
            reference="none",
            explained=tuple(range(len(heatmaps))),
            pictures=list(frames),
        )
        reasons.append(Reason(why, 0.9, True, (why,) * len(OTHER_WAYS)))
        (place / "why.png").touch()
        (place / "heatmaps.npz").touch()
    for file in ("annotated.mp4", "timeline.png", "decisions.jsonl"):
        (place / file).touch()
    scenes = folder / "scenes" / "test"
    scenes.mkdir(parents=True, exist_ok=True)
    for suffix in (".mp4", ".truth.npz"):
        (scenes / f"{name}{suffix}").touch()
    return Watched(name, scenes / f"{name}.mp4", place, truth, tuple(decisions), tuple(reasons), True)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    clips = [watched(tmp_path, "a", "normal", 2.0), watched(tmp_path, "b", "fire", 1.0)]
    (tmp_path / "model").mkdir()
    return measure(clips, bundle(tmp_path), [("Filming scenes", 1.5)])


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_the_figures_are_those_of_the_decisions(report: Report) -> None:
    assert report.accuracy == 1.0
    assert report.pointing.rate == 1.0
    assert report.shortfalls() == []


def test_what_falls_short_is_named(tmp_path: Path) -> None:
    report = measure([watched(tmp_path, "b", "fire", 1.0, points=False)], bundle(tmp_path), [])

    assert report.shortfalls() == ["peaks on the anomaly 0.000 is below 0.9"]


def test_nothing_measured_falls_short(tmp_path: Path) -> None:
    report = measure([], bundle(tmp_path), [])

    assert len(report.shortfalls()) == 2


def test_the_figures_are_written_as_json(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "figures.json")

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["window_accuracy"], figures["peak_on_anomaly"]) == (1.0, 1.0)
    assert figures["clips"][1]["alert_time"] == 1.3


def test_every_link_of_the_page_leads_to_a_file_beside_it(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "figures.json")
    links = Links()
    links.feed(write_page(report, tmp_path).read_text(encoding="utf-8"))

    assert links.found
    assert [link for link in links.found if ":" in link or link.startswith("/")] == []
    assert [link for link in links.found if not (tmp_path / link).exists()] == []


def test_the_page_fetches_nothing_from_elsewhere(report: Report, tmp_path: Path) -> None:
    text = write_page(report, tmp_path).read_text(encoding="utf-8")

    assert re.findall(r"https?://", text) == []


def test_the_page_shades_the_true_range(report: Report, tmp_path: Path) -> None:
    text = write_page(report, tmp_path).read_text(encoding="utf-8")

    assert text.count("<svg") == 2
    assert text.count("<rect") == 1


def test_the_page_shows_what_was_received_live(report: Report, tmp_path: Path) -> None:
    (tmp_path / "live" / "state" / "evidence").mkdir(parents=True)
    (tmp_path / "live" / "received").mkdir()
    for name in ("heatmap.jpg", "whycam.toml", "service.log"):
        (tmp_path / "live" / name).touch()
    payload = {"label": "<fire>", "threshold": 0.5, "onset": "2026-11-23T18:00:00.000Z", "event_id": "one"}
    received = Received("b.mp4", "fire", payload, 10.0, 10.75, "live/heatmap.jpg", ("raised <fire>",))
    shown = replace(report, live=received)
    shown.write(tmp_path / "figures.json")

    text = write_page(shown, tmp_path).read_text(encoding="utf-8")

    links = Links()
    links.feed(text)
    assert [link for link in links.found if not (tmp_path / link).exists()] == []
    assert "live/heatmap.jpg" in links.found
    assert "0.75 s" in text
    assert "<fire>" not in text
    assert shown.shortfalls() == []
    assert replace(shown, live=replace(received, arrived=13.0)).shortfalls() == [
        "the live alert took 3.0 s, more than 2"
    ]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "mine.txt").write_text("mine")

    with pytest.raises(InputError, match="not empty, and not the folder of a demo"):
        clear(tmp_path)

    assert (tmp_path / "clips" / "mine.txt").read_text() == "mine"


def test_the_folder_of_an_earlier_demo_is_cleared_of_what_it_made(tmp_path: Path) -> None:
    clear(tmp_path)
    (tmp_path / "clips").mkdir()
    (tmp_path / "index.html").touch()
    (tmp_path / "notes.txt").touch()

    clear(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [MARK, "notes.txt"]


def test_a_live_alert_that_did_not_come_falls_short_and_has_its_page(report: Report, tmp_path: Path) -> None:
    failed = replace(report, live="live: no alert on b.mp4 came")

    assert failed.shortfalls() == ["live: no alert on b.mp4 came"]
    assert "no alert on b.mp4 came" in write_page(failed, tmp_path).read_text(encoding="utf-8")
    assert "there was no broker" in write_page(report, tmp_path).read_text(encoding="utf-8")
