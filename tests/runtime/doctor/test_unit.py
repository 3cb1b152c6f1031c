"""The service's unit, read from files as systemd would."""

from __future__ import annotations

from pathlib import Path

import pytest

from whycam.doctor.installation import Installation
from whycam.doctor.machine import Machine
from whycam.doctor.unit import unit_of

UNIT = (Path(__file__).parents[3] / "deploy" / "whycam.service").read_text(encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With the unit of deploy/, where the kit puts it."""
    write(tmp_path, "usr/local/lib/systemd/system/whycam.service", UNIT)
    write(tmp_path, "etc/passwd", "whycam:x:994:993::/var/lib/whycam:/usr/sbin/nologin\n")
    write(tmp_path, "etc/group", "video:x:44:\nrender:x:105:\nwhycam:x:993:\n")
    return Machine(tmp_path)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_unit_of_deploy_tells_who_the_service_is(machine: Machine) -> None:
    installation = Installation(machine, None)

    assert installation.unit is not None
    assert installation.unit.state == Path("/var/lib/whycam")
    assert installation.unit.credential("broker-password") == Path("/etc/whycam/broker-password")
    assert installation.unit.credential("other") is None
    assert not installation.unit.enabled
    assert (installation.user.name, installation.user.uid, installation.user.groups) == ("whycam", 994, {44, 105})
    assert installation.user.environment["WHYCAM_ENGINES"] == "/var/cache/whycam/engines"


def test_drop_ins_add_and_take_back(machine: Machine) -> None:
    folder = "etc/systemd/system/whycam.service.d"
    write(machine.root, f"{folder}/10-first.conf", "[Service]\nLoadCredential=gate:/etc/whycam/gate\nUser=camera\n")
    write(machine.root, f"{folder}/20-then.conf", "[Service]\n# User=nobody\nSupplementaryGroups=\n[Unit]\nUser=no\n")

    unit = unit_of(machine)

    assert unit is not None
    assert unit.value("User") == "camera"
    assert unit.credential("gate") == Path("/etc/whycam/gate")
    assert unit.credential("broker-password") == Path("/etc/whycam/broker-password")
    assert unit.words("SupplementaryGroups") == []


def test_a_unit_in_etc_comes_before_all_others_and_may_be_enabled(machine: Machine) -> None:
    write(machine.root, "etc/systemd/system/whycam.service", "[Service]\nUser=other\n")
    wants = machine.path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir()
    (wants / "whycam.service").symlink_to("/usr/local/lib/systemd/system/whycam.service")

    unit = unit_of(machine)

    assert unit is not None
    assert (unit.value("User"), unit.enabled) == ("other", True)


def test_without_a_unit_there_is_none(tmp_path: Path) -> None:
    assert unit_of(Machine(tmp_path)) is None
