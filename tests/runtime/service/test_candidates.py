"""Candidates: a self-test apart once per version, and a mark on the disk for as long as one may be deadly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.runtime.deployment.versions import make, passed
from whycam.bundle.manifest import MANIFEST
from whycam.config.models import Bundles, Camera
from whycam.deployment.self_test import Comparison, SelfTest
from whycam.errors import BundleError, InputError
from whycam.service.candidates import Candidates
from whycam.service.trials import DEATHS


def of(bundle: Path, precision: str = "fp32") -> Camera:
    return Camera(name="gate", source="video.mp4", bundle=bundle, precision=precision)


class SelfTests:
    """Counts the self-tests, and lets them end as told."""

    def __init__(self, error: float = 0.0) -> None:
        self.paths: list[Path] = []
        self.error = error

    def __call__(self, path: Path, precision: str, providers: Sequence[str] | None) -> SelfTest:
        self.paths.append(path)
        return SelfTest(precision, (), (Comparison("scores, head", "golden.npz", self.error, 0.1),), 0, 0, 0)


def test_services_that_die_with_a_candidate_leave_it_out_until_it_is_another_version(tmp_path: Path) -> None:
    file, bundle = tmp_path / "candidates.json", make(tmp_path / "1")
    for _ in range(DEATHS):
        Candidates(file, Bundles(), test=passed).admit(bundle, of(bundle))
    barred = Candidates(file, Bundles(), test=passed)
    with pytest.raises(BundleError, match="the service ended 2 times while it was tried"):
        barred.admit(bundle, of(bundle))
    barred.end()
    with pytest.raises(BundleError, match="left out"):
        Candidates(file, Bundles(), test=passed).admit(bundle, of(bundle))
    other = make(tmp_path / "2", "2")
    barred.admit(other, of(other))


def test_what_has_compared_enough_and_what_was_ended_in_order_is_not_counted(tmp_path: Path) -> None:
    file, bundle = tmp_path / "candidates.json", make(tmp_path / "1")
    for step in range(4 * DEATHS):
        candidates = Candidates(file, Bundles(), test=passed)
        candidates.admit(bundle, of(bundle))
        candidates.admit(bundle, of(bundle))
        if step % 2:
            candidates.end()
        else:
            candidates.held(bundle, of(bundle))
            candidates.admit(bundle, of(bundle))


def test_the_self_test_is_made_once_for_a_version_and_each_of_its_settings(tmp_path: Path) -> None:
    tests, bundle = SelfTests(), make(tmp_path / "1")
    for _ in range(3):
        candidates = Candidates(tmp_path / "candidates.json", Bundles(), test=tests)
        candidates.admit(bundle, of(bundle))
        candidates.end()
    assert tests.paths == [bundle]
    candidates.admit(bundle, of(bundle, "int8"))
    assert len(tests.paths) == 2


def test_a_self_test_that_fails_is_not_made_again_at_once_and_nothing_is_counted(tmp_path: Path) -> None:
    tests, bundle = SelfTests(error=0.5), make(tmp_path / "1")
    candidates = Candidates(tmp_path / "candidates.json", Bundles(), test=tests)
    for _ in range(DEATHS + 1):
        with pytest.raises(BundleError, match=r"the self-test failed.*scores, head: 0.5"):
            candidates.admit(bundle, of(bundle))
    assert len(tests.paths) == 1
    assert not (tmp_path / "candidates.json").exists()


def test_a_bundle_without_golden_window_is_run_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make(tmp_path / "1")
    manifest = (bundle / MANIFEST).read_text().replace("golden.npz", "silver.npz")
    (bundle / "golden.npz").rename(bundle / "silver.npz")
    (bundle / MANIFEST).write_text(manifest)
    tests = SelfTests()
    Candidates(tmp_path / "candidates.json", Bundles(), test=tests).admit(bundle, of(bundle))
    assert not tests.paths
    assert "has no golden window" in caplog.text


def test_where_the_disk_takes_no_mark_the_candidate_waits(tmp_path: Path) -> None:
    bundle = make(tmp_path / "1")
    candidates = Candidates(tmp_path / "away" / "candidates.json", Bundles(), test=passed)
    with pytest.raises(InputError, match="cannot be kept"):
        candidates.admit(bundle, of(bundle))
    (tmp_path / "away").mkdir()
    candidates.admit(bundle, of(bundle))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"starts": 3}', b"\0" * 99])
def test_a_damaged_file_costs_what_it_said_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "candidates.json").write_bytes(content)
    bundle = make(tmp_path / "1")
    Candidates(tmp_path / "candidates.json", Bundles(), test=passed).admit(bundle, of(bundle))
