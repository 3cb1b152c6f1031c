"""Bundles mutated at random, thousands of times: each is refused with one line, or what is unpacked is what was signed.

`python -m tests.runtime.bundle.fuzz --count 10000` shows what became of each kind; `--case SEED:NUMBER` runs one again.

Each is unpacked twice: on a device that trusts the maker's key, and on one that takes anybody's, where the attacker's
own bundles are taken too: such a one must be what its manifest says, lie in its folder alone, and hold graphs that ask
for nothing but ONNX's own operators.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from rich import box
from rich.console import Console
from rich.table import Table

from tests.runtime import tiny_bundle
from tests.runtime.bundle.archives import signer
from tests.runtime.bundle.mutations import MUTATIONS, OUTSIDE, mutated
from whycam.bundle import Bundle
from whycam.bundle.archive import pack, unpack
from whycam.bundle.signature import TrustedKeys
from whycam.bundle.summary import show, summary
from whycam.bundle.verify import verify
from whycam.commands.progress import tracked
from whycam.errors import BundleError

DEVICES = ("their maker's", "anybody's")
"""Whose bundles they take."""
SECONDS = 10.0
"""Of processor time, for one bundle."""
MOST_MEMORY = 1 << 30
"""Bytes of address space beyond what the process has when it begins."""
INTACT, OTHER = "intact", "another, harmless"


class FailureError(AssertionError):
    """A bundle that was neither refused nor harmless."""


@dataclass
class Tally:
    """What became of how many."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(kind, device, outcome) -> how many."""
    failures: list[str] = field(default_factory=list)


class Fuzzer:
    """A bundle, its maker, and a folder in which its mutations are unpacked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inside, self._path = folder / "unpacking", folder / "mutated.tar"
        built = tiny_bundle.build(folder / "colours.whycam")
        self._original = {path.name: path.read_bytes() for path in built.iterdir()}
        maker = signer("maker", folder)
        trusted = folder / "trusted"
        trusted.mkdir()
        (trusted / "maker.pub").write_bytes(maker.public.read_bytes())
        self._devices = dict(zip(DEVICES, (TrustedKeys.read(trusted), None), strict=True))
        pack(Bundle.open(built), folder / "signed.tar", key=maker.key)
        self._archive = (folder / "signed.tar").read_bytes()

    def run(self, seed: int, count: int, tally: Tally, first: int = 0) -> Iterator[int]:
        """Mutate `count` times, and note what becomes of it in `tally`."""
        kinds = list(MUTATIONS)
        for number in range(first, first + count):
            kind = kinds[number % len(kinds)]
            changed = mutated(self._archive, kind, f"{seed}:{number}")
            for device, keys in self._devices.items():
                try:
                    outcome = self._outcome(changed, keys)
                except Exception as error:
                    tally.failures.append(f"--case {seed}:{number} ({kind}, {device}): {type(error).__name__}: {error}")
                    outcome = "FAILED"
                tally.outcomes[kind, device, outcome] += 1
            yield number

    def _outcome(self, archive: bytes, keys: TrustedKeys | None) -> str:
        outside = self._listing()
        self._path.write_bytes(archive)
        self._inside.mkdir()
        began = time.process_time()
        try:
            try:
                found = self._unpacked(archive, self._inside / "it", keys)
                self._agrees(keys, None)
            except BundleError as error:
                if list(self._inside.iterdir()):
                    raise FailureError("something was left behind") from error
                self._agrees(keys, error)
                found = type(error).__name__
            self._inspect()
        finally:
            self._path.unlink()
            shutil.rmtree(self._inside)
        if time.process_time() - began > SECONDS:
            raise FailureError("it took too long")
        if self._listing() != outside:
            raise FailureError("something was written outside")
        return found

    def _unpacked(self, archive: bytes, into: Path, keys: TrustedKeys | None) -> str:
        bundle = unpack(io.BytesIO(archive), into, keys)
        if list(into.parent.iterdir()) != [into]:
            raise FailureError("something was written beside it")
        content = {}
        for inside in into.iterdir():
            if inside.is_symlink() or not inside.is_file():
                raise FailureError(f"{inside.name} is no plain file")
            content[inside.name] = inside.read_bytes()
        content.pop("manifest.sig", None)
        if content == self._original:
            return INTACT
        if keys is not None:
            raise FailureError("another bundle was taken for the maker's")
        if set(content) != {*bundle.manifest.files, "manifest.json"}:
            raise FailureError("not the files that the manifest names")
        for name, entry in bundle.manifest.files.items():
            if hashlib.sha256(content[name]).hexdigest() != entry.sha256:
                raise FailureError(f"{name} is not what the manifest says")
            if name.endswith(".onnx"):
                _check_harmless(name, content[name])
        return OTHER

    def _agrees(self, keys: TrustedKeys | None, error: BundleError | None) -> None:
        """What is refused when it is unpacked is refused where it lies, for the same reason, and nothing else is."""
        try:
            verify(self._path, keys)
        except BundleError as told:
            _check_line(told)
            if error is not None:
                _check_line(error)
            if type(told) is not type(error):
                raise FailureError(f"verify tells {type(told).__name__}, unpack {type(error).__name__}") from told
        else:
            if error is not None:
                raise FailureError("verify takes what unpack refuses")

    def _inspect(self) -> None:
        """Whoever wants to see what it is sees something harmless."""
        screen = Console(file=io.StringIO(), width=110, highlight=False)
        try:
            show(summary(self._path), screen)
        except BundleError as told:
            _check_line(told)
        if not all(line.isprintable() for line in screen.file.getvalue().split("\n")):
            raise FailureError("what it says of itself does something to a terminal")

    def _listing(self) -> dict[Path, int]:
        """What is there beside the folder that is unpacked into, and when it was changed."""
        own = {self._inside, self._path}
        there = [path for path in self._folder.rglob("*") if not own & {path, *path.parents}]
        return {path: path.lstat().st_mtime_ns for path in (*there, *Path(OUTSIDE).parent.glob(Path(OUTSIDE).name))}


def _check_line(error: BundleError) -> None:
    line = str(error)
    if "\n" in line or not line.isprintable() or len(line) > 2000:
        raise FailureError(f"not one line: {line[:2000]!r}") from error


def _check_harmless(name: str, content: bytes) -> None:
    """By protocol buffers' own library, which shares nothing with what is tested."""
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception:
        return  # no reader takes it
    if model.functions or model.training_info:
        raise FailureError(f"{name} has functions or training information")
    strange = {entry.domain for entry in model.opset_import} - {"", "ai.onnx", "ai.onnx.ml"}
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        strange |= {node.domain for node in graph.node} - {"", "ai.onnx"}
        tensors = [*graph.initializer]
        sparse = [*graph.sparse_initializer]
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            graphs += [attribute.g, *attribute.graphs]
            tensors += [attribute.t, *attribute.tensors]
            sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
        tensors += [tensor for one in sparse for tensor in (one.values, one.indices)]
        if any(tensor.external_data or tensor.data_location for tensor in tensors):
            raise FailureError(f"{name} has external data")
    if strange:
        raise FailureError(f"{name} has operators of {strange}")


