"""RAUC's hook: called as RAUC calls it, and by RAUC itself where it is installed and may mount."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.small_disk import can_loop
from tests.runtime.deployment.calling import REPOSITORY, command
from tests.runtime.deployment.versions import id_at, make, make_key, packed, put, sign, states
from whycam.deployment.store import BundleStore

HOOK = REPOSITORY / "deploy" / "rauc" / "hook"
EXAMPLES = REPOSITORY / "deploy" / "rauc"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
PROGRAMS = ("rauc", "mksquashfs", "dbus-daemon", "openssl")


class Device:
    """A device with a version that has held, and the content of a RAUC bundle with another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = BundleStore(folder / "store")
        self.old = put(self.store, make(folder / "old", "1"))
        self.key = make_key(folder / "keys")
        self.content = folder / "content"
        self.content.mkdir()
        shutil.copy(HOOK, self.content / "hook")
        whycam = command(folder, self.store.root, folder / "keys")
        self.environment = {**os.environ, "PATH": _PATH, "WHYCAM": str(whycam)}

    def carry(self, *, signed: bool = True) -> str:
        """Put version 2 into the RAUC bundle; its id."""
        bundle = make(self.folder / "fight", "2")
        if signed:
            sign(bundle, self.key)
        packed(bundle).rename(self.content / "fight.whycam.tar")
        return id_at(bundle)

    def hook(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What the hook answers, in the folder where RAUC has mounted the bundle."""
        return subprocess.run(
            [self.content / "hook", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**self.environment, **environment},
        )


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_what_whycam_would_refuse_is_refused_before_anything_is_written(device: Device) -> None:
    empty = device.hook("install-check")
    assert (empty.returncode, empty.stderr) == (10, "whycam: the RAUC bundle holds no NAME.whycam.tar\n")
    device.carry(signed=False)
    refused = device.hook("install-check")
    assert refused.returncode == 10
    assert "is not signed" in refused.stderr
    assert states(device.store) == {device.old: "current"}


def test_the_image_is_installed_on_trial(device: Device) -> None:
    new = device.carry()
    assert device.hook("install-check").returncode == 0
    assert states(device.store) == {device.old: "current"}
    image = str(device.content / "fight.whycam.tar")
    done = device.hook("slot-install", "whycam-bundle.0", RAUC_IMAGE_NAME=image, RAUC_SLOT_CLASS="whycam-bundle")
    assert done.returncode == 0, done.stderr
    assert states(device.store) == {device.old: "before", new: "on-trial"}


def test_a_hook_that_is_not_known_is_refused(device: Device) -> None:
    assert device.hook("slot-post-install", "rootfs.0").returncode == 10


def cannot_run_rauc() -> str | None:
    """Why RAUC cannot be run here; None where it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"needs {', '.join(absent)} (apt-get install rauc squashfs-tools dbus openssl)"
    if "squashfs" not in Path("/proc/filesystems").read_text():
        return "needs a kernel with squashfs"
    return can_loop()


BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""


@contextmanager
def rauc_service(device: Device) -> Iterator[None]:
    """RAUC's daemon on a D-Bus of its own, with the example's configuration."""
    folder = device.folder
    (folder / "bus.conf").write_text(BUS.format(folder=folder))
    (folder / "state").mkdir()
    settings = (EXAMPLES / "system.conf.example").read_text().replace("bootloader=uboot", "bootloader=noop")
    for there, here in (
        ("/var/lib/rauc", folder / "data"),
        ("/etc/rauc/keyring.pem", folder / "cert.pem"),
        ("/var/lib/whycam", folder / "state"),
    ):
        settings = settings.replace(there, str(here))
    (folder / "data").mkdir()
    (folder / "system.conf").write_text(settings.replace("[system]\n", f"[system]\nmountprefix={folder}/mount\n"))
    device.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={folder}/bus"
    commands = (
        ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork"],
        ["rauc", f"--conf={folder / 'system.conf'}", "--override-boot-slot=_external_", "service"],
    )
    started = []
    try:
        for arguments in commands:
            with (folder / f"{arguments[0]}.log").open("wb") as log:
                started.append(subprocess.Popen(arguments, stdout=log, stderr=log, env=device.environment))
            deadline = time.monotonic() + 20
            while arguments[0] == "dbus-daemon" and not (folder / "bus").exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(20)


def run(device: Device, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command in the device's environment."""
    return subprocess.run(
        [str(one) for one in arguments],
        capture_output=True,
        text=True,
        check=False,
        env=device.environment,
        timeout=120,
    )


@pytest.mark.skipif(cannot_run_rauc() is not None, reason=str(cannot_run_rauc()))
def test_rauc_itself_refuses_and_installs(device: Device) -> None:
    folder = device.folder
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subject = ("-subj", "/CN=maker", "-days", "30", "-addext", "keyUsage=digitalSignature")
    files = ("-keyout", key, "-out", certificate)
    made = run(device, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject)
    assert made.returncode == 0, made.stderr
    manifest = (EXAMPLES / "manifest.raucm.example").read_text()
    # Checked block by block as it is read (verity) needs device mapper, which not every kernel that tests run on has.
    (device.content / "manifest.raucm").write_text(manifest.replace("format=verity", "format=plain"))
    id = device.carry(signed=False)

    def install() -> subprocess.CompletedProcess[str]:
        bundle = folder / "update.raucb"
        bundle.unlink(missing_ok=True)
        packing = run(device, "rauc", "bundle", f"--cert={certificate}", f"--key={key}", device.content, bundle)
        assert packing.returncode == 0, packing.stderr
        deadline = time.monotonic() + 30
        while True:
            done = run(device, "rauc", f"--conf={folder / 'system.conf'}", "install", bundle)
            # Its daemon may not be there yet.
            if "D-Bus error" not in done.stderr or time.monotonic() > deadline:
                return done
            time.sleep(0.2)

    with rauc_service(device):
        refused = install()
        assert refused.returncode != 0
        assert "is not signed" in refused.stdout + refused.stderr
        assert states(device.store) == {device.old: "current"}
        sign(folder / "fight", device.key)
        packed(folder / "fight").rename(device.content / "fight.whycam.tar")
        done = install()
        assert done.returncode == 0, (folder / "rauc.log").read_text()
        assert states(device.store) == {device.old: "before", id: "on-trial"}
        assert not list((folder / "state").iterdir()), "RAUC writes nothing to the slot's device"
