"""Versions of the tiny bundle, signed or not, and what a store holds of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.runtime import tiny_bundle
from whycam.bundle import Bundle, revise
from whycam.bundle.archive import pack
from whycam.bundle.manifest import MANIFEST, SIGNATURE
from whycam.bundle.signature import sign_manifest
from whycam.deployment.install import Source, install
from whycam.deployment.self_test import SelfTest
from whycam.deployment.slot import id_of
from whycam.deployment.store import BundleStore


def make(directory: Path, version: str = "1", *, name: str = "colours") -> Path:
    """A bundle of this version in the folder `directory`, which is made."""
    tiny_bundle.build(directory)
    revise(Bundle.open(directory), {}, version=version, name=name)
    return directory


def id_at(bundle: Path) -> str:
    """The id that the version in this folder has in a store."""
    return id_of((bundle / MANIFEST).read_bytes())


def packed(bundle: Path) -> Path:
    """Its archive, beside it."""
    archive = bundle.with_suffix(".whycam.tar")
    pack(Bundle.open(bundle), archive)
    return archive


def make_key(folder: Path, name: str = "factory") -> Ed25519PrivateKey:
    """A private key, whose public one is trusted by who trusts `folder`."""
    folder.mkdir(exist_ok=True)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)
    return key


def sign(bundle: Path, key: Ed25519PrivateKey) -> None:
    """Sign the bundle in this folder."""
    (bundle / SIGNATURE).write_bytes(sign_manifest((bundle / MANIFEST).read_bytes(), key).to_bytes())


def states(store: BundleStore, name: str = "colours") -> dict[str, str]:
    """Of each version: id and state."""
    found = store.slot(name).look()
    return {id: found.state_of(id) for id in found.record.versions}


def passed(path: Path, precision: str, providers: Sequence[str] | None) -> SelfTest:
    """In the place of the self-test, where that takes longer than all that is looked at."""
    return SelfTest(precision, (), (), 0, 0, 0)


def put_candidate(store: BundleStore, bundle: Path) -> str:
    """Install the bundle as the candidate; its id."""
    return install(Source(bundle), store, None, candidate=True, test=passed).id


def put(store: BundleStore, bundle: Path, *, confirm: bool = True) -> str:
    """Install the bundle, and let it hold; its id."""
    made = install(Source(bundle), store, None, test=passed)
    if confirm:
        slot = store.slot(made.name)
        with slot.changing():
            assert slot.confirm(made.id)
    return made.id
