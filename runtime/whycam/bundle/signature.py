"""Who made a bundle: Ed25519 signatures over its manifest, which names the SHA-256 of every file.

`manifest.sig` holds one signature or several, so that a bundle can be signed by the old key and the new one while the
devices of a fleet change from one to the other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from whycam.bundle.store import MOST_SIGNATURE_BYTES
from whycam.errors import BrokenSignatureError, BundleError, UnsignedBundleError, UntrustedBundleError

SCHEMA: Literal["whycam.signature/1"] = "whycam.signature/1"
MOST_SIGNATURES = 32

# What is signed begins with it, so that a signature serves for nothing else that the same key may ever sign.
_PREFIX = f"{SCHEMA}\0".encode()
MOST_KEY_BYTES = 16 << 10


def _signature(text: str) -> str:
    try:
        if len(base64.b64decode(text, validate=True)) == 64:
            return text
    except (binascii.Error, ValueError):
        pass
    raise ValueError("is no Ed25519 signature in base64")


class Signature(BaseModel):
    """One key's signature of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(pattern=r"^[0-9a-f]{16}$", description="the key's id")
    signature: Annotated[str, AfterValidator(_signature)] = Field(description="64 bytes in base64")


class Signatures(BaseModel):
    """The content of `manifest.sig`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    schema_version: Literal["whycam.signature/1"] = Field(default=SCHEMA, alias="schema")
    signatures: tuple[Signature, ...] = Field(min_length=1, max_length=MOST_SIGNATURES)

    @classmethod
    def read(cls, content: bytes) -> Signatures:
        """Raises BrokenSignatureError where `content` is no `manifest.sig`."""
        try:
            if len(content) > MOST_SIGNATURE_BYTES:
                raise ValueError
            return cls.model_validate_json(content)
        except (ValueError, RecursionError):  # pydantic's errors are ValueErrors
            raise BrokenSignatureError(
                "manifest.sig cannot be read: the signature is damaged; copy the bundle again, or sign it again"
            ) from None

    def to_bytes(self) -> bytes:
        """The file `manifest.sig`."""
        return (self.model_dump_json(indent=2) + "\n").encode()


@dataclass(frozen=True)
class TrustedKeys:
    """The public keys whose bundles are taken: key id -> name and key."""

    folder: Path
    keys: dict[str, tuple[str, Ed25519PublicKey]]

    @classmethod
    def read(cls, folder: Path) -> TrustedKeys:
        """All `NAME.pub` in `folder`, PEM files as `whycam bundle keygen` writes them.

        Raises BundleError where the folder or one of them cannot be read: a key that is quietly left out would make its
        bundles untrusted one day.
        """
        try:
            if not folder.is_dir():
                raise BundleError(
                    f"{folder}: no such folder of trusted keys; make it, and put the keys' NAME.pub there"
                )
            paths = sorted(folder.glob("*.pub"))
        except OSError as error:
            raise BundleError(f"{folder}: cannot be read ({error.strerror}); allow it") from None
        keys: dict[str, tuple[str, Ed25519PublicKey]] = {}
        for path in paths:
            key = read_public_key(path)
            keys.setdefault(key_id(key), (path.stem, key))
        return cls(folder, keys)


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The public key in the PEM file at `path`; raises BundleError where there is none."""
    try:
        with path.open("rb") as file:
            key = load_pem_public_key(file.read(MOST_KEY_BYTES))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); allow it, or take it away") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"{path}: no Ed25519 public key in PEM, as `whycam bundle keygen` writes; take it away")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the key's 32 bytes."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def sign_manifest(manifest: bytes, key: Ed25519PrivateKey, others: Signatures | None = None) -> Signatures:
    """The signature of the bytes of `manifest.json` by `key`, beside those of `others` that are another key's."""
    identity = key_id(key.public_key())
    signature = base64.b64encode(key.sign(_PREFIX + manifest)).decode()
    kept = tuple(each for each in others.signatures if each.key != identity) if others else ()
    if len(kept) >= MOST_SIGNATURES:
        raise BundleError(f"the bundle has {len(kept)} signatures already; remove manifest.sig and sign it again")
    return Signatures(signatures=(*kept, Signature(key=identity, signature=signature)))


def check_signature(manifest: bytes, signature: bytes | None, keys: TrustedKeys) -> str:
    """The name of the trusted key that signed the bytes of `manifest.json`; signatures of other keys are skipped.

    Args:
        manifest: the bytes of `manifest.json`.
        signature: the bytes of `manifest.sig`, None where there is none.
        keys: those that are trusted.

    Raises UnsignedBundleError, UntrustedBundleError where no trusted key has signed, and BrokenSignatureError where the
    signature cannot be read or is of another manifest.
    """
    if signature is None:
        raise UnsignedBundleError("the bundle is not signed; sign it with `whycam bundle sign BUNDLE --key KEY`")
    signatures = Signatures.read(signature).signatures
    broken = None
    for each in signatures:
        name, key = keys.keys.get(each.key, (None, None))
        if name is None or key is None:
            continue
        try:
            key.verify(base64.b64decode(each.signature), _PREFIX + manifest)
            return name
        except InvalidSignature:
            broken = broken or name
    if broken is not None:
        raise BrokenSignatureError(
            f"the signature by '{broken}' is not of this manifest: one of them was changed; copy the bundle again, or "
            "sign it again"
        )
    who = ", ".join(each.key for each in signatures)
    there = ", ".join(sorted(name for name, _ in keys.keys.values())) or "no key"
    raise UntrustedBundleError(
        f"the bundle is signed by {who}, and {keys.folder} holds {there}; sign it with a key that is trusted here, or "
        "put the public key there"
    )
