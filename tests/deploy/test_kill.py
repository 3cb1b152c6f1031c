"""install.sh killed on its way: the old or the new whycam is there, whole, and the next run completes.

Bash runs a trap before each of the script's commands, and the trap kills it before the one that the test chose. What
the script has called meanwhile is left to end or dies with the tree's process namespace.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.deploy.conftest import QuickKit, version
from tests.deploy.tree import Tree

TRAP = """
set -T
trap 'if [ $((KILLED += 1)) = "$KILL_AT" ]; then kill -KILL "$$"; fi; echo "$KILLED" >/tmp/killed' DEBUG
KILLED=0
"""
MOMENTS = 6


@pytest.fixture(scope="module")
def before_upgrade(memory: Path, first_install: Tree, quick_kit: QuickKit) -> Tree:
    """Version 1.0 in use, and the kit of 2.0 at hand."""
    tree = first_install.copy(memory / "before-upgrade")
    tree.put(quick_kit("2.0"), "/root/2.0")
    (tree.changes / "etc/whycam/whycam.toml").write_text("# mine\n")
    (tree.changes / "root/trap").write_text(TRAP)
    return tree


@pytest.fixture(scope="module")
def commands(memory: Path, before_upgrade: Tree) -> int:
    """How many commands the upgrade takes."""
    tree = before_upgrade.copy(memory / "counted")
    assert killed_at(tree, 10**9) == 0
    return int((tree.changes / "tmp/killed").read_text())


def killed_at(tree: Tree, command: int) -> int:
    """Upgrade until that command; the status."""
    environment = {"BASH_ENV": "/root/trap", "KILL_AT": str(command)}
    return tree.run("/root/2.0/install.sh", "--offline", environment=environment).returncode


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_any_command_it_leaves_the_old_or_the_new_and_the_next_run_completes(
    memory: Path, before_upgrade: Tree, commands: int, moment: int
) -> None:
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        tree = before_upgrade.copy(Path(folder) / "tree")

        assert killed_at(tree, 1 + moment * (commands - 1) // (MOMENTS - 1)) == 137
        assert_old_or_new(tree)
        assert tree.run("/root/2.0/install.sh", "--offline").returncode == 0
        assert version(tree) == "2.0"
        assert tree.run("/root/2.0/install.sh", "--undo", "--offline").returncode == 0
        assert version(tree) == "1.0"


def assert_old_or_new(tree: Tree) -> None:
    assert version(tree) in ("1.0", "2.0")
    unit = (tree.changes / "usr/local/lib/systemd/system/whycam.service").read_text()
    assert unit.endswith(("# of 1.0\n", "# of 2.0\n"))
    assert (tree.changes / "etc/whycam/whycam.toml").read_text() == "# mine\n"


def test_killed_during_the_first_install_it_leaves_nothing_in_use_or_all_of_it(
    tree: Tree, quick_kit: QuickKit, commands: int
) -> None:
    tree.put(quick_kit("2.0"), "/root/2.0")
    (tree.changes / "root/trap").write_text(TRAP)

    assert killed_at(tree, commands // 2) == 137
    assert version(tree) in ("", "2.0")
    install_again = tree.run("/root/2.0/install.sh", "--offline")
    assert install_again.returncode == 0, install_again.stderr
    assert version(tree) == "2.0"
