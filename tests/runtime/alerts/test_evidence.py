"""Evidence: whole or not at all, within its bounds, and never in an alert's way."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.chaos.small_disk import can_mount, fill, tmpfs
from whycam.alerts import evidence
from whycam.alerts.evidence import EvidenceStore, strip
from whycam.config.models import Evidence
from whycam.errors import InputError

MIB = 1 << 20
DAY = 86400.0
ONSET = 1_795_459_200.0  # 2026-11-23 18:40 UTC


def store_in(directory: Path, **changes: Any) -> EvidenceStore:
    """A store that asks for no room to spare."""
    return EvidenceStore(directory, Evidence(**{"min_free_bytes": 0, **changes}))


def jpeg(level: int = 90) -> bytes:
    """A grey picture."""
    done, made = cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))
    assert done
    return bytes(made)


CLIP = [(10.0 + place / 5, jpeg(20 * place)) for place in range(10)]


def kept(directory: Path) -> list[str]:
    """All files below `directory`."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_an_alert_has_a_folder_with_json_heat_map_and_clip(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    folder = store.path_of("gate", "0190-a", ONSET)
    assert folder == tmp_path / "gate" / "2026-11-23" / "0190-a"
    assert store.write(folder, {"phase": "raised"}, jpeg(), CLIP) == folder
    assert kept(folder) == ["alert.json", "clip.mp4", "heatmap.jpg"]
    film = cv2.VideoCapture(str(folder / "clip.mp4"))
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert sum(1 for _ in iter(lambda: film.read()[0], False)) == len(CLIP)
    film.release()


