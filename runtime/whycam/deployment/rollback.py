"""Going back by hand: only to what the device would install, too."""

from __future__ import annotations

from whycam.bundle.archive import judge, read_directory
from whycam.bundle.signature import TrustedKeys
from whycam.deployment.record import Event
from whycam.deployment.slot import Slot
from whycam.errors import BrokenSignatureError, InputError, UnsignedBundleError, UntrustedBundleError


def roll_back(slot: Slot, reason: str, to: str | None, keys: TrustedKeys | None) -> Event:
    """Switch `slot` back to the version before the current one, or to `to`; what has happened.

    One of `keys` must have signed it; None: it may be anyone's. Raises InputError where there is no such version, or it
    is not trusted, and BundleError where it is damaged; nothing has changed then.
    """
    with slot.changing():
        now = slot.look()
        others = [id for id in now.record.versions if id not in (now.current, now.candidate)]
        if to is None and now.current is not None and now.before is None and others:
            raise InputError(
                f"bundle '{slot.name}': no version before {now.current} has held; choose one with --to: "
                f"{', '.join(others)}"
            )
        target = to or now.before
        if keys is not None and target in others:
            _check_signature(slot, target, keys)
        return slot.go_back(reason, to)


def _check_signature(slot: Slot, id: str, keys: TrustedKeys) -> None:
    head = read_directory(slot.path_of(id))
    try:
        judge(head, keys, f"bundle '{slot.name}': {head.manifest.version} ({id})")
    except (UnsignedBundleError, UntrustedBundleError, BrokenSignatureError) as error:
        raise InputError(f"{error}; or go to another version with --to") from None
