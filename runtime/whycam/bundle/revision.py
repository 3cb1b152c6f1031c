"""Changing a bundle in its place: at each moment it is whole, as it was before or as it is after."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from whycam.bundle.manifest import SIGNATURE, Manifest
from whycam.bundle.store import Bundle, file_entry, write_manifest, write_to_disk
from whycam.errors import BundleError


def check_writable(bundle: Bundle) -> None:
    """Raise BundleError where `bundle` cannot be revised, before hours go into what would be written."""
    if not os.access(bundle.path, os.W_OK | os.X_OK):
        raise BundleError(f"{bundle.path}: cannot be written; allow it, or work on a copy")


def reopened(bundle: Bundle) -> Bundle:
    """`bundle` as it is now, with what was written meanwhile; its graphs are those that it had.

    Raises BundleError where they are not: what was measured is then of another model.
    """
    now = Bundle.open(bundle.path)
    for name, entry in bundle.manifest.files.items():
        if name.endswith(".onnx") and now.manifest.files.get(name) != entry:
            raise BundleError(f"{bundle.path}: {name} was changed meanwhile, nothing was written; run this again")
    return now


def revise(bundle: Bundle, files: Mapping[str, bytes], *, drop: Collection[str] = (), **changes: Any) -> Bundle:
    """Write `files` into `bundle`, take out those named in `drop`, change these keys of its manifest.

    While a file is replaced that was there before, the manifest does not name it: a service that starts then, or after
    the power was cut, finds a bundle without that precision or without that drift file, never a damaged one. Its
    signature is gone then: the bundle is another, and must be signed again.

    Raises BundleError where the bundle has been changed since it was opened, or cannot be written to, and ValueError
    where the changed manifest would contradict itself; nothing is changed then.
    """
    before = bundle.manifest
    if Bundle.open(bundle.path).manifest != before:
        raise BundleError(f"{bundle.path}: was changed by something else meanwhile; run this again")
    drafts = {name: bundle.path / f"{name}.part" for name in files}
    try:
        try:
            for name, draft in drafts.items():
                write_to_disk(draft, files[name])
            entries = {name: entry for name, entry in before.files.items() if name not in drop}
            entries |= {name: file_entry(draft) for name, draft in drafts.items()}
            after = Manifest.model_validate({**dict(before), **changes, "files": entries})
            # The signature is of what the bundle was: without it, nobody takes the new one for what was signed.
            (bundle.path / SIGNATURE).unlink(missing_ok=True)
            touched = {*drop, *files} & set(before.files)
            if touched:
                write_manifest(bundle.path, _without(before, touched))
            for name, draft in drafts.items():
                draft.replace(bundle.path / name)
            write_manifest(bundle.path, after)
        finally:
            for draft in drafts.values():
                draft.unlink(missing_ok=True)
        for name in set(drop) & set(before.files):
            (bundle.path / name).unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(
            f"{bundle.path}: cannot be written ({error.strerror or error}); make room or allow it"
        ) from error
    return Bundle(bundle.path, after)


def _without(manifest: Manifest, names: Collection[str]) -> Manifest:
    lost = {precision for precision, file in manifest.precisions.items() if file in names}
    lost |= {precision for precision, each in manifest.calibrated.items() if each.golden in names}
    return manifest.model_copy(
        update={
            "precisions": {key: file for key, file in manifest.precisions.items() if key not in lost},
            "steps": {key: file for key, file in manifest.steps.items() if key not in lost and file not in names},
            "calibrated": {key: each for key, each in manifest.calibrated.items() if key not in lost},
            "drift": None if manifest.drift in names else manifest.drift,
            "files": {name: entry for name, entry in manifest.files.items() if name not in names},
        }
    )
