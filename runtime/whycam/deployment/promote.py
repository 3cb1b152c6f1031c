"""Promoting a candidate: tested as the cameras will run it, then switched to, on trial, as an installation would."""

from __future__ import annotations

from collections.abc import Callable, Collection

from whycam.bundle import Bundle
from whycam.bundle.archive import judge, read_directory
from whycam.bundle.signature import TrustedKeys
from whycam.config.models import Camera
from whycam.deployment.install import Installation, Test, settings_of, tested
from whycam.deployment.isolated import self_test_apart
from whycam.deployment.store import BundleStore
from whycam.errors import InputError


def promote(
    name: str,
    store: BundleStore,
    keys: TrustedKeys | None,
    cameras: Collection[Camera] = (),
    *,
    test: Test = self_test_apart,
    stage: Callable[[str], None] = lambda _: None,
) -> Installation:
    """Make the candidate of the bundle `name` current; the arguments are those of `install`.

    Raises BundleError and InputError where there is none, or it is refused; nothing has changed then.
    """
    slot = store.slot(name)
    with store.installing():
        with slot.changing():
            before = slot.look()
        id = before.candidate
        if id is None:
            raise InputError(f"bundle '{name}': there is no candidate in {slot.folder}; install one with `--candidate`")
        path = slot.path_of(id)
        head = read_directory(path)
        signed_by = judge(head, keys, path)
        bundle = Bundle(path, head.manifest)
        for file in head.manifest.files:
            bundle.file(file)
        tests = tuple(tested(path, path, setting, test, stage) for setting in settings_of(cameras, slot))
        with slot.changing():
            slot.begin_trial(None, id, head.manifest.version, signed_by)
            removed = slot.prune()
    return Installation(name, head.manifest.version, id, before.current, signed_by, True, tests, tuple(removed))
