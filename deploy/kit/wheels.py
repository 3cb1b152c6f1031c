"""The wheels of a kit: fetched for another machine than this one, each checked by its hash, and complete."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import canonicalize_name, parse_wheel_filename

from deploy.kit.platforms import Platform
from whycam.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
UV = REPOSITORY / ".uv" / "bin" / "uv"


@dataclass(frozen=True)
class Wheel:
    """A wheel on disk, and what it says of itself."""

    path: Path
    name: str
    version: str
    sha256: str
    metadata: RawMetadata
    unpacked_bytes: int

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Read a wheel's name and metadata; InputError where the file is none."""
        try:
            name, version, _, _ = parse_wheel_filename(path.name)
            with zipfile.ZipFile(path) as archive:
                (entry,) = (entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
                metadata, _ = parse_email(archive.read(entry))
                size = sum(item.file_size for item in archive.infolist())
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not a wheel: {error}") from None
        return cls(path, name, str(version), hashlib.sha256(path.read_bytes()).hexdigest(), metadata, size)

    @property
    def requirement(self) -> str:
        """The line that pins it, for pip's mode with hashes."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def gather(platform: Platform, into: Path, onnxruntime: Path | None) -> list[Wheel]:
    """Fill the folder `into` with all wheels that `platform` wants, sorted by name.

    `onnxruntime` is a wheel to take in place of the lock's ONNX Runtime. InputError where a wheel cannot be had, or
    where what they ask for of one another is not there.
    """
    into.mkdir()
    _build_own(into)
    _fetch(platform, into, without={"onnxruntime"} if onnxruntime else set())
    if onnxruntime is not None:
        _check_given(Wheel.read(onnxruntime), platform)
        shutil.copyfile(onnxruntime, into / onnxruntime.name)
    wheels = sorted((Wheel.read(path) for path in into.glob("*.whl")), key=lambda wheel: wheel.name)
    _check_complete(platform, into, wheels)
    return wheels


def _build_own(into: Path) -> None:
    uv = [UV, "build", "--quiet", "--wheel", "--no-build-isolation", f"--python={sys.executable}", "--out-dir", into]
    _run("whycam's own wheel cannot be built", [*uv, REPOSITORY / "runtime"])
    # uv leaves one behind in folders that it writes to.
    (into / ".gitignore").unlink(missing_ok=True)


def _fetch(platform: Platform, into: Path, without: set[str]) -> None:
    wanted = [
        line
        for line in platform.lock.read_text(encoding="utf-8").splitlines()
        if canonicalize_name(line.split("==")[0]) not in without
    ]
    options = [
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={platform.python_version}",
        *(f"--platform={tag}" for tag in platform.tags),
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as requirements:
        requirements.write("\n".join(wanted))
        requirements.flush()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        what = f"the wheels for {platform.name} cannot be fetched"
        _run(what, [*pip, *options, "--dest", into, "--requirement", requirements.name])


def _check_given(wheel: Wheel, platform: Platform) -> None:
    _, _, _, tags = parse_wheel_filename(wheel.path.name)
    python = "cp{}{}".format(*platform.python)
    if not wheel.name.startswith("onnxruntime"):
        raise InputError(f"{wheel.path}: holds {wheel.name}, not ONNX Runtime")
    if not any(tag.interpreter == python and tag.platform in platform.tags for tag in tags):
        raise InputError(f"{wheel.path}: not for {platform.name}, which wants {python} on linux_{platform.machine}")


def _check_complete(platform: Platform, folder: Path, wheels: list[Wheel]) -> None:
    """Resolve what the wheels ask for from the wheels alone, as for the device."""
    options = [
        "--no-config",
        "--offline",
        "--no-index",
        f"--find-links={folder}",
        "--require-hashes",
        f"--python={sys.executable}",
        f"--python-version={platform.python_version}",
        f"--python-platform={platform.machine}-manylinux_{platform.glibc[0]}_{platform.glibc[1]}",
    ]
    with tempfile.TemporaryDirectory() as nowhere:
        requirements = Path(nowhere) / "requirements.txt"
        requirements.write_text("".join(f"{wheel.requirement}\n" for wheel in wheels), encoding="utf-8")
        uv = [UV, "pip", "install", "--dry-run", "--quiet", "--target", Path(nowhere) / "target"]
        what = f"the wheels for {platform.name} do not go together"
        _run(what, [*uv, *options, "--requirement", requirements])


def _run(what: str, command: list[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        # pip's last error is the reason; uv draws its reasons as a tree.
        told = [line.strip(" ×│╰─▶") for line in done.stderr.splitlines()]
        errors = [line.removeprefix("ERROR: ") for line in told if line.startswith("ERROR:")]
        raise InputError(f"{what}: {errors[-1] if errors else ' '.join(' '.join(told).split())}")
