"""install.sh and uninstall.sh, in a copy of this machine's file system: what they put where, and what they refuse.

systemd does not run in the copy, so the service's restart is not tried here.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.conftest import QuickKit, install, sign_off, version
from tests.deploy.tree import Tree


def test_the_kit_installs_whycam_without_a_network(tree: Tree, kit: Path) -> None:
    tree.put(kit, "/root/kit")

    done = tree.run("unshare", "--net", "/root/kit/install.sh", "--offline")
    tried = tree.run("whycam", "--version")
    opened = tree.run("/opt/whycam/current/bin/python", "-c", "import cv2, onnxruntime, cryptography; print('opened')")

    assert done.returncode == 0, done.stderr
    assert tried.stdout.startswith("whycam "), tried.stderr
    assert opened.stdout == "opened\n", opened.stderr


def test_it_makes_the_user_and_its_folders(installed: Tree) -> None:
    listed = installed.run(
        *("stat", "--format", "%n %a %U:%G"),
        *("/etc/whycam", "/etc/whycam/trusted-keys", "/etc/whycam/whycam.toml", "/etc/whycam/broker-password"),
        *("/var/lib/whycam", "/var/lib/whycam/bundles"),
    )
    groups = installed.run("id", "--name", "--groups", "whycam")

    assert listed.stdout.splitlines() == [
        "/etc/whycam 750 root:whycam",
        "/etc/whycam/trusted-keys 750 root:whycam",
        "/etc/whycam/whycam.toml 640 root:whycam",
        "/etc/whycam/broker-password 600 root:root",
        "/var/lib/whycam 750 whycam:whycam",
        "/var/lib/whycam/bundles 750 whycam:whycam",
    ]
    assert set(groups.stdout.split()) == {"whycam", "video", "render"}


def test_again_it_changes_nothing(installed: Tree) -> None:
    before = installed.times()

    done = installed.run("/root/1.0/install.sh", "--offline")

    assert done.returncode == 0, done.stderr
    assert installed.times() == before


def test_an_upgrade_keeps_configuration_and_state(installed: Tree, quick_kit: QuickKit) -> None:
    (installed.changes / "etc/whycam/whycam.toml").write_text("# mine\n")
    (installed.changes / "var/lib/whycam/outbox.db").write_text("waiting")

    install(installed, quick_kit("2.0"))

    assert version(installed) == "2.0"
    assert (installed.changes / "etc/whycam/whycam.toml").read_text() == "# mine\n"
    assert (installed.changes / "var/lib/whycam/outbox.db").read_text() == "waiting"
    assert "# of 2.0" in (installed.changes / "usr/local/lib/systemd/system/whycam.service").read_text()


def test_undo_goes_back_to_the_release_before_and_forth_again(installed: Tree, quick_kit: QuickKit) -> None:
    install(installed, quick_kit("2.0"))

    for wanted in ("1.0", "2.0"):
        done = installed.run("/opt/whycam/current/kit/install.sh", "--undo", "--offline")

        assert done.returncode == 0, done.stderr
        assert version(installed) == wanted
        assert f"# of {wanted}" in (installed.changes / "usr/local/lib/systemd/system/whycam.service").read_text()


def test_without_a_release_before_there_is_nothing_to_undo(installed: Tree) -> None:
    refused(installed.run("/root/1.0/install.sh", "--undo", "--offline"), "there is no release before 1.0-[0-9a-f]{12}")


def test_the_last_two_releases_are_kept(installed: Tree, quick_kit: QuickKit) -> None:
    for number in ("2.0", "3.0"):
        install(installed, quick_kit(number))

    kept = installed.run("ls", "/opt/whycam/releases").stdout.split()
    assert [name.split("-")[0] for name in kept] == ["2.0", "3.0"]


def test_a_release_that_refuses_todays_configuration_does_not_take_over(installed: Tree, quick_kit: QuickKit) -> None:
    (installed.changes / "etc/whycam/whycam.toml").write_text("refused by 2.0\n")

    done = installed.run(installed.put(quick_kit("2.0"), "/root/2.0") + "/install.sh", "--offline")

    assert done.returncode == 1
    assert "does not accept /etc/whycam/whycam.toml" in done.stderr
    assert version(installed) == "1.0"


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ("kit_machine=aarch64", "this kit is for aarch64, and this machine is x86_64: .*"),
        ("kit_python=3.12", "this kit is for Python 3.12 .*, and /usr/bin/python3 is 3.11: .*"),
        ("kit_glibc=9.99", "this kit wants glibc 9.99 .*"),
        ("kit_systemd=999", "whycam's unit wants systemd 999, and here is [0-9]+"),
        ("kit_needed_kib=99999999999", "/opt has [0-9]+ MiB free, and whycam takes [0-9]+ MiB"),
    ],
)
def test_another_machine_is_refused_before_anything_is_changed(
    tree: Tree, quick_kit: QuickKit, fact: str, told: str
) -> None:
    tree.put(quick_kit("1.0"), "/root/kit")
    kit = tree.changes / "root" / "kit"
    with (kit / "kit.env").open("a") as facts:
        facts.write(f"{fact}\n")
    sign_off(kit)

    refused(tree.run("/root/kit/install.sh", "--offline"), told)
    assert {path for path in tree.added() if not path.startswith("/root/kit")} == set()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("rm /root/kit/wheels/whycam-*.whl", "files of this kit are missing or damaged: .*"),
        ("echo >>/root/kit/requirements.txt", "files of this kit are missing or damaged: .*"),
        ("sed -i '$d' /root/kit/SHA256SUMS", r"whycam\.toml is not of this kit: .*"),
        ("rm -r /root/kit/wheels", "this folder holds no wheels: .*"),
        ("echo mine >/usr/local/bin/whycam", "/usr/local/bin/whycam is not of this installer: move it away"),
        (
            "mkdir -p /etc/systemd/system; echo >/etc/systemd/system/whycam.service",
            "/etc/systemd/system/whycam.* move .*",
        ),
        ("", "unknown argument '--now': see ./install.sh --help"),
    ],
)
def test_what_is_in_the_way_is_told_in_one_line(tree: Tree, quick_kit: QuickKit, harm: str, told: str) -> None:
    tree.put(quick_kit("1.0"), "/root/kit")
    tree.run("sh", "-c", harm)

    refused(tree.run("/root/kit/install.sh", "--offline", *([] if harm else ["--now"])), told)
    assert not (tree.changes / "opt/whycam").exists()


def test_it_wants_root_and_a_running_systemd(tree: Tree, quick_kit: QuickKit) -> None:
    tree.put(quick_kit("1.0"), "/kit")

    refused(tree.run("setpriv", "--reuid=65534", "/kit/install.sh"), r"needs root: sudo \./install\.sh")
    refused(tree.run("/kit/install.sh"), "systemd does not run here; .*")


def test_two_at_once_do_not_meet(installed: Tree) -> None:
    done = installed.run("flock", "/opt/whycam", "/root/1.0/install.sh", "--offline")

    refused(done, "another install.sh or uninstall.sh is at work: .*")


def test_uninstall_keeps_configuration_and_state(installed: Tree) -> None:
    done = installed.run("/opt/whycam/current/kit/uninstall.sh", "--offline")

    assert done.returncode == 0, done.stderr
    assert {Path(path).parts[:4] for path in installed.added() if not path.startswith("/root/")} <= {
        ("/", "etc", "whycam"),
        ("/", "etc", "whycam", "trusted-keys"),
        ("/", "etc", "whycam", "whycam.toml"),
        ("/", "etc", "whycam", "whycam.example.toml"),
        ("/", "etc", "whycam", "broker-password"),
        ("/", "var", "lib", "whycam"),
        *ACCOUNTS,
    }


def test_uninstall_with_purge_leaves_nothing(installed: Tree, quick_kit: QuickKit) -> None:
    install(installed, quick_kit("2.0"))

    done = installed.run("/root/2.0/uninstall.sh", "--purge", "--offline")
    again = installed.run("/root/2.0/uninstall.sh", "--purge", "--offline")

    assert (done.returncode, again.returncode) == (0, 0), done.stderr + again.stderr
    assert {Path(path).parts[:4] for path in installed.added() if not path.startswith("/root/")} <= ACCOUNTS
    assert installed.run("getent", "passwd", "whycam").stdout == ""
    assert installed.run("getent", "group", "whycam").stdout == ""


ACCOUNTS = {("/", "etc", f"{name}{end}") for name in ("passwd", "group", "shadow", "gshadow") for end in ("", "-")} | {
    ("/", "etc", ".pwd.lock")
}
"""What adding a user leaves behind on Debian."""


def refused(done: subprocess.CompletedProcess[str], told: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.fullmatch(rf"(un)?install\.sh: {told}\n", done.stderr), done.stderr
