"""A Debian 12 disk for the virtual machine, by mmdebstrap; kept in build/machines, keyed by what it is made from."""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
# A device's Debian: what the kit needs of it, and sshd for the tests' commands.
PACKAGES = (
    "linux-image-cloud-amd64",
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "e2fsprogs",
    "python3",
    "python3-venv",
    "openssh-server",
    "iproute2",
    "procps",
    "ca-certificates",
)
DISK_SIZE = "4G"
NETWORK = """\
[Match]
Name=en*

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
"""
# The journal leaves the machine as it is written, by its second serial line: what it told before a power cut is known.
WITNESS = """\
[Unit]
Description=The journal, as it is written, to the second serial line
After=systemd-journald.service
DefaultDependencies=no
Before=basic.target

[Service]
ExecStartPre=/usr/bin/stty -F /dev/ttyS1 raw -echo
ExecStart=/bin/sh -c 'exec /usr/bin/journalctl --follow --lines=all --boot --output=json --all > /dev/ttyS1'
Restart=always

[Install]
WantedBy=sysinit.target
"""
# The little initrd and the timers that are off save seconds of each boot, nothing else.
MODULES = "virtio_pci\nvirtio_blk\nvirtio_net\next4\n"
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer")
MASKED = (*TIMERS, "e2scrub_reap.service")
UNITS = ("systemd-networkd.service", "systemd-networkd-wait-online.service", "witness.service", "ssh.service")


@dataclass(frozen=True)
class Image:
    """A disk that boots, with the kernel that boots it and the key that its root user lets in."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.ext4"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def ssh_key(self) -> Path:
        return self.folder / "ssh_key"


def key() -> str:
    """What the image is made from: all that is written above, and the code that puts it together."""
    parts = (SUITE, PACKAGES, DISK_SIZE, NETWORK, WITNESS, MODULES, MASKED, UNITS)
    return recipe(parts, debian_image, bootstrap, _write_files)


def recipe(parts: object, *code: Callable[..., object]) -> str:
    """A name for what is made from `parts` by these functions."""
    return hashlib.sha256(f"{parts}{''.join(map(inspect.getsource, code))}".encode()).hexdigest()[:16]


def missing() -> str | None:
    """Why no image can be made here; None where it can."""
    if os.geteuid() != 0:
        return "needs root, to make a root file system with its owners"
    return lacking({"mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs", "ssh-keygen": "openssh-client"})


def lacking(programs: dict[str, str]) -> str | None:
    """Which of `programs` (name: Debian package) are not here, with the command that brings them."""
    absent = [name for name in programs if which(name) is None]
    if not absent:
        return None
    packages = " ".join(dict.fromkeys(programs[name] for name in absent))
    return f"needs {', '.join(absent)}: apt-get install {packages}"


def which(program: str) -> str | None:
    """Where `program` is, also where only root looks for it."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def debian_image(cache: Path) -> Image:
    """The image, made where `cache` does not hold it yet; takes a few minutes then, and a mirror of Debian."""
    image = Image(cache / f"debian-amd64-{key()}")
    if image.folder.exists():
        return image
    draft = image.folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    root = draft / "root"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", draft / "ssh_key")
    files = draft / "files"
    _write_files(files, (draft / "ssh_key.pub").read_text())
    bootstrap(
        root,
        "amd64",
        PACKAGES,
        # Before the packages: the initrd that comes with the kernel is made as these files say.
        f'--extract-hook=cp -a {files}/. "$1"',
        f'--customize-hook=chroot "$1" systemctl enable {" ".join(UNITS)}',
        f'--customize-hook=chroot "$1" systemctl mask {" ".join(MASKED)}',
        # sshd's handshake is slow under emulation: one kind of host key is enough.
        '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_rsa_key* "$1"/etc/ssh/ssh_host_ecdsa_key*',
        '--customize-hook=echo machine > "$1"/etc/hostname',
        '--customize-hook=echo "/dev/vda / ext4 defaults 0 1" > "$1"/etc/fstab',
    )
    for name in ("vmlinuz", "initrd.img"):
        (found,) = (root / "boot").glob(f"{name}-*")
        shutil.copy(found, draft / name.removesuffix(".img"))
    _run(which("mkfs.ext4"), "-q", "-d", root, draft / "disk.ext4", DISK_SIZE)
    for folder in (root, files):
        shutil.rmtree(folder)
    draft.rename(image.folder)
    return image


def bootstrap(root: Path, architecture: str, packages: tuple[str, ...], *options: str) -> None:
    """A Debian root file system in the new folder `root`."""
    _run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--architectures={architecture}",
        f"--include={','.join(packages)}",
        *options,
        SUITE,
        root,
    )


def _write_files(folder: Path, public_key: str) -> None:
    written = {
        "etc/systemd/network/wired.network": NETWORK,
        "etc/systemd/system/witness.service": WITNESS,
        "etc/initramfs-tools/conf.d/machine": "MODULES=list\n",
        "etc/initramfs-tools/modules": MODULES,
        "root/.ssh/authorized_keys": public_key,
    }
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
    (folder / "root" / ".ssh" / "authorized_keys").chmod(0o600)
    (folder / "root").chmod(0o700)
    (folder / "root" / ".ssh").chmod(0o700)


def _run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: status {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}")
