"""A kit, made once; kits of the same shape that are quick to install; and a copy of this machine to install them in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.deploy.tree import Tree, missing

PLATFORM = "debian-amd64"
QuickKit = Callable[[str], Path]


@pytest.fixture(scope="session")
def kit_archive(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit for Debian on x86-64, as `make kit` makes it."""
    out = tmp_path_factory.mktemp("kit")
    done = make_kit(repository, PLATFORM, out)
    if "cannot be fetched" in done.stderr:
        pytest.skip(f"no package index here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    (archive,) = out.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def kit(kit_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it unpacks to."""
    return unpack(kit_archive, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="session")
def quick_kit(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> QuickKit:
    """A function: version -> a kit with this one's installer and a `whycam` of a few lines, quick to install."""

    @cache
    def make(version: str) -> Path:
        folder = tmp_path_factory.mktemp("quick") / f"whycam-{version}-{PLATFORM}"
        shutil.copytree(kit, folder, ignore=shutil.ignore_patterns("*.whl"))
        (pip,) = kit.glob("wheels/pip-*.whl")
        shutil.copy(pip, folder / "wheels")
        write_wheel(folder / "wheels", version)
        pinned = [
            f"{name}=={path.name.split('-')[1]} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
            for path in sorted((folder / "wheels").iterdir())
            if (name := path.name.split("-")[0])
        ]
        (folder / "requirements.txt").write_text("".join(pinned))
        facts = (folder / "kit.env").read_text().splitlines()
        kept = [line for line in facts if not line.startswith(("kit_version", "kit_needed_kib"))]
        (folder / "kit.env").write_text("\n".join([*kept, f"kit_version={version}", "kit_needed_kib=100000", ""]))
        unit = folder / "system" / "whycam.service"
        unit.write_text(f"{unit.read_text()}# of {version}\n")
        sign_off(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory: what waits for the disk there waits for nothing."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="whycam-") as folder:
        yield Path(folder)


@pytest.fixture
def tree(memory: Path) -> Iterator[Tree]:
    """A copy-on-write copy of this machine's file system."""
    if reason := missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Tree(Path(folder))


@pytest.fixture(scope="session")
def first_install(memory: Path, quick_kit: QuickKit) -> Tree:
    """A tree with version 1.0 of a quick kit; to be copied, not changed."""
    if reason := missing():
        pytest.skip(reason)
    tree = Tree(memory / "first-install")
    install(tree, quick_kit("1.0"))
    return tree


@pytest.fixture
def installed(memory: Path, first_install: Tree) -> Iterator[Tree]:
    """A tree with version 1.0 of a quick kit, from /root/1.0."""
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield first_install.copy(Path(folder) / "tree")


def install(tree: Tree, kit: Path) -> None:
    """Install a quick kit, from /root/VERSION."""
    number = kit.name.split("-")[1]
    done = tree.run(tree.put(kit, f"/root/{number}") + "/install.sh", "--offline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert version(tree) == number


def version(tree: Tree) -> str:
    """What the installed command says."""
    return tree.run("whycam", "--version").stdout.removeprefix("whycam ").strip()


def make_kit(
    repository: Path, platform: str, out: Path, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run what `make kit` runs."""
    command = [sys.executable, "-m", "deploy.kit", platform, "--out", out, *arguments]
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=repository,
        env={**os.environ, **environment},
    )


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a kit; its folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    (folder,) = into.iterdir()
    return folder


def sign_off(folder: Path) -> None:
    """Write SHA256SUMS anew."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


COMMAND = """
import pathlib, sys
def main():
    if sys.argv[1:] == ["--version"]:
        print("whycam VERSION")
    elif sys.argv[1:3] == ["config", "check"]:
        sys.exit(2 if "refused by VERSION" in pathlib.Path(sys.argv[3]).read_text() else 0)
"""


def write_wheel(folder: Path, version: str) -> None:
    """A wheel `whycam` with a command that tells its version and checks a configuration, and with what is imported."""
    info = f"whycam-{version}.dist-info"
    files = {
        "whycam.py": COMMAND.replace("VERSION", version),
        "cv2.py": "",
        "onnxruntime.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: whycam\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nwhycam = whycam:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"whycam-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)
