"""The store: one rename decides, and whatever a power cut leaves is put right at the next use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.deployment.dying import die_at
from tests.runtime.deployment.versions import id_at, make, passed, put, put_candidate, states
from whycam.bundle import Bundle
from whycam.deployment.install import Source, install
from whycam.deployment.promote import promote
from whycam.deployment.slot import Slot, slot_of
from whycam.deployment.store import BundleStore
from whycam.errors import InputError


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return [make(folder / str(number), str(number)) for number in range(4)]


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store")


def check_whole(slot: Slot) -> Bundle:
    """The current version, each of its files checked."""
    bundle = Bundle.open(slot.link.resolve())
    for name in bundle.manifest.files:
        bundle.file(name)
    assert id_at(bundle.path) == bundle.path.name == slot.current
    return bundle


def check_tidy(slot: Slot) -> None:
    """Nothing is there that is not listed, and what is listed is there."""
    found = slot.look()
    versions = {path.name for path in (slot.folder / "versions").iterdir()}
    assert versions == set(found.record.versions)
    assert {path.name for path in slot.folder.iterdir()} <= {"current", "candidate", "record.json", "versions"}
    assert slot.candidate_link.is_symlink() == (found.candidate is not None)
    assert all(one.candidate == (id == found.candidate) for id, one in found.record.versions.items())
    assert found.trial is None or found.trial.id == found.current
    assert found.record.going_back is None


def after_each_death(
    given: BundleStore,
    act: Callable[[BundleStore], object],
    folder: Path,
    check: Callable[[BundleStore, int], None],
) -> int:
    """Let `act` die at each of its steps in turn, in a copy of the store each time, and `check`; how many steps."""
    given.root.mkdir(exist_ok=True)
    step = 0
    while True:
        store = BundleStore(shutil.copytree(given.root, folder / str(step), symlinks=True))
        if not die_at(step, store.root, partial(act, store)):
            return step
        check(store, step)
        step += 1


@pytest.mark.parametrize("before", [0, 3])
def test_an_installation_that_dies_at_any_step_leaves_the_old_or_the_new(
    before: int, bundles: list[Path], store: BundleStore, tmp_path: Path
) -> None:
    """With no version before it, and with so many that one has to go."""
    new = id_at(bundles[before])
    seen: set[str | None] = set()

    for bundle in bundles[:before]:
        put(store, bundle)

    def check(store: BundleStore, step: int) -> None:
        slot = store.slot("colours")
        old = id_at(bundles[before - 1]) if before else None
        # As it is found, by those who only read: the service, `list`.
        found = slot.look()
        assert found.current in (old, new), step
        seen.add(found.current)
        if found.current is not None:
            check_whole(slot)
        assert (found.trial is not None) == (found.current == new)
        for id in found.record.versions:
            assert (slot.path_of(id) / "manifest.json").is_file() or id != found.current
        if found.current == new:
            assert found.event is not None and (found.event.event, found.event.id) == ("installed", new)
        elif old is not None:
            assert found.event is not None and (found.event.event, found.event.id) == ("confirmed", old)
        # The same again is as if nothing had been.
        put(store, bundles[before], confirm=False)
        check_whole(slot)
        check_tidy(slot)
        assert slot.current == new
        assert states(store)[new] == "on-trial"
        assert slot.look().before == old
        assert len(states(store)) == min(before + 1, 3)

    steps = after_each_death(
        store, lambda store: install(Source(bundles[before]), store, None, test=passed), tmp_path, check
    )
    assert steps > 20
    assert seen == {id_at(bundles[before - 1]) if before else None, new}


def test_a_rollback_that_dies_at_any_step_is_finished_or_has_not_begun(
    bundles: list[Path], store: BundleStore, tmp_path: Path
) -> None:
    old, new = id_at(bundles[0]), id_at(bundles[1])
    ends: list[str | None] = []

    put(store, bundles[0])
    put(store, bundles[1], confirm=False)

    def act(store: BundleStore) -> None:
        slot = store.slot("colours")
        with slot.changing():
            slot.go_back("it did not score")

    def check(store: BundleStore, step: int) -> None:
        slot = store.slot("colours")
        found = slot.look()
        check_whole(slot)
        assert found.current in (old, new)
        assert (found.trial is not None) == (found.current == new)
        with slot.changing():
            pass
        check_whole(slot)
        check_tidy(slot)
        now = slot.look()
        ends.append(now.current)
        assert now.event is not None
        if now.current == old:
            assert (now.event.event, now.event.id, now.event.previous) == ("rolled-back", new, old)
            assert now.event.reason == "it did not score"
            assert states(store) == {old: "current", new: "rolled-back"}
        else:
            assert states(store) == {old: "before", new: "on-trial"}

    assert after_each_death(store, act, tmp_path, check) > 4
    # Once it is announced, it is done, whatever comes between.
    assert ends == sorted(ends, key=lambda id: id == old)
    assert set(ends) == {old, new}


@pytest.mark.parametrize("before", [0, 1])
def test_a_candidate_whose_installation_dies_at_any_step_is_the_old_or_the_new(
    before: int, bundles: list[Path], store: BundleStore, tmp_path: Path
) -> None:
    """With none before it, and with one whose place it takes."""
    current = put(store, bundles[0])
    old = put_candidate(store, bundles[1]) if before else None
    new = id_at(bundles[2])
    seen = set()

    def check(store: BundleStore, step: int) -> None:
        slot = store.slot("colours")
        found = slot.look()
        assert (found.current, found.trial, found.before) == (current, None, None)
        assert found.candidate in (old, new)
        seen.add(found.candidate)
        check_whole(slot)
        if found.candidate is not None:
            candidate = Bundle.open(slot.candidate_link.resolve())
            assert all(candidate.file(name) for name in candidate.manifest.files)
        assert put_candidate(store, bundles[2]) == new
        check_tidy(slot)
        assert states(store) == {current: "current", new: "candidate"}

    assert after_each_death(store, lambda store: put_candidate(store, bundles[2]), tmp_path, check) > 20
    assert seen == {old, new}


def test_a_promotion_that_dies_at_any_step_is_done_or_has_not_begun(
    bundles: list[Path], store: BundleStore, tmp_path: Path
) -> None:
    old, new = put(store, bundles[0]), put_candidate(store, bundles[1])
    seen = set()

    def check(store: BundleStore, step: int) -> None:
        slot = store.slot("colours")
        found = slot.look()
        seen.add(found.current)
        for _ in range(2):
            check_whole(slot)
            wanted = {old: "before", new: "on-trial"} if found.current == new else {old: "current", new: "candidate"}
            assert states(store) == wanted, step
            with slot.changing():
                pass
        check_tidy(slot)

    assert after_each_death(store, lambda store: promote("colours", store, None, test=passed), tmp_path, check) > 4
    assert seen == {old, new}


def test_a_candidate_is_nothing_to_go_back_to_and_does_not_go_while_it_is_one(
    bundles: list[Path], store: BundleStore
) -> None:
    first, candidate = put(store, bundles[0]), put_candidate(store, bundles[1])
    slot = store.slot("colours")
    with slot.changing(), pytest.raises(InputError, match="there is nothing to go back to"):
        slot.go_back("asked for")
    with slot.changing(), pytest.raises(InputError, match=f"{candidate} is a candidate"):
        slot.go_back("asked for", candidate)
    second, third = put(store, bundles[2]), put(store, bundles[3])
    assert states(store) == {first: "earlier", candidate: "candidate", second: "before", third: "current"}
    (slot.folder / "record.json").unlink()
    assert states(store)[candidate] == "candidate"
    made = promote("colours", store, None, test=passed)
    assert (made.id, made.previous) == (candidate, third)
    assert states(store) == {candidate: "on-trial", third: "before", second: "earlier"}
    with pytest.raises(InputError, match="there is no candidate"):
        promote("colours", store, None, test=passed)


def test_what_is_installed_as_current_is_no_candidate_any_more(bundles: list[Path], store: BundleStore) -> None:
    put(store, bundles[0])
    candidate = put_candidate(store, bundles[1])
    assert put_candidate(store, bundles[1]) == candidate
    put(store, bundles[1])
    assert store.slot("colours").look().candidate is None
    check_tidy(store.slot("colours"))
    with pytest.raises(InputError, match="is current already"):
        put_candidate(store, bundles[1])


def test_a_rollback_goes_to_the_version_before_and_says_why(bundles: list[Path], store: BundleStore) -> None:
    first, second, third = (put(store, bundle) for bundle in bundles[:3])
    slot = store.slot("colours")
    with slot.changing():
        event = slot.go_back("asked for")
    assert (event.event, event.id, event.previous, event.reason) == ("rolled-back", third, second, "asked for")
    assert states(store) == {first: "before", second: "current", third: "rolled-back"}
    with slot.changing():
        assert slot.go_back("again").previous == first
    with slot.changing(), pytest.raises(InputError, match="there is nothing to go back to"):
        slot.go_back("once more")
    with slot.changing():
        assert slot.go_back("on", third).previous == third
    assert slot.current == third


def test_what_took_the_place_of_a_version_that_was_rolled_back_goes_back_past_it(
    bundles: list[Path], store: BundleStore
) -> None:
    first, second = put(store, bundles[0]), put(store, bundles[1])
    slot = store.slot("colours")
    with slot.changing():
        slot.go_back("it was bad")
    third = put(store, bundles[2])
    assert slot.look().before == first
    assert states(store) == {first: "before", second: "rolled-back", third: "current"}


def test_what_has_not_held_is_nothing_to_go_back_to(bundles: list[Path], store: BundleStore) -> None:
    held = put(store, bundles[0])
    put(store, bundles[1], confirm=False)
    newest = put(store, bundles[2], confirm=False)
    found = store.slot("colours").look()
    assert found.trial is not None
    assert (found.trial.id, found.trial.previous, found.before) == (newest, held, held)


def test_a_version_that_is_there_already_is_switched_to_on_trial(bundles: list[Path], store: BundleStore) -> None:
    first, second = put(store, bundles[0]), put(store, bundles[1])
    assert put(store, bundles[0], confirm=False) == first
    assert states(store) == {first: "on-trial", second: "before"}


@pytest.mark.parametrize("to", ["0123456789abcdef", "..", "../../x", ""])
def test_only_installed_versions_can_be_gone_to(to: str, bundles: list[Path], store: BundleStore) -> None:
    put(store, bundles[0])
    second = put(store, bundles[1])
    slot = store.slot("colours")
    if to:
        with slot.changing(), pytest.raises(InputError, match="is not installed"):
            slot.go_back("asked for", to)
        assert slot.current == second


def test_a_switch_by_hand_ends_the_trial(bundles: list[Path], store: BundleStore) -> None:
    first = put(store, bundles[0])
    second = put(store, bundles[1], confirm=False)
    slot = store.slot("colours")
    slot.link.unlink()
    slot.link.symlink_to(Path("versions", first))
    found = slot.look()
    assert (found.current, found.trial) == (first, None)
    assert second not in found.record.versions


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 100, b'{"versions": {"x": 1}}'])
def test_a_record_that_is_lost_costs_the_history_alone(
    content: bytes, bundles: list[Path], store: BundleStore, caplog: Any
) -> None:
    first, second = put(store, bundles[0]), put(store, bundles[1])
    slot = store.slot("colours")
    (slot.folder / "record.json").write_bytes(content)
    assert slot.current == second
    if content != b"{}":
        assert set(slot.look().record.versions) == {first, second}
    third = put(store, bundles[2])
    assert ("what it said is lost" in caplog.text) == (content != b"{}")
    check_whole(slot)
    assert slot.current == third
    (slot.folder / "record.json").unlink()
    assert third in slot.look().record.versions


def test_a_link_that_points_elsewhere_is_no_version(bundles: list[Path], store: BundleStore, tmp_path: Path) -> None:
    put(store, bundles[0])
    slot = store.slot("colours")
    assert slot_of(slot.link) is not None
    for target in ("../../..", "versions/0123456789abcdef", str(bundles[0]), "versions/../versions"):
        slot.link.unlink()
        slot.link.symlink_to(target)
        assert slot.current is None
        assert slot_of(slot.link) is None
    assert slot_of(bundles[0]) is None