def test_later_messages_are_added(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    folder = store.path_of("gate", "a", ONSET)
    store.write(folder, {"phase": "raised"}, b"first", CLIP)
    store.write(folder, {"phase": "updated"}, b"second", ())
    store.write(folder, {"phase": "cleared"}, None, ())
    messages = json.loads((folder / "alert.json").read_text())["messages"]
    assert [message["phase"] for message in messages] == ["raised", "updated", "cleared"]
    assert (folder / "heatmap.jpg").read_bytes() == b"second"
    assert kept(tmp_path / "gate" / "2026-11-23") == ["a/alert.json", "a/clip.mp4", "a/heatmap.jpg"]


def test_a_damaged_file_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = store_in(tmp_path)
    folder = store.path_of("gate", "a", ONSET)
    store.write(folder, {"phase": "raised"}, None, ())
    for damage in (b"", b"\xff\xfe", b"[]", b'{"messages"'):
        (folder / "alert.json").write_bytes(damage)
        assert store.write(folder, {"phase": "updated"}, None, ()) == folder
        assert json.loads((folder / "alert.json").read_text()) == {"messages": [{"phase": "updated"}]}
    assert caplog.text.count("damaged, begun anew") == 4


def test_an_episode_of_days_is_told_by_its_beginning_and_its_end(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    folder = store.path_of("gate", "a", ONSET)
    for number in range(70):
        store.write(folder, {"sequence": number}, None, ())
    told = [message["sequence"] for message in json.loads((folder / "alert.json").read_text())["messages"]]
    assert told == [*range(8), *range(14, 70)]
    assert len(told) == 64


# -- faults --


def test_too_little_room_is_told_once_and_outlived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    store = store_in(tmp_path, min_free_bytes=1 << 60)
    folder = store.path_of("gate", "a", ONSET)
    for _ in range(3):
        assert store.write(folder, {}, None, ()) is None
    assert store.problem == "disk full"
    assert kept(tmp_path) == []
    assert caplog.text.count("alerts go without evidence") == 1


def test_a_full_disk_is_outlived(tmp_path: Path) -> None:
    if reason := can_mount():
        pytest.skip(reason)
    with tmpfs(tmp_path / "small", "1m"):
        store = store_in(tmp_path / "small")
        folder = store.path_of("gate", "a", ONSET)
        filler = fill(tmp_path / "small")
        assert store.write(folder, {"phase": "raised"}, bytes(MIB // 4), ()) is None
        assert store.problem == "disk full"
        assert kept(tmp_path / "small") == ["filler"]
        filler.unlink()
        assert store.write(folder, {"phase": "raised"}, bytes(MIB // 4), ()) == folder
        assert store.problem is None


def test_a_file_in_its_way_is_no_exception(tmp_path: Path) -> None:
    (tmp_path / "gate").write_text("not a folder")
    store = store_in(tmp_path)
    assert store.write(store.path_of("gate", "a", ONSET), {}, None, ()) is None
    assert store.problem == "disk fails"
    assert store.retention() == 0


def test_a_store_without_its_folder_is_no_exception(tmp_path: Path) -> None:
    store = store_in(tmp_path / "none")
    assert store.retention() == 0
    assert store.write(store.path_of("gate", "a", ONSET), {}, None, ()) is not None


@pytest.mark.parametrize("failing", ["scandir", "listdir"])
def test_a_folder_that_cannot_be_read_is_no_exception(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An I/O error, as of a card that wears out."""
    store = store_in(tmp_path)
    folder = store.path_of("gate", "a", ONSET)
    assert store.write(folder, {"phase": "raised"}, None, ()) == folder

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fails)
        again = store_in(tmp_path, max_bytes=1 << 20)
        assert again.retention() == 0
    assert kept(folder) == ["alert.json"]
    assert again.write(folder, {"phase": "cleared"}, None, ()) == folder


KILLED = """
import os, signal, sys
from pathlib import Path
from whycam.alerts.evidence import EvidenceStore
from whycam.config.models import Evidence
from whycam.errors import InputError

store = EvidenceStore(Path(sys.argv[1]), Evidence(min_free_bytes=0))
Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.write(store.path_of("gate", "a", 1_795_459_200.0), {"phase": "raised"}, b"picture", ())
"""


def test_what_was_killed_halfway_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(kept(tmp_path)) == 2
    store = store_in(tmp_path)
    assert kept(tmp_path) == []
    folder = store.path_of("gate", "a", ONSET)
    assert store.write(folder, {"phase": "raised"}, None, ()) == folder


# -- retention --


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str, float, int], None]:
    """Makes evidence of some bytes, some days ago."""

    def make(name: str, days: float, size: int = 10) -> None:
        folder = tmp_path / "gate" / f"day {days}" / name
        folder.mkdir(parents=True)
        (folder / "heatmap.jpg").write_bytes(bytes(size))
        moment = time.time() - days * DAY
        os.utime(folder, (moment, moment))

    return make


def test_what_is_too_old_is_deleted(tmp_path: Path, made: Callable[..., None]) -> None:
    for name, days in (("old", 31), ("older", 400), ("new", 29)):
        made(name, days)
    assert store_in(tmp_path).retention() == 2
    assert [path.name for path in (tmp_path / "gate").rglob("*") if path.is_dir()] == ["day 29", "new"]


def test_the_oldest_goes_where_there_is_too_much(tmp_path: Path, made: Callable[..., None]) -> None:
    for name, days in (("b", 2), ("c", 1), ("a", 3), ("d", 0)):
        made(name, days, MIB // 2)
    assert store_in(tmp_path, max_bytes=MIB).retention() == 2
    assert sorted(path.parent.name for path in tmp_path.rglob("heatmap.jpg")) == ["c", "d"]
    assert store_in(tmp_path, max_bytes=MIB).retention() == 0


def test_what_was_made_before_the_clock_was_set_is_not_old(tmp_path: Path, made: Callable[..., None]) -> None:
    made("1970", time.time() / DAY - 1)
    store = store_in(tmp_path)
    assert store.retention() == 0
    assert len(kept(tmp_path)) == 1


# -- the picture --


def test_the_strip_shows_the_most_relevant_frames_in_order() -> None:
    frames = np.stack([np.full((32, 48, 3), 20 * place, np.uint8) for place in range(8)])
    relevance = np.array([0.3, 0.0, 0.1, 0.2, 0.05, 0.0, 0.05, 0.3], dtype=np.float32)
    heatmaps = np.zeros((8, 4, 4), dtype=np.float32)
    made = cv2.imdecode(np.frombuffer(strip(frames, heatmaps, relevance, np.arange(8.0)), np.uint8), cv2.IMREAD_COLOR)
    assert made is not None
    width = made.shape[1] // 5
    assert made.shape == (2 * 224 + 24, 5 * 336, 3)
    shades = [int(made[100, width * place + width // 2].mean()) for place in range(5)]
    assert shades == pytest.approx([0, 40, 60, 80, 140], abs=3)


def test_without_a_video_encoder_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(path: Path, clip: object) -> None:
        path.write_bytes(b"begun")
        raise InputError("no encoder here")

    monkeypatch.setattr(evidence, "write_clip", broken)
    store = store_in(tmp_path)
    for name in ("a", "b"):
        folder = store.path_of("gate", name, ONSET)
        assert store.write(folder, {"phase": "raised"}, jpeg(), CLIP) == folder
        assert kept(folder) == ["alert.json", "heatmap.jpg"]
    assert caplog.text.count("evidence goes without clips: no encoder here") == 1
