"""Clock, disk, secrets and groups."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.doctor.conftest import Installation, checked, only
from whycam.config.models import MIB, Config
from whycam.doctor import disk, permissions
from whycam.doctor.clock import judge_clock, kernel_synchronised
from whycam.doctor.machine import Machine
from whycam.doctor.report import Status
from whycam.doctor.users import User, user_named

Configured = Callable[..., Installation]
NOW = datetime(2026, 11, 26, 5, tzinfo=timezone.utc).timestamp()
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("now", "synchronised", "status"),
    [
        (NOW, True, Status.OK),
        (NOW, False, Status.WARNING),
        (NOW, None, Status.WARNING),
        (0, True, Status.FAILURE),
        (4.2e9, False, Status.FAILURE),
    ],
)
def test_a_clock_must_be_possible_and_kept(now: float, synchronised: bool | None, status: Status) -> None:
    finding = checked(judge_clock(now, synchronised))

    assert finding.status is status
    assert status is Status.OK or synchronised is None or "set-ntp true" in str(finding.fix)


def test_the_kernel_tells_of_its_clock() -> None:
    assert kernel_synchronised() in (True, False)


@pytest.mark.parametrize(
    ("free", "files", "evidence", "status", "told"),
    [
        (3 * GIB, 10**6, 0, Status.OK, "outbox and evidence may take 1.3 GiB"),
        (GIB, 10**6, 0, Status.WARNING, "1.3 GiB are allowed"),
        (GIB, 10**6, 900 * MIB, Status.OK, "outbox and evidence"),
        (200 * MIB, 10**6, 0, Status.FAILURE, "alerts go without evidence below 256 MiB"),
        (50 * MIB, 10**6, 0, Status.FAILURE, "alerts may need while the broker is away"),
        (3 * GIB, 12, 0, Status.FAILURE, "room for 12 more files"),
    ],
)
def test_room_is_held_against_what_the_configuration_allows(
    free: int, files: int, evidence: int, status: Status, told: str
) -> None:
    config = Config.model_validate({"device": "d", "cameras": [{"name": "g", "source": "v", "bundle": "b"}]})

    finding = checked(disk.judge_disk(config, Path("/data"), free, files, 80 * MIB, evidence))

    assert finding.status is status
    assert told in finding.found


def test_the_fix_for_little_room_is_what_fits() -> None:
    config = Config.model_validate({"device": "d", "cameras": [{"name": "g", "source": "v", "bundle": "b"}]})
    fix = str(disk.judge_disk(config, Path("/data"), GIB, None, 80 * MIB, 100 * MIB).fix)
    most = int(fix.partition("max_bytes = ")[2].partition(" ")[0])

    less = config.model_copy(update={"evidence": config.evidence.model_copy(update={"max_bytes": most})})

    assert disk.judge_disk(less, Path("/data"), GIB, None, 80 * MIB, 100 * MIB).status is Status.OK


def test_a_state_folder_that_can_be_made_is_made_by_nobody_yet(configured: Configured, tmp_path: Path) -> None:
    assert only(disk.state(configured())).found.startswith(f"{tmp_path / 'state'} can be made")
    assert only(disk.disk(configured())).status in (Status.OK, Status.WARNING)
    assert not (tmp_path / "state").exists()


def test_a_state_folder_is_really_written_to_and_left_as_it_was(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()

    assert only(disk.state(configured())).status is Status.OK
    assert list((tmp_path / "state").iterdir()) == []


def test_a_state_folder_that_is_a_file(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    assert only(disk.state(configured())).status is Status.FAILURE


def test_a_state_folder_that_takes_nothing(configured: Configured) -> None:
    finding = only(disk.state(configured(state_directory="/proc/whycam")))

    assert finding.status is Status.FAILURE
    assert "cannot write /proc" in finding.found


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be another user")
def test_a_state_folder_of_somebody_else(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    nobody = configured()
    nobody.user = User("nobody", 65534, 65534)

    finding = only(disk.state(nobody))

    assert finding.status is Status.FAILURE
    assert finding.fix == f"sudo chown -R nobody: {tmp_path / 'state'}"


def test_who_is_neither_root_nor_the_service_is_told_to_ask_as_root(
    configured: Configured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    installation = configured()
    installation.user = User("whycam", 994, 993)
    monkeypatch.setattr("whycam.doctor.disk.os.geteuid", lambda: 1000)

    finding = only(disk.state(installation))

    assert finding.status is Status.SKIPPED
    assert finding.fix == f"sudo whycam doctor -c {installation.path}"


def secret(path: Path, mode: int) -> Path:
    path.write_text("secret")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "status"), [(0o600, Status.OK), (0o400, Status.OK), (0o644, Status.FAILURE)])
def test_secrets_are_for_the_service_alone(configured: Configured, tmp_path: Path, mode: int, status: Status) -> None:
    path = secret(tmp_path / "it is", mode)

    finding = only(permissions.secrets(configured(broker={"username": "entrance", "password_file": path})))

    assert finding.status is status
    if status is Status.FAILURE:
        assert f"everybody may read {path}" in finding.found
        assert f"chmod 600 '{path}'" in str(finding.fix)


def test_all_secrets_are_looked_at(configured: Configured, tmp_path: Path) -> None:
    cameras = [
        {"name": "gate", "credentials_file": secret(tmp_path / "gate", 0o666)},
        {"name": "yard", "credentials_file": tmp_path / "none"},
    ]
    found = [checked(one) for one in permissions.secrets(configured(cameras=cameras))]

    assert [one.status for one in found] == [Status.FAILURE, Status.FAILURE]
    assert "gate's: everybody may read" in found[0].found
    assert "yard's" in found[1].found
    assert "no such file" in found[1].found


def test_without_secrets_that_is_said(configured: Configured) -> None:
    assert only(permissions.secrets(configured())).found == "none are configured"


def test_a_credential_is_looked_for_where_the_unit_loads_it(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    settings: dict[str, Any] = {"username": "entrance", "password_credential": "broker-password"}

    finding = only(permissions.secrets(configured(broker=settings)))

    assert finding.status is Status.FAILURE
    assert "LoadCredential=broker-password:/etc/whycam/broker-password" in str(finding.fix)


def test_another_user_s_secret(configured: Configured, tmp_path: Path) -> None:
    installation = configured(broker={"username": "entrance", "password_file": secret(tmp_path / "password", 0o600)})
    installation.user = User("whycam", 12345, 12345)

    finding = only(permissions.secrets(installation))

    assert "whycam may not read" in finding.found
    assert "chown whycam:" in str(finding.fix)


def machine(root: Path) -> Machine:
    for name, text in {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\nwhycam:x:994:993::/var/lib/whycam:/usr/sbin/nologin\n",
        "etc/group": "root:x:0:\nvideo:x:44:whycam,anna\nrender:x:105:\nwhycam:x:993:\nbroken\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


def test_a_user_is_read_with_its_groups(tmp_path: Path) -> None:
    assert user_named(machine(tmp_path), "whycam") == User("whycam", 994, 993, frozenset({44}))
    assert user_named(machine(tmp_path), "bert") is None


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "may"),
    [(0o400, 994, 0, True), (0o040, 0, 44, True), (0o040, 994, 44, False), (0o004, 0, 0, True), (0o640, 0, 0, False)],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give files away")
def test_what_a_user_may_is_told_by_owner_group_and_mode(
    tmp_path: Path, mode: int, uid: int, gid: int, may: bool
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    path = secret(tmp_path / "file", mode)
    os.chown(path, uid, gid)

    assert User("whycam", 994, 993, frozenset({44})).may(path, os.R_OK) is may


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give files away")
def test_a_device_that_is_closed_is_told_with_its_group(configured: Configured, tmp_path: Path) -> None:
    installation = configured(cameras=[{"source": "v4l2:/dev/video0"}])
    installation.machine = machine(tmp_path / "root")
    node = installation.machine.path("/dev/video0")
    node.parent.mkdir()
    node.write_text("")
    node.chmod(0o660)
    os.chown(node, 0, 44)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    installation.once("gpu", lambda: None)
    installation.user = User("whycam", 994, 993, frozenset({44}))
    assert only(permissions.groups(installation)).status is Status.OK

    installation.user = User("whycam", 994, 993)
    finding = only(permissions.groups(installation))

    assert finding.status is Status.FAILURE
    assert "usermod -aG video whycam" in str(finding.fix)
