"""Installing a bundle: judged, unpacked beside, tested on this device, and only then switched to, on trial."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from whycam.bundle import Bundle
from whycam.bundle.archive import check_room, judge, read_directory, unpack
from whycam.bundle.archive_reader import ArchiveReader, Head, check_sizes
from whycam.bundle.graph_check import check_graph
from whycam.bundle.manifest import MANIFEST, SIGNATURE
from whycam.bundle.signature import TrustedKeys
from whycam.bundle.store import open_plain, read_manifest, sync_directory, write_to_disk
from whycam.config.models import Camera
from whycam.deployment.isolated import self_test_apart
from whycam.deployment.self_test import SelfTest
from whycam.deployment.slot import CANDIDATE, VERSIONS, Slot, id_of
from whycam.deployment.store import BundleStore
from whycam.errors import BundleError, DamagedBundleError, InputError

_CHUNK = 1 << 20

Setting = tuple[str, "tuple[str, ...] | None"]
"""A precision, and the execution providers: with what a camera runs its bundle."""
DEFAULT: tuple[Setting, ...] = (("fp32", ("cpu",)),)
"""What is tested where no camera names the bundle."""


class Test(Protocol):
    """Runs the self-test of the bundle in a folder."""

    def __call__(self, path: Path, precision: str, providers: Sequence[str] | None) -> SelfTest:
        """See `self_test_apart`."""


@dataclass(frozen=True)
class Installation:
    """What was done."""

    name: str
    version: str
    id: str
    previous: str | None
    """The id of the version that was current before; its own where that was repaired, or has another signature now."""
    signed_by: str | None
    changed: bool
    """Whether anything was: not where this version was current and whole already."""
    tests: tuple[SelfTest, ...]
    removed: tuple[str, ...]
    """The ids of older versions that made room."""


class Source:
    """An archive or a directory that is to be installed, opened by who may read it."""

    def __init__(self, path: Path) -> None:
        """Of the bundle at `path`; raises BundleError where there is none."""
        self.path = path
        self._file: BinaryIO | None = None
        self.head: Head
        if _is_directory(path):
            self.head = read_directory(path)
            check_sizes(self.head.manifest, path)
            return
        try:
            # Not to wait for the other end of a pipe.
            self._file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}); is the name right?") from None
        if not self._file.seekable():
            raise BundleError(f"{path}: is no file; copy the archive to the disk first")
        self.head = ArchiveReader(self._file, str(path)).head

    @property
    def id(self) -> str:
        """The id that its version gets."""
        return id_of(self.head.manifest_bytes)

    def unpack(self, into: Path, keep_free: int = 0) -> Bundle:
        """Make the folder `into` of it, each file checked, and on the disk, on which `keep_free` bytes stay free.

        Raises BundleError, and leaves nothing.
        """
        if self._file is None:
            check_room(self.head, into, self.path, keep_free)
            bundle = _copied(self.path, self.head, into)
        else:
            self._file.seek(0)
            bundle = unpack(self._file, into, None, keep_free=keep_free)
        if read_manifest(into) != self.head.manifest_bytes:
            shutil.rmtree(into, ignore_errors=True)
            raise DamagedBundleError(f"{self.path}: was changed meanwhile; run this again")
        return bundle


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # Opening it tells why.
        return False


def settings_of(cameras: Collection[Camera], slot: Slot, *, candidate: bool = False) -> tuple[Setting, ...]:
    """With what those of `cameras` that name `slot` run its bundle, each once; `DEFAULT` where none does.

    Of a `candidate`, that is with what their shadows run it; with what they themselves would, where none does.
    """
    shadows = [one for camera in cameras if (one := camera.candidate) is not None]
    found = [(one.precision, one.providers) for one in shadows if slot.is_named_by(one.bundle, CANDIDATE)]
    if not (candidate and found):
        found = [(one.precision, one.providers) for one in cameras if slot.is_named_by(one.bundle)]
    return tuple(dict.fromkeys(found)) or DEFAULT


def install(
    source: Source,
    store: BundleStore,
    keys: TrustedKeys | None,
    cameras: Collection[Camera] = (),
    *,
    candidate: bool = False,
    keep_free: int = 0,
    test: Test = self_test_apart,
    stage: Callable[[str], None] = lambda _: None,
) -> Installation:
    """Install `source` in `store`; what was current goes on being so until the new version has passed all tests.

    Args:
        source: the bundle.
        store: where bundles are installed.
        keys: the keys one of which must have signed it; None: it may be anyone's.
        candidate: it is to be the candidate beside what is current, which stays so.
        cameras: those of the device: the bundle is tested with the precision and the providers of those that run it.
        keep_free: bytes that must stay free on the disk, for alerts.
        test: runs the self-test.
        stage: hears what is being done.

    Raises BundleError and InputError, with one line that says why, where it is refused; nothing has changed then.
    """
    head = source.head
    manifest = head.manifest
    slot = store.slot(manifest.name)
    signed_by = judge(head, keys, source.path)
    id = source.id
    with store.installing():
        versions = slot.folder / VERSIONS
        with _told(versions):
            versions.mkdir(parents=True, exist_ok=True)
            sync_directory(store.root)
        with slot.changing():
            removed = slot.prune()
            before = slot.look()
        if candidate and before.current == id:
            raise InputError(f"{source.path}: is current already ({id}); a candidate is another version")
        settings = settings_of(cameras, slot, candidate=candidate)
        if candidate and before.candidate == id and _whole(slot.path_of(id), head):
            return Installation(
                manifest.name, manifest.version, id, before.current, signed_by, False, (), tuple(removed)
            )
        if before.current == id and _whole(slot.path_of(id), head):
            with slot.changing():
                slot.restart_trial()
            return Installation(
                manifest.name, manifest.version, id, before.before, signed_by, False, (), tuple(removed)
            )
        stage("unpacking and checking it")
        part = versions / f".{id}.part"
        with _told(part):
            shutil.rmtree(part, ignore_errors=True)
            source.unpack(part, keep_free)
            sync_directory(versions)
        try:
            tests = tuple(tested(part, source.path, setting, test, stage) for setting in settings)
            with slot.changing():
                # Somebody may have gone back while it was tested.
                previous = slot.current
                if candidate and previous != id:
                    slot.set_candidate(part, id, manifest.version, signed_by)
                elif previous == id:
                    slot.repair(part, signed_by)
                    slot.restart_trial()
                else:
                    slot.begin_trial(part, id, manifest.version, signed_by)
                removed += slot.prune()
        finally:
            shutil.rmtree(part, ignore_errors=True)
            if before.current is None and not before.record.versions:
                # Nothing of a first version that was refused stays.
                for folder in (versions, slot.folder):
                    with suppress(OSError):
                        folder.rmdir()
    return Installation(manifest.name, manifest.version, id, previous, signed_by, True, tests, tuple(removed))


def tested(part: Path, name: Path, setting: Setting, test: Test, stage: Callable[[str], None]) -> SelfTest:
    """The self-test of the bundle at `part`, which is told of as `name`; raises BundleError where it fails."""
    precision, providers = setting
    on = f" on {', '.join(providers)}" if providers else ""
    stage(f"self-test in {precision}{on}")
    try:
        made = test(part, precision, providers)
    except BundleError as error:
        # What is unpacked is gone when this is read.
        raise BundleError(str(error).replace(str(part), str(name))) from error
    if not made.passed:
        raise BundleError(
            f"{name}: the self-test failed, this device does not compute in {made.precision} what the bundle's maker "
            f"did: {'; '.join(made.problems)}; nothing was installed"
        )
    return made


def _whole(path: Path, head: Head) -> bool:
    """Whether the version at `path` is all that `head` says, signature included."""
    try:
        there = read_directory(path)
        bundle = Bundle(path, head.manifest)
        for name in head.manifest.files:
            bundle.file(name)
    except (BundleError, OSError):
        return False
    return there == head


def _copied(directory: Path, head: Head, into: Path) -> Bundle:
    """As `unpack`, of a bundle's directory."""
    try:
        into.mkdir()
        for name, entry in sorted(head.manifest.files.items()):
            digest = hashlib.sha256()
            with _readable(directory / name) as given, (into / name).open("xb+") as file:
                left = entry.bytes + 1
                while left > 0 and (chunk := given.read(min(left, _CHUNK))):
                    left -= len(chunk)
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                if left != 1 or digest.hexdigest() != entry.sha256:
                    raise DamagedBundleError(
                        f"{directory / name}: damaged, its SHA-256 is not the manifest's; copy or export it again"
                    )
                if name.endswith(".onnx"):
                    file.seek(0)
                    check_graph(file, directory / name)
        if head.signature is not None:
            write_to_disk(into / SIGNATURE, head.signature)
        write_to_disk(into / MANIFEST, head.manifest_bytes)
        sync_directory(into)
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise
    return Bundle(into, head.manifest)


@contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    try:
        # As `verify` has it: a bundle has plain files alone.
        file = open_plain(path, follow=False)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise BundleError(f"{path}: cannot be read ({reason}); pack the bundle, and install that") from None
    with file:
        yield file


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror or error}); make room or allow it") from error
