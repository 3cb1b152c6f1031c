"""A virtual machine whose power can be cut: qemu, two serial lines, and commands by ssh."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.chaos.processes import tied
from tests.machines.disk import Disk
from tests.machines.image import Image, lacking

HOST = "10.0.2.2"
"""The host's loopback interface, as the machine sees it."""
BOOT_SECONDS = 240.0
"""A machine that has not booted by then never will, under emulation on a busy host either."""
KVM = ("-accel", "kvm", "-cpu", "host,-arch-capabilities")
EMULATION = ("-accel", "tcg,thread=multi,tb-size=768", "-cpu", "max,-erms,-fsrm")
"""Without the two flags, by which Linux copies with `rep movsb`: emulated, that is a loop over bytes."""
_PROBE_SECONDS = 10


def missing() -> str | None:
    """Why no machine can run here; None where it can."""
    return lacking({"qemu-system-x86_64": "qemu-system-x86", "ssh": "openssh-client"})


def accelerator(image: Image) -> tuple[str, ...]:
    """qemu's options for KVM where a kernel boots under it, else for emulation.

    That /dev/kvm is there says little: in some virtual machines it is, and starts no kernel.
    """
    if not Path("/dev/kvm").exists():
        return EMULATION
    with tempfile.TemporaryFile() as output:
        command = ["qemu-system-x86_64", *KVM, *_kernel(image), "-m", "512", "-nodefaults", "-display", "none"]
        probe = subprocess.Popen(
            tied([*command, "-serial", "stdio"]), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + _PROBE_SECONDS
        booted = False
        while not booted and probe.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            output.seek(0)
            booted = b"Linux version" in output.read()
        probe.kill()
        probe.wait()
    return KVM if booted else EMULATION


def _kernel(image: Image) -> list[object]:
    words = "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=1"
    return ["-kernel", image.kernel, "-initrd", image.initrd, "-append", words]


class CommandError(Exception):
    """A command on the machine that failed, with what it said."""


class Machine:
    """A machine that boots from `disk`; all its files are in `folder`."""

    def __init__(self, folder: Path, image: Image, disk: Path, how: Sequence[str], cargo: Path | None = None) -> None:
        """Nothing runs until `start`; `how`: qemu's options of `accelerator`. The disk is copied.

        `cargo`: an ext4 image that it may mount read-only, as /dev/vdb.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.console, self._journal = folder / "console.log", folder / "journal.jsonl"
        self._image, self._how, self._cargo = image, how, cargo
        self.disk_path = folder / "disk.raw"
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", disk, self.disk_path], check=True)
        self.disk = Disk(self.disk_path, folder / "nbdkit.log")
        self._qemu: subprocess.Popen[bytes] | None = None
        self._ssh_master: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.boots = 0

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut_power()
        self.disk.close()
        self.disk_path.unlink(missing_ok=True)

    # -- power --

    def start(self) -> float:
        """Switch it on; returns the seconds until it takes commands."""
        begun = time.monotonic()
        self._switch_on()
        while not self.answers():
            self._must_run("boot", begun + BOOT_SECONDS)
            time.sleep(0.3)
        return time.monotonic() - begun

    def cut_power(self) -> None:
        """All at once: processors, memory, and what the disk had not been told to flush."""
        qemu, self._qemu = self._qemu, None
        self._hang_up()
        if qemu is not None:
            # First the processors, so that the machine never sees its disk fail.
            qemu.send_signal(signal.SIGSTOP)
            self.disk.cut()
            qemu.kill()
            qemu.wait()

    def shut_down(self, seconds: float = 120) -> float:
        """Switch it off as its owner would; returns the seconds that took."""
        begun = time.monotonic()
        self.run("systemctl poweroff", check=False)
        self.wait_off(seconds)
        return time.monotonic() - begun

    def wait_off(self, seconds: float) -> None:
        """Wait until it has switched itself off; RuntimeError where it does not."""
        assert self._qemu is not None
        try:
            self._qemu.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the machine does not switch off:\n{self.tail()}") from None
        self._qemu = None
        self._hang_up()
        self.disk.cut()

    def _switch_on(self) -> None:
        self.disk.plug_in()
        self._port = _free_port()
        command = [
            "qemu-system-x86_64",
            *self._how,
            *_kernel(self._image),
            *("-smp", "2", "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot"),
            *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
            *("-chardev", f"file,id=journal,path={self._journal},append=on", "-serial", "chardev:journal"),
            *("-drive", f"file={self.disk.uri},format=raw,if=none,id=disk,cache=none"),
            *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self._port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
        ]
        if self._cargo is not None:
            command += ["-drive", f"file={self._cargo},format=raw,if=none,id=cargo,readonly=on"]
            command += ["-device", "virtio-blk-pci,drive=cargo"]
        with (self.folder / "qemu.log").open("ab") as log:
            self._qemu = subprocess.Popen(
                tied(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.boots += 1

    def _must_run(self, what: str, deadline: float) -> None:
        if self._qemu is None or self._qemu.poll() is not None or time.monotonic() >= deadline:
            raise RuntimeError(f"the machine does not {what}:\n{self.tail()}")

    # -- commands --

    def answers(self) -> bool:
        """Whether it takes commands now."""
        # One connection for all commands: under emulation each handshake takes more than a second.
        if self._ssh_master is None or self._ssh_master.poll() is not None:
            self._hang_up()
            self._ssh_master = subprocess.Popen(
                tied(self._ssh_command("-M", "-N", "127.0.0.1")),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            return self._control.exists() and self._ssh("true", None, 20).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _hang_up(self) -> None:
        if self._ssh_master is not None:
            self._ssh_master.kill()
            self._ssh_master.wait()
            self._ssh_master = None
        self._control.unlink(missing_ok=True)

    @property
    def _control(self) -> Path:
        return self.disk.folder / "ssh"

    def run(
        self, command: str, *, data: bytes | None = None, seconds: float = 300, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command as root; CommandError where it fails, unless not `check`."""
        done = self._ssh(command, data, seconds)
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace")[-1500:]
            raise CommandError(f"{command}: status {done.returncode}: {said.strip()}")
        return done

    def text(self, command: str, *, seconds: float = 300) -> str:
        """What a command prints, without white space around it."""
        return self.run(command, seconds=seconds).stdout.decode(errors="replace").strip()

    def begin(self, command: str) -> subprocess.Popen[bytes]:
        """Start a command and do not wait for it: the power may be cut meanwhile."""
        return subprocess.Popen(
            tied(self._ssh_command("127.0.0.1", command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def put(self, data: bytes | str, path: str) -> None:
        """Write a file."""
        content = data.encode() if isinstance(data, str) else data
        self.run(f"mkdir -p $(dirname {path}) && cat > {path}", data=content)

    def _ssh(self, command: str, data: bytes | None, seconds: float) -> subprocess.CompletedProcess[bytes]:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        return subprocess.run(
            tied(self._ssh_command("127.0.0.1", command)), capture_output=True, timeout=seconds, check=False, **given
        )

    def _ssh_command(self, *words: str) -> list[str]:
        options = (
            f"ControlPath={self._control}",
            f"Port={self._port}",
            f"IdentityFile={self._image.ssh_key}",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=15",
            "Compression=no",
            "Ciphers=aes128-gcm@openssh.com",
        )
        return ["ssh", "-F", "none", *(word for one in options for word in ("-o", one)), "-l", "root", *words]

    # -- what it tells --

    def journal(self, start: int = 0) -> list[dict[str, Any]]:
        """The entries that have left the machine so far, whole ones, after the first `start`."""
        if not self._journal.exists():
            return []
        entries = []
        for line in self._journal.read_bytes().split(b"\n")[:-1]:
            # A power cut leaves half a line, which the next boot's first line then ends.
            found = re.search(rb"\{.*\}", line)
            try:
                entries.append(json.loads(found[0]) if found else {})
            except ValueError:
                entries.append({})
        return entries[start:]

    def wait_for(
        self, found: Callable[[dict[str, Any]], bool], seconds: float, start: int = 0
    ) -> dict[str, Any] | None:
        """The first entry for which `found`, of those after the first `start`; None where none comes in time."""
        deadline = time.monotonic() + seconds
        while True:
            for entry in self.journal(start):
                if entry and found(entry):
                    return entry
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.1)

    def tail(self) -> str:
        """The end of the console, for messages."""
        lines = self.console.read_text(errors="replace").splitlines() if self.console.exists() else []
        return "\n".join(lines[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def qemu_version(program: str = "qemu-system-x86_64") -> str:
    """As in `qemu-system-x86_64 7.2.22`."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version ([\d.]+)", said)
    return f"{program} {found[1]}" if found else program
