"""Disks made ready on the host, at its speed: what the kit's own installer makes of a Debian in a chroot."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.machines import bundles, kits
from tests.machines.device import CLIP_PATH, CONFIG_PATH, config, write_clip
from tests.machines.image import Image, which

CARGO_SIZE = "1G"
SET_UP = (
    f"mkdir -p $(dirname {CLIP_PATH}) && cp /mnt/clip.avi {CLIP_PATH} &&"
    " install --mode=640 --group=whycam /mnt/trusted.pub /etc/whycam/trusted-keys/"
)
"""What an owner does on a device, beside the configuration: the camera is there, and somebody is trusted."""


def cargo(folder: Path, made: dict[str, Path]) -> Path:
    """A disk that machines mount on /mnt: the kits `made`, by name, a broken one, the bundles, the camera's clip."""
    image = folder / "cargo.ext4"
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    root.mkdir(parents=True)
    for name, kit in made.items():
        shutil.copytree(kit, root / name)
    kits.broken(root / "next", root / "broken")
    write_clip(root / "clip.avi")
    bundles.make(root / "bundles", folder / "keys")
    shutil.rmtree(root / "bundles" / "made")
    shutil.copy(folder / "keys" / "trusted.pub", root / "trusted.pub")
    subprocess.run(
        [str(which("mkfs.ext4")), "-q", "-F", "-d", root, image, CARGO_SIZE], check=True, capture_output=True
    )
    shutil.rmtree(root)
    return image


def installed(image: Image, cargo_image: Path, to: Path) -> Path:
    """A disk with whycam installed by the kit, the first bundle current, and the service enabled."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image.disk, to], check=True)
    with mounted(to) as root, mounted(cargo_image, root / "mnt", "ro"), kernel_files(root):
        in_chroot(root, "/mnt/kit/install.sh --offline")
        # The release of the broken kit is made here, where that is fast: the machine only switches to it, and back.
        in_chroot(root, "/mnt/broken/install.sh --offline && /opt/whycam/current/kit/install.sh --undo --offline")
        in_chroot(root, SET_UP)
        configure(root, 1883)
        in_chroot(root, f"whycam bundle install /mnt/bundles/first.whycam.tar -c {CONFIG_PATH}")
        in_chroot(root, "systemctl --quiet enable whycam")
    return to


def configure(root: Path, port: int) -> None:
    """Write the configuration where the kit is installed; owner and mode are those that the installer gave it."""
    path = root / CONFIG_PATH.lstrip("/")
    if path.exists():
        path.write_text(config(port))


@contextlib.contextmanager
def kernel_files(root: Path) -> Iterator[None]:
    """/proc and /dev in `root`, as every chroot needs them."""
    with contextlib.ExitStack() as stack:
        for words in (("-t", "proc", "proc", root / "proc"), ("--bind", "/dev", root / "dev")):
            subprocess.run(["mount", *words], check=True)
            stack.callback(subprocess.run, ["umount", words[-1]], check=True)
        yield


@contextlib.contextmanager
def mounted(disk: Path, at: Path | None = None, options: str = "rw") -> Iterator[Path]:
    """The file system in the file `disk`."""
    with contextlib.ExitStack() as stack:
        if at is None:
            at = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="disk-")))
        subprocess.run(["mount", "-o", f"loop,{options}", disk, at], check=True)
        try:
            yield at
        finally:
            subprocess.run(["umount", at], check=True)


def in_chroot(root: Path, command: str, seconds: float = 600) -> str:
    """What a shell command prints there; RuntimeError where it fails."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    done = subprocess.run(
        [str(which("chroot")), root, "/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command}: status {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout
