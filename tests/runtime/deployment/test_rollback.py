"""`whycam bundle rollback`: to versions that the device trusts still."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.deployment.versions import make, make_key, put, sign, states
from whycam.commands import trust
from whycam.config.models import Bundles
from whycam.deployment.rollback import roll_back
from whycam.deployment.store import BundleStore
from whycam.deployment.trust import is_trusted
from whycam.errors import InputError

Whycam = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store")


def change_keys(folder: Path, store: BundleStore) -> tuple[str, str, Path]:
    """Versions by an old key and by a new one, ids; in the folder of trusted keys, the old one is no more."""
    keys = folder / "keys"
    ids = []
    for version, name in (("1", "old"), ("2", "new")):
        bundle = make(folder / version, version)
        sign(bundle, make_key(keys, name))
        ids.append(put(store, bundle))
    (keys / "old.pub").rename(folder / "old.pub")
    return ids[0], ids[1], keys


def configured(folder: Path, keys: Path, allow_unsigned: bool = False) -> Path:
    """The configuration of a device that trusts `keys`."""
    path = folder / "whycam.toml"
    path.write_text(
        f"device = 'post'\n[bundles]\ntrust_directory = '{keys}'\ndirectory = '{folder / 'store'}'\n"
        f"allow_unsigned = {str(allow_unsigned).lower()}\n"
        "[[camera]]\nname = 'gate'\nsource = 'gate.mp4'\nbundle = 'store/colours/current'\n"
    )
    return path


def test_what_is_not_trusted_any_more_is_not_gone_back_to(tmp_path: Path, whycam: Whycam, store: BundleStore) -> None:
    old, new, keys = change_keys(tmp_path, store)
    settings = configured(tmp_path, keys)
    for to in ((), ("--to", old)):
        run = whycam("bundle", "rollback", "-c", settings, *to)
        (line,) = run.stderr.splitlines()
        assert (run.returncode, f"bundle 'colours': 1 ({old}): the bundle is signed by" in line) == (2, True), line
    assert "forbids it" in whycam("bundle", "rollback", "-c", settings, "--allow-unsigned").stderr
    assert states(store) == {old: "before", new: "current"}
    assert not is_trusted(store.slot("colours").path_of(old), Bundles(trust_directory=keys))
    (tmp_path / "old.pub").rename(keys / "old.pub")
    assert is_trusted(store.slot("colours").path_of(old), Bundles(trust_directory=keys))
    assert whycam("bundle", "rollback", "-c", settings).returncode == 0
    assert states(store) == {old: "current", new: "rolled-back"}


def test_where_the_configuration_allows_it_anyones_is_gone_back_to(
    tmp_path: Path, whycam: Whycam, store: BundleStore
) -> None:
    old, new, keys = change_keys(tmp_path, store)
    settings = configured(tmp_path, keys, allow_unsigned=True)
    assert whycam("bundle", "rollback", "-c", settings).returncode == 2
    assert whycam("bundle", "rollback", "-c", settings, "--allow-unsigned").returncode == 0
    assert states(store) == {old: "current", new: "rolled-back"}


def test_where_nothing_has_held_one_must_be_chosen(tmp_path: Path, store: BundleStore) -> None:
    first, second = (put(store, make(tmp_path / version, version), confirm=False) for version in ("1", "2"))
    slot = store.slot("colours")
    with pytest.raises(InputError, match=f"no version before {second} has held; choose one with --to: {first}"):
        roll_back(slot, "asked for", None, None)
    assert roll_back(slot, "asked for", first, None).previous == first
    assert slot.current == first


def test_other_keys_do_not_lift_the_ban_of_the_devices_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keys", "others"):
        make_key(tmp_path / name)
    monkeypatch.setattr(trust, "DEVICE_CONFIG", configured(tmp_path, tmp_path / "keys"))
    for folder in (None, tmp_path / "others"):
        for keys in (trust.trusted_keys, trust.keys_to_go_back):
            with pytest.raises(InputError, match=r"--allow-unsigned: .*whycam.toml forbids it"):
                keys(None, folder, True)
    # Another file that is named counts instead.
    (tmp_path / "other").mkdir()
    other = configured(tmp_path / "other", tmp_path / "keys", allow_unsigned=True)
    assert trust.trusted_keys(other, tmp_path / "others", True) is None
