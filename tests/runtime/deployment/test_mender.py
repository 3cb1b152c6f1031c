"""Mender's update module, called as the protocol says that Mender does: a process for each state, a folder of files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.runtime.deployment.calling import REPOSITORY, command
from tests.runtime.deployment.versions import id_at, make, make_key, packed, put, sign, states
from whycam.deployment.store import BundleStore

MODULE = REPOSITORY / "deploy" / "mender" / "whycam-bundle"


class Mender:
    """A device under Mender, with one artifact on its way."""

    def __init__(self, folder: Path) -> None:
        self.store = BundleStore(folder / "store")
        self.slot = self.store.slot("colours")
        self.old = put(self.store, make(folder / "old", "1"))
        self.key = make_key(folder / "keys")
        self.files = folder / "files"
        self.whycam = command(folder, self.store.root, folder / "keys")
        for name in ("header", "tmp", "files"):
            (self.files / name).mkdir(parents=True)

    def payload(self, bundle: Path, *, signed: bool = True) -> str:
        """Let the artifact carry this bundle; its id."""
        if signed:
            sign(bundle, self.key)
        packed(bundle).rename(self.files / "files" / f"{bundle.name}.whycam.tar")
        return id_at(bundle)

    def __call__(self, state: str, *, seconds: float = 5) -> subprocess.CompletedProcess[str]:
        """What the module answers; queries come without the folder."""
        query = state.startswith(("Needs", "Supports"))
        return subprocess.run(
            [MODULE, state, *([] if query else [self.files])],
            cwd=self.files,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "WHYCAM": str(self.whycam), "WHYCAM_TRIAL_SECONDS": str(seconds)},
        )


@pytest.fixture
def mender(tmp_path: Path) -> Mender:
    return Mender(tmp_path)


def test_queries_and_states_that_are_not_known(mender: Mender) -> None:
    assert mender("SupportsRollback").stdout == "Yes\n"
    assert mender("NeedsArtifactReboot").stdout == "No\n"
    for state in ("Download", "ArtifactReboot", "ArtifactFailure", "Cleanup", "NeedsSomethingNew"):
        answer = mender(state)
        assert (answer.returncode, answer.stdout) == (0, "")


def test_a_version_that_holds_is_committed(mender: Mender, tmp_path: Path) -> None:
    new = mender.payload(make(tmp_path / "new", "2"))
    assert mender("Download").returncode == 0
    assert states(mender.store) == {mender.old: "current"}
    installed = mender("ArtifactInstall")
    assert installed.returncode == 0, installed.stderr
    assert f"installed colours 2 ({new}), on trial" in installed.stderr
    assert states(mender.store) == {mender.old: "before", new: "on-trial"}
    with mender.slot.changing():
        mender.slot.confirm(new)
    assert mender("ArtifactCommit").returncode == 0
    assert mender("Cleanup").returncode == 0
    assert states(mender.store) == {mender.old: "before", new: "current"}


def test_a_trial_that_does_not_end_is_rolled_back(mender: Mender, tmp_path: Path) -> None:
    new = mender.payload(make(tmp_path / "new", "2"))
    mender("ArtifactInstall")
    commit = mender("ArtifactCommit", seconds=1)
    assert commit.returncode != 0
    assert "is on trial still" in commit.stderr
    assert mender("ArtifactRollback").returncode == 0
    assert states(mender.store) == {mender.old: "current", new: "rolled-back"}
    event = mender.slot.look().event
    assert event is not None
    assert event.reason == "Mender has rolled back"


def test_what_the_service_has_taken_back_is_not_taken_back_twice(mender: Mender, tmp_path: Path) -> None:
    before = mender.old
    put(mender.store, make(tmp_path / "between", "1.5"))
    between = mender.slot.current
    mender.payload(make(tmp_path / "new", "2"))
    mender("ArtifactInstall")
    with mender.slot.changing():
        mender.slot.go_back("it did not score")
    commit = mender("ArtifactCommit")
    assert commit.returncode != 0
    assert "has not held: it did not score" in commit.stderr
    assert mender("ArtifactRollback").returncode == 0
    assert mender.slot.current == between != before


def test_a_bundle_that_is_refused_fails_the_artifact_and_changes_nothing(mender: Mender, tmp_path: Path) -> None:
    mender.payload(make(tmp_path / "new", "2"), signed=False)
    refused = mender("ArtifactInstall")
    assert refused.returncode != 0
    assert "is not signed" in refused.stderr
    assert mender("ArtifactRollback").returncode == 0
    assert states(mender.store) == {mender.old: "current"}


def test_what_was_there_before_the_artifact_stays_when_that_fails(mender: Mender, tmp_path: Path) -> None:
    same = make(tmp_path / "same", "2")
    id = mender.payload(same)
    put(mender.store, same)
    assert mender("ArtifactInstall").returncode == 0
    assert json.loads((mender.files / "tmp" / "installed.json").read_text())["changed"] is False
    assert mender("ArtifactCommit").returncode == 0
    assert mender("ArtifactRollback").returncode == 0
    assert mender.slot.current == id


def test_a_version_that_was_there_before_with_another_signature_stays_when_the_artifact_fails(
    mender: Mender, tmp_path: Path
) -> None:
    bundle = make(tmp_path / "new", "2")
    there = put(mender.store, bundle)
    assert mender.payload(bundle) == there
    assert mender("ArtifactInstall").returncode == 0
    rolled_back = mender("ArtifactRollback")
    assert rolled_back.returncode == 0
    assert "nothing was installed" in rolled_back.stderr
    assert mender.slot.current == there


def kill_at_install(mender: Mender, folder: Path, *, switched: bool) -> None:
    """The module dies when `whycam bundle install` has switched and said nothing yet, or before that begins."""
    real, killing = mender.whycam, folder / "killing"
    ends = f"'{real}' \"$@\" >/dev/null\n" if switched else ""
    killing.write_text(f'#!/usr/bin/env bash\n[ "$2" = install ] || exec \'{real}\' "$@"\n{ends}kill -KILL $PPID\n')
    killing.chmod(0o755)
    mender.whycam = killing
    assert mender("ArtifactInstall").returncode == -signal.SIGKILL
    mender.whycam = real
    assert not (mender.files / "tmp" / "installed.json").exists()


def test_an_installation_that_is_killed_after_the_switch_is_rolled_back(mender: Mender, tmp_path: Path) -> None:
    new = mender.payload(make(tmp_path / "new", "2"))
    kill_at_install(mender, tmp_path, switched=True)
    assert states(mender.store) == {mender.old: "before", new: "on-trial"}
    rolled_back = mender("ArtifactRollback")
    assert rolled_back.returncode == 0, rolled_back.stderr
    assert states(mender.store) == {mender.old: "current", new: "rolled-back"}


def test_an_installation_that_is_killed_before_the_switch_leaves_nothing_to_go_back_from(
    mender: Mender, tmp_path: Path
) -> None:
    earlier = mender.old
    held = put(mender.store, make(tmp_path / "held", "1.5"))
    mender.payload(make(tmp_path / "new", "2"))
    kill_at_install(mender, tmp_path, switched=False)
    rolled_back = mender("ArtifactRollback")
    assert (rolled_back.returncode, "nothing was installed" in rolled_back.stderr) == (0, True)
    assert states(mender.store) == {earlier: "before", held: "current"}


def test_a_version_that_was_there_before_stays_when_its_installation_is_killed(mender: Mender, tmp_path: Path) -> None:
    same = make(tmp_path / "same", "2")
    id = mender.payload(same)
    put(mender.store, same, confirm=False)
    kill_at_install(mender, tmp_path, switched=True)
    rolled_back = mender("ArtifactRollback")
    assert (rolled_back.returncode, "was the current version before" in rolled_back.stderr) == (0, True)
    assert states(mender.store) == {mender.old: "before", id: "on-trial"}


def test_an_artifact_of_several_files_is_refused(mender: Mender) -> None:
    for name in ("a", "b"):
        (mender.files / "files" / name).touch()
    refused = mender("ArtifactInstall")
    assert refused.returncode != 0
    assert refused.stderr == "whycam-bundle: the payload must be one bundle, NAME.whycam.tar\n"
