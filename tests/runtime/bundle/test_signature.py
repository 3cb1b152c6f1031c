"""Who has signed, and whom a device believes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.runtime.bundle.archives import Signer, signer
from whycam.bundle import Bundle, revise
from whycam.bundle.archive import pack, read_archive_head
from whycam.bundle.keys import make_keys, read_private_key
from whycam.bundle.sign import sign
from whycam.bundle.signature import Signatures, TrustedKeys, check_signature, sign_manifest
from whycam.errors import BrokenSignatureError, BundleError, InputError, UnsignedBundleError, UntrustedBundleError

MANIFEST = b'{"schema": "whycam.bundle/1"}'


def test_a_signature_holds_for_the_manifest_that_was_signed_alone(maker: Signer, trusted: TrustedKeys) -> None:
    signature = sign_manifest(MANIFEST, maker.key).to_bytes()

    assert check_signature(MANIFEST, signature, trusted) == "maker"
    with pytest.raises(BrokenSignatureError, match="'maker' is not of this manifest"):
        check_signature(MANIFEST + b"\n", signature, trusted)
    with pytest.raises(UnsignedBundleError):
        check_signature(MANIFEST, None, trusted)


def test_signatures_of_keys_that_are_not_known_are_skipped(
    maker: Signer, stranger: Signer, trusted: TrustedKeys
) -> None:
    by_stranger = sign_manifest(MANIFEST, stranger.key)
    by_both = sign_manifest(MANIFEST, maker.key, by_stranger)

    with pytest.raises(UntrustedBundleError, match=stranger.id):
        check_signature(MANIFEST, by_stranger.to_bytes(), trusted)
    assert check_signature(MANIFEST, by_both.to_bytes(), trusted) == "maker"


def test_keys_are_changed_one_device_after_the_other(tmp_path: Path) -> None:
    old, new = signer("old", tmp_path), signer("new", tmp_path)
    signature = sign_manifest(MANIFEST, new.key, sign_manifest(MANIFEST, old.key)).to_bytes()

    for one in (old, new):
        folder = tmp_path / f"trusts {one.id}"
        folder.mkdir()
        (folder / one.public.name).write_bytes(one.public.read_bytes())
        assert check_signature(MANIFEST, signature, TrustedKeys.read(folder)) == one.public.stem


def test_who_signs_again_replaces_the_own_signature(maker: Signer) -> None:
    once = sign_manifest(MANIFEST, maker.key)

    assert sign_manifest(MANIFEST, maker.key, once) == once


def test_what_the_key_signed_elsewhere_is_no_signature_of_a_bundle(maker: Signer, trusted: TrustedKeys) -> None:
    elsewhere = base64.b64encode(maker.key.sign(MANIFEST)).decode()
    signature = {"schema": "whycam.signature/1", "signatures": [{"key": maker.id, "signature": elsewhere}]}

    with pytest.raises(BrokenSignatureError):
        check_signature(MANIFEST, json.dumps(signature).encode(), trusted)


def test_a_signature_under_the_id_of_another_key_does_not_hold(
    maker: Signer, stranger: Signer, trusted: TrustedKeys
) -> None:
    entry = sign_manifest(MANIFEST, stranger.key).signatures[0]
    forged = Signatures(signatures=(entry.model_copy(update={"key": maker.id}),))

    with pytest.raises(BrokenSignatureError):
        check_signature(MANIFEST, forged.to_bytes(), trusted)


ENTRY = {"key": "0" * 16, "signature": base64.b64encode(bytes(64)).decode()}
MALFORMED = [
    b"",
    b"{}",
    b"\xff",
    b"[" * 60_000,
    b" " * (64 << 10) + b"{}",
    *(
        json.dumps({"schema": "whycam.signature/1", "signatures": [ENTRY], **change}).encode()
        for change in (
            {"schema": "whycam.signature/2"},
            {"more": 1},
            {"signatures": []},
            {"signatures": [ENTRY] * 33},
            {"signatures": [{**ENTRY, "key": "0" * 15}]},
            {"signatures": [{**ENTRY, "key": "0" * 16 + "\n"}]},
            {"signatures": [{**ENTRY, "signature": "AAAA"}]},
            {"signatures": [{**ENTRY, "signature": ENTRY["signature"] + "\n"}]},
            {"signatures": [{**ENTRY, "signature": "é" * 88}]},
            {"signatures": [{**ENTRY, "more": 1}]},
        )
    ),
]


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
def test_a_signature_that_is_none_is_told(content: bytes, trusted: TrustedKeys) -> None:
    with pytest.raises(BrokenSignatureError, match="cannot be read"):
        check_signature(MANIFEST, content, trusted)


def test_a_folder_of_keys_that_cannot_be_read_is_told(maker: Signer, tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).public_key()
    for name, content in (
        ("text.pub", b"no key"),
        ("private.pub", maker.private.read_bytes()),
        ("curve.pub", other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    ):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(BundleError, match=name):
            TrustedKeys.read(folder)
    with pytest.raises(BundleError, match="no such folder"):
        TrustedKeys.read(tmp_path / "nowhere")


def test_an_empty_folder_trusts_nobody(maker: Signer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UntrustedBundleError, match="holds no key"):
        check_signature(MANIFEST, sign_manifest(MANIFEST, maker.key).to_bytes(), TrustedKeys.read(tmp_path / "empty"))


def test_private_keys_are_their_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    pair = make_keys("site", tmp_path / "keys")

    assert pair.private.stat().st_mode & 0o777 == 0o600
    before = pair.private.read_bytes(), pair.public.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        make_keys("site", tmp_path / "keys")
    pair.private.unlink()
    with pytest.raises(InputError, match=r"site\.pub: is there already"):
        make_keys("site", tmp_path / "keys")
    assert not pair.private.exists()
    assert pair.public.read_bytes() == before[1]


@pytest.mark.parametrize("name", ["../site", "a/b", ".site", "", "a\nb"])
def test_a_key_has_a_plain_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        make_keys(name, tmp_path / "keys")


def test_a_passphrase_keeps_a_private_key(tmp_path: Path) -> None:
    pair = make_keys("site", tmp_path, b"open sesame")

    assert b"ENCRYPTED" in pair.private.read_bytes()
    read_private_key(pair.private, lambda: b"open sesame")
    for wrong in (b"open", b""):
        with pytest.raises(InputError, match="not its passphrase"):
            read_private_key(pair.private, lambda wrong=wrong: wrong)


def test_what_is_no_private_key_is_told(maker: Signer, tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    (tmp_path / "curve.key").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for path in (maker.public, tmp_path / "curve.key", tmp_path / "nowhere.key", tmp_path):
        with pytest.raises(InputError):
            read_private_key(path, lambda: b"")


def test_a_bundle_and_an_archive_are_signed_in_their_place(
    bundle: Path, maker: Signer, stranger: Signer, tmp_path: Path
) -> None:
    archive = tmp_path / "colours.whycam.tar"
    pack(Bundle.open(bundle), archive)

    for path in (bundle, archive):
        assert sign(path, maker.key) == (maker.id,)
        assert sign(path, stranger.key) == (maker.id, stranger.id)

    pack(Bundle.open(bundle), tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_a_device_would_refuse_is_not_signed(bundle: Path, maker: Signer) -> None:
    (bundle / "head.onnx").write_bytes(b"changed")

    with pytest.raises(BundleError, match=r"head\.onnx"):
        sign(bundle, maker.key)

    assert not (bundle / "manifest.sig").exists()


def test_a_bundle_that_was_changed_is_signed_no_more(bundle: Path, maker: Signer) -> None:
    sign(bundle, maker.key)
    before = Bundle.open(bundle)
    assert before.signed

    after = revise(before, {"notes": b"x"})

    assert not after.signed


def test_an_archive_keeps_its_mode_when_it_is_signed(archive: Path, maker: Signer) -> None:
    archive.chmod(0o640)

    sign(archive, maker.key)

    assert archive.stat().st_mode & 0o777 == 0o640
    assert read_archive_head(archive).signature is not None
