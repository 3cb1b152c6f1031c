"""The platform, from recorded trees of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.runtime.doctor.conftest import TREES, only, recorded
from whycam.doctor import platform
from whycam.doctor.installation import Installation
from whycam.doctor.jetson import jetson_linux
from whycam.doctor.machine import Machine, installed_packages
from whycam.doctor.report import Finding, Status

Check = Callable[[Installation], Iterable[Finding]]


@pytest.mark.parametrize(
    ("tree", "jetpack", "release", "status"),
    [
        ("orin-nano-jetpack-6.2", "6.2", "36.4.3", Status.OK),
        ("agx-thor-jetpack-7.0", "7.0", "38.2.0", Status.OK),
        ("agx-orin-jetpack-5.1.2", "5.1.2", "35.4.1", Status.FAILURE),
        ("xavier-nx-jetpack-5.1.5", "5.1.5", "35.6.1", Status.WARNING),
        ("nano-jetpack-4.6.1", "4.6.1", "32.7.1", Status.WARNING),
        ("half-updated-orin", "6.2.1", "36.4.0", Status.WARNING),
    ],
)
def test_jetpack_is_told_by_its_files(tree: str, jetpack: str, release: str, status: Status) -> None:
    finding = only(platform.jetpack(recorded(tree)))

    assert (finding.facts["jetpack"], finding.facts["jetson_linux"]) == (jetpack, release)
    assert finding.status is status
    assert f"{jetpack} (Jetson Linux {release})" in finding.found


def test_a_board_that_gets_a_later_jetpack_is_to_be_flashed_and_one_that_does_not_runs_on_its_cpu() -> None:
    orin = only(platform.jetpack(recorded("agx-orin-jetpack-5.1.2")))
    xavier = only(platform.jetpack(recorded("xavier-nx-jetpack-5.1.5")))

    assert "flash JetPack 6" in str(orin.fix)
    assert "Xavier gets no later JetPack than 5" in xavier.found
    assert 'providers = ["cpu"]' in str(xavier.fix)


def test_packages_newer_than_the_release_file_are_an_update_that_was_not_finished() -> None:
    finding = only(platform.jetpack(recorded("half-updated-orin")))

    assert "nvidia-l4t-core is 36.4.4" in finding.found
    assert "apt-get" in str(finding.fix)


def test_a_release_that_is_newer_than_the_table_is_told_by_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R39 (release), REVISION: 9.1, GCID: 1, BOARD: generic\n")

    found = jetson_linux(Machine(tmp_path))

    assert found is not None
    assert (found.jetpack, found.generation, found.release) == (None, 7, "39.9.1")


@pytest.mark.parametrize("text", ["", "nonsense", "# R36", "\0\xff\n\n# R (release), REVISION: x"])
def test_a_broken_release_file_is_no_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text(text)

    assert list(platform.jetpack(Installation(Machine(tmp_path), None))) == []


@pytest.mark.parametrize(
    ("tree", "sm"),
    [
        ("nano-jetpack-4.6.1", 53),
        ("xavier-nx-jetpack-5.1.5", 72),
        ("orin-nano-jetpack-6.2", 87),
        ("agx-orin-jetpack-5.1.2", 87),
        ("agx-thor-jetpack-7.0", 110),
    ],
)
def test_the_gpu_of_a_jetson_is_known_by_its_chip(tree: str, sm: int) -> None:
    assert only(platform.gpu(recorded(tree))).facts["sm"] == sm


def test_a_card_whose_driver_says_little_is_told() -> None:
    finding = only(platform.gpu(recorded("desktop")))

    assert finding.status is Status.WARNING
    assert "NVIDIA GeForce RTX 3060" in finding.found


def test_a_power_mode_is_told_with_its_name_and_the_others() -> None:
    finding = only(platform.power(recorded("orin-nano-jetpack-6.2")))

    assert finding.found == "25W (mode 1); there are 15W (0) and MAXN_SUPER (2)"
    assert finding.facts["modes"] == {"0": "15W", "1": "25W", "2": "MAXN_SUPER"}


def test_a_board_that_has_not_said_its_power_mode_is_not_asked_more() -> None:
    assert only(platform.power(recorded("xavier-nx-jetpack-5.1.5"))).status is Status.SKIPPED
    assert list(platform.power(recorded("desktop"))) == []


def test_heat_is_told_before_clocks_are_lowered() -> None:
    cool = only(platform.temperature(recorded("orin-nano-jetpack-6.2")))
    hot = only(platform.temperature(recorded("agx-thor-jetpack-7.0")))

    assert (cool.status, hot.status) == (Status.OK, Status.WARNING)
    assert "97 °C at the most (cpu-thermal; clocks are lowered at 99 °C)" in hot.found
    assert hot.facts["celsius"] == {"cpu-thermal": 97.0, "gpu-thermal": 44.0}


def test_a_zone_that_cannot_be_read_is_left_out() -> None:
    finding = only(platform.temperature(recorded("desktop")))

    assert finding.facts["celsius"] == {"acpitz": 27.8}
    assert finding.found == "28 °C at the most (acpitz)"


def test_a_device_is_told_with_its_memory() -> None:
    finding = only(platform.device(recorded("orin-nano-jetpack-6.2")))

    assert finding.found == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super, 7.4 GiB, 4.9 GiB free"
    assert only(platform.device(recorded("desktop"))).found == "AMD Ryzen 7 5700X 8-Core Processor"


def test_packages_are_those_that_are_installed() -> None:
    found = installed_packages(Machine(TREES / "orin-nano-jetpack-6.2"))

    assert found["nvidia-l4t-core"] == "36.4.3-20250107174145"
    assert found["nvidia-jetpack"] == "6.2+b77"
    assert "nvidia-container" not in found


@pytest.mark.parametrize("check", [platform.device, platform.system, platform.jetpack, platform.gpu, platform.power])
def test_a_machine_that_tells_nothing_is_no_crash(check: Check, tmp_path: Path) -> None:
    assert all(finding.status is not Status.FAILURE for finding in check(Installation(Machine(tmp_path), None)))


def test_this_machine_is_told() -> None:
    here = Installation(Machine(), None)

    assert only(platform.device(here)).facts["memory"] > 0
    assert only(platform.system(here)).facts["kernel"]
