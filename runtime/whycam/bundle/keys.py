"""The pair of keys that bundles are signed with: a private one for the workstation, a public one for the devices."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from whycam.bundle.manifest import plain_name
from whycam.bundle.signature import MOST_KEY_BYTES, key_id
from whycam.errors import InputError

Ask = Callable[[], bytes]
"""Gives the passphrase of a private key."""


@dataclass(frozen=True)
class KeyPair:
    """What `make_keys` has written."""

    private: Path
    public: Path
    id: str


def make_keys(name: str, folder: Path, passphrase: bytes | None = None) -> KeyPair:
    """Write a new pair of Ed25519 keys into `folder`: NAME.key, which its owner alone can read, and NAME.pub.

    Raises InputError where one of them is there already, or cannot be written: nothing is replaced.
    """
    try:
        plain_name(f"{name}.key")
    except ValueError as error:
        raise InputError(f"'{name}': the name of a key {error}; choose another") from None
    if passphrase == b"":
        raise InputError("the passphrase is empty; give one, or none at all")
    key = Ed25519PrivateKey.generate()
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    pair = KeyPair(folder / f"{name}.key", folder / f"{name}.pub", key_id(key.public_key()))
    for path in (pair.private, pair.public):
        if os.path.lexists(path):
            raise InputError(f"{path}: is there already; keys are never replaced, choose another name or folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _create(pair.private, private, 0o600)
        try:
            _create(pair.public, public, 0o644)
        except OSError:
            pair.private.unlink()
            raise
    except OSError as error:
        raise InputError(f"{folder}: keys cannot be written there ({error.strerror}); allow it") from error
    return pair


def read_private_key(path: Path, ask: Ask) -> Ed25519PrivateKey:
    """The private key in the PEM file at `path`; `ask` is called where it has a passphrase.

    Raises InputError where it cannot be read, or the passphrase is not its own.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_KEY_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); is the name right?") from None
    try:
        key = load_pem_private_key(content, None)
    except TypeError:  # it has a passphrase
        passphrase = ask()
        try:
            key = load_pem_private_key(content, passphrase)
        except (ValueError, TypeError):
            raise InputError(f"{path}: this is not its passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path}: no Ed25519 private key in PEM, as `whycam bundle keygen` writes")
    return key


def _create(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        # Whatever the umask takes away; nothing is added to it by accident.
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