def fast_folder() -> str | None:
    """Where files cost no disk, for each that is unpacked is put on it; None where there is no such folder."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def table(tally: Tally, device: str) -> Table:
    """Kinds of mutations, and what became of them on one device."""
    outcomes = sorted({outcome for _, where, outcome in tally.outcomes if where == device})
    shown = Table(title=f"on a device that takes {device} bundles", title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("mutation", footer="all")
    shown.show_footer = True
    for outcome in outcomes:
        total = sum(tally.outcomes[kind, device, outcome] for kind in MUTATIONS)
        # NotABundleError -> not a bundle
        head = (
            re.sub(r"(?<!^)(?=[A-Z])", " ", outcome.removesuffix("Error")).lower() if outcome[0].isupper() else outcome
        )
        shown.add_column(head, str(total), justify="right")
    for kind in MUTATIONS:
        shown.add_row(kind, *(str(tally.outcomes[kind, device, outcome] or "") for outcome in outcomes))
    return shown


def main() -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(description="Bundles mutated at random: refused with one line, or harmless.")
    parser.add_argument("--count", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same mutations")
    parser.add_argument("--case", metavar="SEED:NUMBER", help="one of them again")
    options = parser.parse_args()
    seed, first, count = options.seed, 0, options.count
    if options.case:
        (seed, first), count = map(int, options.case.split(":")), 1
    limit = MOST_MEMORY + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    tally, began = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="whycam-fuzz-", dir=fast_folder()) as folder:
        for _ in tracked(Fuzzer(Path(folder)).run(seed, count, tally, first), "mutating", count):
            pass
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    for device in DEVICES:
        console.print(table(tally, device))
    for failure in tally.failures:
        console.print(failure, style="red", markup=False)
    console.print(
        f"{count} mutations from seed {seed}, each on {len(DEVICES)} devices: {len(tally.failures)} failures; "
        f"{time.monotonic() - began:.0f} s, {memory:.0f} MiB at most"
    )
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
