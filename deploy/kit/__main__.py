"""`make kit PLATFORM=...`: all that a device needs to install whycam without a network, as one archive.

The archive is the same, byte by byte, for the same sources and the same lock. Its files carry the time of
SOURCE_DATE_EPOCH, by default the beginning of 1980, the earliest that wheels can hold.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from deploy.kit import archive, sbom
from deploy.kit.platforms import Platform, platform_named
from deploy.kit.wheels import REPOSITORY, Wheel, gather
from whycam import __version__
from whycam.errors import InputError

DEPLOY = REPOSITORY / "deploy"
EARLIEST = 315532800
# The oldest systemd that a kit is for: that of Ubuntu 22.04.
SYSTEMD = 249


def build(platform: Platform, out: Path, onnxruntime: Path | None = None) -> Path:
    """Make the kit of `platform` in the folder `out`; `onnxruntime` is a wheel in place of the lock's."""
    time = _time()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".kit-") as work:
        kit = Path(work) / f"whycam-{__version__}-{platform.name}"
        kit.mkdir()
        wheels = gather(platform, kit / "wheels", onnxruntime)
        _add_files(kit, platform)
        requirements = "".join(f"{wheel.requirement}\n" for wheel in wheels)
        (kit / "requirements.txt").write_text(requirements, encoding="utf-8")
        when = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
        (kit / "sbom.cdx.json").write_text(sbom.document(platform, __version__, wheels, when), encoding="utf-8")
        (kit / "kit.env").write_text(_facts(platform, wheels), encoding="utf-8")
        (kit / "SHA256SUMS").write_text(_sums(kit), encoding="utf-8")
        made = out / f"{kit.name}.tar.gz"
        archive.pack(kit, made, time)
    return made


def _time() -> int:
    told = os.environ.get("SOURCE_DATE_EPOCH", str(EARLIEST))
    if not told.isascii() or not told.isdecimal() or int(told) < EARLIEST:
        raise InputError(f"SOURCE_DATE_EPOCH: '{told}' is no time from 1980 on, in seconds since 1970")
    return int(told)


def _add_files(kit: Path, platform: Platform) -> None:
    system = kit / "system"
    system.mkdir()
    for name in ("whycam.service", "sysusers.conf", "tmpfiles.conf"):
        shutil.copyfile(DEPLOY / name, system / name)
    if platform.name.startswith("jetpack"):
        (system / "whycam.service.d").mkdir()
        shutil.copyfile(DEPLOY / "jetson.conf", system / "whycam.service.d" / "jetson.conf")
    for name in ("install.sh", "uninstall.sh", "common.sh", "checks.sh", "whycam.toml"):
        shutil.copyfile(DEPLOY / "kit" / name, kit / name)
    shutil.copyfile(DEPLOY / "whycam.example.toml", kit / "whycam.example.toml")
    shutil.copyfile(REPOSITORY / "LICENSE", kit / "LICENSE")


def _facts(platform: Platform, wheels: list[Wheel]) -> str:
    """What the installer reads: shell assignments."""
    (runtime,) = (wheel for wheel in wheels if wheel.name.startswith("onnxruntime"))
    # Bytecode takes about as much as its source, and a file system rounds up.
    needed = sum(wheel.unpacked_bytes for wheel in wheels) * 3 // 2 // 1024
    facts = {
        "platform": platform.name,
        "version": __version__,
        "distribution": platform.distribution,
        "machine": platform.machine,
        "python": platform.python_version,
        "glibc": platform.glibc_version,
        "systemd": SYSTEMD,
        "opencv": platform.opencv,
        "onnxruntime": f"{runtime.name} {runtime.version}",
        "needed_kib": needed,
    }
    return "".join(f"kit_{name}='{value}'\n" for name, value in facts.items())


def _sums(kit: Path) -> str:
    files = sorted(path for path in kit.rglob("*") if path.is_file())
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(kit)}\n" for path in files)


def main() -> None:
    """Make a kit; what is wrong gets one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser(prog="kit", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("platform", metavar="PLATFORM")
    parser.add_argument("--onnxruntime", type=Path, metavar="WHEEL", help="an ONNX Runtime in place of the lock's")
    parser.add_argument("-o", "--out", type=Path, default=REPOSITORY / "dist", metavar="FOLDER")
    options = parser.parse_args()
    try:
        platform = platform_named(options.platform)
        made = build(platform, options.out, options.onnxruntime)
    except (InputError, OSError) as error:
        print("kit:", error, file=sys.stderr)
        sys.exit(2)
    if platform.opencv == "system" and options.onnxruntime is None:
        print("kit: without a GPU: the CPU's ONNX Runtime; for NVIDIA's build, name its wheel: ONNXRUNTIME=...whl")
    print(f"{made}: {made.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
