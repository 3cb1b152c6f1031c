"""Packing, and unpacking what others have packed."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.bundle.archives import BLOCK, END, Signer, joined, member, members, sealed
from whycam.bundle import Bundle, archive_reader
from whycam.bundle.archive import pack, read_archive_head, unpack
from whycam.bundle.signature import TrustedKeys
from whycam.bundle.verify import verify
from whycam.errors import (
    BrokenSignatureError,
    BundleError,
    BundleTooLargeError,
    DamagedBundleError,
    NotABundleError,
    UnsafeGraphError,
    UnsignedBundleError,
    UntrustedBundleError,
)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(
    archive: bytes, folder: Path, kind: type[BundleError] = BundleError, keys: TrustedKeys | None = None
) -> str:
    """The line that refuses `archive`, whether it is unpacked or checked where it lies; nothing is left of it."""
    inside = folder / "unpacking"
    inside.mkdir()
    with pytest.raises(kind) as caught:
        unpack(io.BytesIO(archive), inside / "it", keys)
    assert list(inside.iterdir()) == []
    inside.rmdir()
    path = folder / "refused.tar"
    path.write_bytes(archive)
    with pytest.raises(kind):
        verify(path, keys)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_what_is_unpacked_is_what_was_packed(bundle: Path, archive: Path, trusted: TrustedKeys, tmp_path: Path) -> None:
    unpacked = unpack(archive, tmp_path / "it", trusted)

    after = content(unpacked.path)
    signature = after.pop("manifest.sig")
    assert after == content(bundle)
    assert signature == members(archive.read_bytes())["manifest.sig"]
    for name in unpacked.manifest.files:
        unpacked.file(name)


def test_the_same_bundle_gives_the_same_bytes(bundle: Path, archive: Path, maker: Signer, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "renamed", copy_function=shutil.copyfile))
    (other / "a file that the manifest does not name").write_text("notes")
    for file in other.iterdir():
        file.chmod(0o600)
        os.utime(file, (time.time() - 9e6,) * 2)

    pack(Bundle.open(other), tmp_path / "again.tar", key=maker.key)

    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_an_archive_that_was_unpacked_is_packed_into_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    pack(unpack(archive, tmp_path / "it", None), tmp_path / "again.tar")

    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_tar_itself_reads_it(bundle: Path, archive: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path, "--one-top-level=by-tar"], check=True, timeout=60)

    found = content(tmp_path / "by-tar")
    found.pop("manifest.sig")
    assert found == content(bundle)
    listed = subprocess.run(["tar", "-tvf", archive], capture_output=True, text=True, check=True, timeout=60).stdout
    names = [line.split()[-1] for line in listed.splitlines()]
    assert names == ["manifest.json", "manifest.sig", *sorted(names[2:])]
    assert all(line.startswith("-rw-r--r-- 0/0 ") for line in listed.splitlines())


def test_a_damaged_bundle_is_not_packed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "head.onnx").write_bytes(b"changed")
    (tmp_path / "before.tar").write_bytes(b"what was there")

    with pytest.raises(DamagedBundleError, match=r"head\.onnx"):
        pack(Bundle.open(bundle), tmp_path / "before.tar")

    assert (tmp_path / "before.tar").read_bytes() == b"what was there"
    assert not list(tmp_path.glob("*.part"))


def test_the_signature_is_judged_before_anything_else_is_read(
    archive: Path, stranger: Signer, bundle: Path, trusted: TrustedKeys, tmp_path: Path
) -> None:
    pack(Bundle.open(bundle), tmp_path / "strange.tar", key=stranger.key)
    for path, kind in ((tmp_path / "strange.tar", UntrustedBundleError), (archive, DamagedBundleError)):
        whole = path.read_bytes()
        head = whole.index(b"features.onnx", whole.index(b"manifest.sig"))

        # Of what follows the signature, nothing but the next header is there.
        refused(whole[: head + BLOCK], tmp_path, kind, trusted)


def test_who_has_signed_is_told_apart(
    archive: Path, bundle: Path, stranger: Signer, trusted: TrustedKeys, tmp_path: Path
) -> None:
    pack(Bundle.open(bundle), tmp_path / "unsigned.tar")
    pack(Bundle.open(bundle), tmp_path / "strange.tar", key=stranger.key)
    parts = members(archive.read_bytes())
    manifest = json.loads(parts["manifest.json"])
    manifest["thresholds"]["fight"] = 0.99
    changed = joined({**parts, "manifest.json": json.dumps(manifest).encode()}.items())

    assert "sign it" in refused((tmp_path / "unsigned.tar").read_bytes(), tmp_path, UnsignedBundleError, trusted)
    assert stranger.id in refused((tmp_path / "strange.tar").read_bytes(), tmp_path, UntrustedBundleError, trusted)
    assert "'maker'" in refused(changed, tmp_path, BrokenSignatureError, trusted)
    assert verify(archive, trusted).signer == "maker"


def at(archive: bytes, name: str) -> int:
    """Where the header of the member `name` begins."""
    place = -BLOCK
    while True:
        place += BLOCK
        if archive[place : place + 100].rstrip(b"\0") == name.encode():
            return place


def in_place_of(name: str, other: bytes) -> Callable[[bytes], bytes]:
    """Puts `other` where the header of the member `name` is."""
    return lambda archive: archive[: at(archive, name)] + other + archive[at(archive, name) + BLOCK :]


def before(name: str, other: bytes) -> Callable[[bytes], bytes]:
    """Puts `other` before the member `name`."""
    return lambda archive: archive[: at(archive, name)] + other + archive[at(archive, name) :]


def written(name: str, offset: int, other: bytes) -> Callable[[bytes], bytes]:
    """Writes `other` over what is `offset` bytes after the beginning of the member `name`."""

    def change(archive: bytes) -> bytes:
        place = at(archive, name) + offset
        return archive[:place] + other + archive[place + len(other) :]

    return change


def twice(archive: bytes) -> bytes:
    return before("head.onnx", archive[at(archive, "features.onnx") : at(archive, "head.onnx")])(archive)


def swapped(archive: bytes) -> bytes:
    parts = list(members(archive).items())
    parts[2], parts[3] = parts[3], parts[2]
    return joined(parts)


CHANGED = {
    "a symbolic link": in_place_of("head.onnx", member("head.onnx", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a hard link": in_place_of("head.onnx", member("head.onnx", type=tarfile.LNKTYPE, linkname="features.onnx")),
    "a device": in_place_of("head.onnx", member("head.onnx", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "a pipe": in_place_of("head.onnx", member("head.onnx", type=tarfile.FIFOTYPE)),
    "a folder": before("head.onnx", member("more", type=tarfile.DIRTYPE)),
    "a path": before("head.onnx", member("../outside", b"x")),
    "an absolute path": before("head.onnx", member("/tmp/outside", b"x")),
    "another name": in_place_of("head.onnx", member("heads.onnx")),
    "a pax header": before("head.onnx", member("pax", b"20 path=/etc/passwd\n", type=tarfile.XHDTYPE)),
    "a global pax header": before("manifest.json", member("pax", b"20 path=/etc/passwd\n", type=tarfile.XGLTYPE)),
    "a long name of GNU tar": before("head.onnx", member("././@LongLink", b"/etc/passwd\0", type=b"L")),
    "a sparse file": in_place_of("head.onnx", member("head.onnx", type=tarfile.GNUTYPE_SPARSE)),
    "a member twice": twice,
    "members in another order": swapped,
    "an executable": in_place_of("head.onnx", member("head.onnx", mode=0o4755)),
    "an owner": in_place_of("head.onnx", member("head.onnx", uid=1000)),
    "a prefix": written("head.onnx", 345, b"/etc"),
    "a byte at its end": lambda archive: archive + b"\0",
    "an archive after it": lambda archive: archive + archive,
    "no end": lambda archive: archive[: -len(END)],
    "half of an end": lambda archive: archive[:-BLOCK],
    "the manifest alone": lambda archive: archive[: at(archive, "manifest.sig")],
    "nothing": lambda archive: b"",
    "compression": gzip.compress,
    "a byte between its files": written("head.onnx", -1, b"\1"),
    "a changed byte": written("head.onnx", BLOCK + 9, b"~"),
}


@pytest.mark.parametrize("what", CHANGED)
def test_an_archive_in_any_other_form_is_refused(
    what: str, archive: Path, trusted: TrustedKeys, tmp_path: Path
) -> None:
    changed = CHANGED[what](archive.read_bytes())
    assert changed != archive.read_bytes()

    refused(changed, tmp_path, (DamagedBundleError, NotABundleError), trusted)


def test_an_archive_that_ends_anywhere_is_refused(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()

    for end in range(0, len(whole), 509):
        refused(whole[:end], tmp_path)


NAMES = (
    "../outside",
    "/etc/passwd",
    "..",
    ".",
    ".hidden",
    "a/b",
    "a\\b",
    "",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "é",
    "a" * 101,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_that_names_no_plain_file_is_refused(name: str, archive: Path, tmp_path: Path) -> None:
    parts = members(archive.read_bytes())
    manifest = json.loads(parts.pop("manifest.json"))
    manifest["files"][name] = manifest["files"]["head.onnx"]
    start = member("manifest.json", json.dumps(manifest).encode())

    line = refused(start + joined(sorted(parts.items())), tmp_path)

    assert line.isprintable()


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_a_manifest_does_not_name_itself_or_its_signature(name: str, archive: Path, tmp_path: Path) -> None:
    assert f"files name {name}" in refused(sealed(archive.read_bytes(), {name: b"{}"}), tmp_path)


HARD = ("[" * 100_000, '{"a":' * 100_000, "1" * 100_000, "1e999", '{"files": NaN}', "{}" * 9, "\0", "\ufeff{}")


@pytest.mark.parametrize("text", HARD, ids=lambda text: repr(text[:9]))
def test_a_manifest_made_to_be_hard_to_read_is_refused(text: str, tmp_path: Path) -> None:
    refused(member("manifest.json", text.encode()) + END, tmp_path)


def test_a_manifest_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    refused(member("manifest.json", size=(4 << 20) + 1) + END, tmp_path, BundleTooLargeError)


def test_a_signature_beyond_the_limit_is_not_read(archive: Path, tmp_path: Path) -> None:
    start = archive.read_bytes()[: at(archive.read_bytes(), "manifest.sig")]

    refused(start + member("manifest.sig", size=(64 << 10) + 1), tmp_path, BundleTooLargeError)


def test_sizes_beyond_the_limits_are_refused_before_a_byte_is_written(archive: Path, tmp_path: Path) -> None:
    manifest = json.loads(members(archive.read_bytes())["manifest.json"])
    entry = manifest["files"]["head.onnx"]
    for files in (
        {"large": {**entry, "bytes": (4 << 30) + 1}},
        {f"large {number}": {**entry, "bytes": 3 << 30} for number in range(3)},
        {f"small {number}": {**entry, "bytes": 0} for number in range(250)},
    ):
        changed = {**manifest, "files": {**manifest["files"], **files}}
        refused(member("manifest.json", json.dumps(changed).encode()) + END, tmp_path, BundleTooLargeError)


def test_sizes_beyond_all_numbers_are_refused(archive: Path, tmp_path: Path) -> None:
    for change in ({"features": 10**400}, {"window": {"frames": 10**30, "frame_interval": 0.1, "max_gap": 1}}):
        manifest = {**json.loads(members(archive.read_bytes())["manifest.json"]), **change}
        refused(member("manifest.json", json.dumps(manifest).encode()) + END, tmp_path)
    manifest["files"]["head.onnx"]["bytes"] = 10**400
    refused(member("manifest.json", json.dumps(manifest).encode()) + END, tmp_path)


def test_a_disk_without_room_is_told_before_a_byte_is_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=4000))

    with pytest.raises(BundleTooLargeError, match="make room"):
        unpack(archive, tmp_path / "it", None)

    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_interrupted_leaves_nothing(archive: Path, error: BaseException, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert 0 < done < total
        raise error

    with pytest.raises((KeyboardInterrupt, BundleError)):
        unpack(archive, tmp_path / "it", None, progress=interrupt)

    assert not (tmp_path / "it").exists()


def test_a_folder_that_is_there_is_not_touched(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "file").write_text("mine")

    with pytest.raises(BundleError, match="is there already"):
        unpack(archive, tmp_path / "it", None)

    assert content(tmp_path / "it") == {"file": b"mine"}


def test_a_graph_that_is_not_safe_is_refused_though_its_hash_is_right(archive: Path, tmp_path: Path) -> None:
    changed = sealed(archive.read_bytes(), {"head.onnx": b"\x3a\x00\xca\x01\x00"})

    assert "functions" in refused(changed, tmp_path, UnsafeGraphError)


def test_the_head_alone_is_read_to_tell_what_it_is(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: 20 * BLOCK])

    head = read_archive_head(archive)

    assert head.manifest.name == "colours"
    assert head.signature is not None


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(BundleError):
            unpack(path, tmp_path / "it", None)
        with pytest.raises(BundleError):
            verify(path, None)
        with pytest.raises(BundleError):
            read_archive_head(path)


def test_an_archive_is_not_loaded_as_it_is(archive: Path) -> None:
    with pytest.raises(BundleError, match="whycam bundle install"):
        Bundle.open(archive)


def test_links_in_a_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "head.onnx").rename(tmp_path / "head.onnx")
    (bundle / "head.onnx").symlink_to(tmp_path / "head.onnx")

    with pytest.raises(BundleError, match=r"head\.onnx: is a link"):
        verify(bundle, None)


def test_a_bundle_at_the_end_of_a_link_is_verified(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle)

    assert verify(tmp_path / "current", None).manifest.name == "colours"


def test_headers_are_those_that_other_programs_write(archive: Path) -> None:
    for name in ("a", "features.int8-cpu.onnx", "ä" * 50):
        assert archive_reader.member_header(name, 8**11 - 1) == member(name, size=8**11 - 1)
