"""Changing a bundle in its place."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import whycam
from whycam.bundle import Bundle, check_writable, reopened, revise
from whycam.bundle import revision as revision_module
from whycam.errors import BundleError

FIGURES = {
    "images": 8,
    "windows": 4,
    "score_drift": 0.0,
    "score_drift_max": 0.0,
    "agreement": 1.0,
    "flipped": 0,
    "golden": "golden.half.npz",
}


def add_precision(path: Path, golden: bytes = b"golden") -> Bundle:
    bundle = Bundle.open(path)
    files = {"features.half.onnx": (path / "features.onnx").read_bytes(), "golden.half.npz": golden}
    precisions = {**bundle.manifest.precisions, "half": "features.half.onnx"}
    return revise(bundle, files, precisions=precisions, calibrated={"half": FIGURES})


def test_a_new_precision_is_there_beside_the_old_one(bundle: Path) -> None:
    add_precision(bundle)

    assert list(Bundle.open(bundle).manifest.precisions) == ["fp32", "half"]
    assert whycam.load(bundle, "half").manifest.calibrated["half"].images == 8


def test_a_revision_replaces_what_an_earlier_one_wrote(bundle: Path) -> None:
    add_precision(bundle)

    add_precision(bundle, b"another")

    assert Bundle.open(bundle).file("golden.half.npz").read_bytes() == b"another"
    assert not list(bundle.glob("*.part"))


def test_what_is_dropped_leaves_the_bundle(bundle: Path) -> None:
    before = add_precision(bundle)

    revise(
        before, {}, drop=["features.half.onnx", "golden.half.npz"], precisions={"fp32": "features.onnx"}, calibrated={}
    )

    assert not (bundle / "features.half.onnx").exists()
    assert "golden.half.npz" not in Bundle.open(bundle).manifest.files


def test_a_manifest_that_would_contradict_itself_changes_nothing(bundle: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()

    with pytest.raises(ValueError, match="drift"):
        revise(Bundle.open(bundle), {"more.npz": b"x"}, drift="drift.npz")

    assert (bundle / "manifest.json").read_bytes() == before
    assert not list(bundle.glob("more.npz*"))


def test_a_bundle_that_was_changed_meanwhile_is_not_overwritten(bundle: Path) -> None:
    early = Bundle.open(bundle)
    add_precision(bundle)

    with pytest.raises(BundleError, match="was changed by something else meanwhile"):
        revise(early, {"more.npz": b"x"})

    assert "half" in Bundle.open(bundle).manifest.precisions


def test_a_full_disk_is_told_and_changes_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(revision_module, "write_to_disk", full)
    before = json.loads((bundle / "manifest.json").read_text())

    with pytest.raises(BundleError, match=r"cannot be written \(No space left on device\)"):
        add_precision(bundle)

    assert json.loads((bundle / "manifest.json").read_text()) == before
    assert not list(bundle.glob("*.part"))


REVISING = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_revision import add_precision
number = 0
while True:
    number += 1
    add_precision(Path({bundle!r}), str(number).encode())
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [0.01, 0.03, 0.05])
def test_a_bundle_is_whole_whenever_its_revision_is_killed(bundle: Path, after: float) -> None:
    code = REVISING.format(paths=[str(Path(__file__).parent)], bundle=str(bundle))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGKILL)

    found = Bundle.open(bundle)
    for name in found.manifest.files:
        found.file(name)
    assert "fp32" in found.manifest.precisions


def test_what_is_written_beside_long_work_stays_and_other_graphs_refuse_it(bundle: Path) -> None:
    before = Bundle.open(bundle)
    add_precision(bundle)

    assert "half" in revise(reopened(before), {"notes": b"x"}).manifest.precisions

    revise(Bundle.open(bundle), {"features.onnx": b"another"})

    with pytest.raises(BundleError, match=r"features\.onnx was changed meanwhile"):
        reopened(before)


def test_a_bundle_that_cannot_be_written_is_refused_before_the_work(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_writable(Bundle.open(bundle))
    # Who runs the tests may write anything.
    monkeypatch.setattr(revision_module.os, "access", lambda path, mode: False)

    with pytest.raises(BundleError, match="cannot be written"):
        check_writable(Bundle.open(bundle))
