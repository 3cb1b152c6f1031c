"""The debian-arm64 kit in an aarch64 Debian under qemu-user: installed, examined, and compared with x86-64."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.machines import binfmt, bundles, kits
from tests.machines.device import write_clip
from tests.machines.image import bootstrap, lacking, recipe
from tests.machines.prepared import in_chroot, kernel_files
from tests.machines.rows import Row
from tests.runtime import tiny_bundle

PART = "aarch64"
PACKAGES = ("python3", "python3-venv", "systemd", "ca-certificates")
SCORES = 1e-4
"""How far a score may be from x86-64's. Both compute in float32, in another order: sums differ in their last digits."""
RELEVANCE = 1e-3
"""The same of a frame's share of an explanation."""
HEAT = 1e-3
"""The same of a heat map, of its largest value."""
INT8_SCORES = 0.02
"""In eight bits a sum that differs in its last digit may be rounded to the next step."""
LEVELS = 3
"""How far a decoded pixel may be from x86-64's, of 255: FFmpeg rounds otherwise in each architecture's own code. What
a model makes of that is the model's affair, so what is compared of it is what it makes of the very same pictures."""
SOURCES = {"colours": "SRV/colours.avi", "network": "images:SRV/network"}
MOMENTS = {"colours": 4, "network": 2.5}
"""When each clip has something to explain, in seconds."""
SECONDS = 1200


def missing() -> str | None:
    """Why no aarch64 system can be made here; None where it can."""
    return lacking({"mmdebstrap": "mmdebstrap", "arch-test": "arch-test"}) or binfmt.missing()


def debian(cache: Path) -> Path:
    """A root file system, made where `cache` does not hold it yet."""
    root = cache / f"debian-arm64-{recipe(PACKAGES, bootstrap)}"
    if root.exists():
        return root
    draft = root.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    bootstrap(draft, "arm64", PACKAGES)
    draft.rename(root)
    return root


def network(cache: Path) -> Path:
    """A thin form of the paper's network with random weights, float32 and INT8, as `whycam export` makes bundles."""
    from bench.network import SMALL, build

    folder = cache / f"network-{recipe(SMALL, build)}"
    if not folder.exists():
        draft = folder.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        build(draft, SMALL, 0)
        draft.rename(folder)
    return folder / "paper.whycam"


def run(cache: Path, tell: Callable[[str], None]) -> list[Row]:
    """All of it, in `cache`/arm64; the caches of Debian, kit and network are beside it."""
    with binfmt.aarch64():
        tell("an aarch64 Debian")
        base = debian(cache)
        tell("the kit")
        kit = kits.kit("debian-arm64", cache)
        tell("a network")
        model = network(cache)
        folder = cache / "arm64"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        root = folder / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
        try:
            shutil.copytree(kit, root / "opt" / "kit")
            _give(root, model, folder)
            with kernel_files(root):
                return _rows(root, folder, tell)
        finally:
            shutil.rmtree(root)


def _give(root: Path, model: Path, folder: Path) -> None:
    """Bundles, clips and a key, in /srv."""
    here = root / "srv"
    bundles.make(here / "bundles", folder / "keys")
    shutil.copy(folder / "keys" / "trusted.pub", here)
    shutil.copytree(model, here / "network.whycam")
    tiny_bundle.build(here / "colours.whycam")
    write_clip(here / "colours.avi")
    _write_scenes(here)
    # The same files for both.
    (folder / "srv").symlink_to(here)


def _write_scenes(folder: Path) -> None:
    """Blocks of colour that wander: as pictures of the network's size, which all read alike, and as a video."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    pictures = folder / "network"
    pictures.mkdir()
    writer = cv2.VideoWriter(str(folder / "network.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for step in range(30):
        picture = np.roll(blocks, 3 * step, axis=1)
        cv2.imwrite(str(pictures / f"{step}.png"), picture)
        writer.write(picture)
    writer.release()


def _rows(root: Path, folder: Path, tell: Callable[[str], None]) -> list[Row]:
    tell("install.sh")
    rows = [_install(root)]
    tell("whycam doctor")
    rows.append(_doctor(root, folder))
    tell("golden self-test")
    rows += _self_test(root)
    for name, precision, limit in (
        ("colours", "fp32", SCORES),
        ("network", "fp32", SCORES),
        ("network", "int8", INT8_SCORES),
    ):
        tell(f"scores and explains with {name}, {precision}")
        rows.append(_scores(root, folder, name, precision, limit))
        if precision == "fp32":
            rows.append(_explanations(root, folder, name))
    tell("decodes a video")
    rows.append(_decoding(root, folder))
    tell("uninstall.sh")
    rows.append(_uninstall(root))
    return rows


def _install(root: Path) -> Row:
    row = Row(PART, "`install.sh --offline` of the debian-arm64 kit")
    begun = time.monotonic()
    in_chroot(root, "/opt/kit/install.sh --offline", SECONDS)
    row.measured.append(f"{time.monotonic() - begun:.0f} s")
    row.measured.append(in_chroot(root, "whycam --version").strip())
    versions = "import platform, onnxruntime, cv2, numpy; print(platform.machine(), 'ONNX Runtime', "
    versions += "onnxruntime.__version__, 'OpenCV', cv2.__version__, 'NumPy', numpy.__version__)"
    said = in_chroot(root, f'/opt/whycam/current/bin/python -I -c "{versions}"').strip()
    row.must(said.startswith("aarch64 "), said)
    row.measured.append(said)
    return row


def _doctor(root: Path, folder: Path) -> Row:
    row = Row(PART, "`whycam doctor`: knows the machine and its libraries, nothing fails")
    # Emulated, an import takes many times as long.
    command = "whycam doctor --json --seconds 300"
    said = json.loads(in_chroot(root, f"{command} || test $? = 1", SECONDS))
    (folder / "doctor.json").write_text(json.dumps(said, indent=1))
    checks = {one["check"]: one for one in said["checks"]}
    device = checks["platform.device"]
    row.must(device["facts"]["architecture"] == "aarch64", f"takes the machine for {device['facts']}")
    row.problems += [f"{name}: {one['found']}" for name, one in checks.items() if one["status"] == "failure"]
    counts = said["counts"]
    row.measured.append(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    row.measured += [f"{name}: {one['found']}" for name, one in checks.items() if one["status"] == "warning"]
    return row


def _self_test(root: Path) -> list[Row]:
    good = Row(PART, "golden self-test, by `whycam bundle install`: a good bundle passes")
    in_chroot(root, "install --mode=640 --group=whycam /srv/trusted.pub /etc/whycam/trusted-keys/")
    words = "--keys /etc/whycam/trusted-keys --store /var/lib/whycam/bundles"
    said = in_chroot(root, f"whycam bundle install /srv/bundles/first.whycam.tar {words} --json", SECONDS)
    good.measured += _figures(json.loads(said))
    bad = Row(PART, "golden self-test: one that does not compute what its golden window says is refused")
    said = in_chroot(root, f"whycam bundle install /srv/bundles/wrong.whycam.tar {words} 2>&1; echo status $?", SECONDS)
    bad.must(said.strip().endswith("status 2"), said)
    bad.measured.append("status 2")
    return [good, bad]


def _figures(made: dict[str, Any]) -> list[str]:
    """What the installation says of its self-tests."""
    return [
        f"{one['what']} {one['found']:.1g}, limit {one['limit']:.1g}"
        for test in made["tests"]
        for one in test["comparisons"]
    ]


def _both(root: Path, folder: Path, words: str) -> tuple[str, str, float]:
    """What a command of whycam prints there and here, and the seconds that it took there; SRV is the folder /srv."""
    begun = time.monotonic()
    there = in_chroot(root, f"whycam {words.replace('SRV', '/srv')}", SECONDS)
    seconds = time.monotonic() - begun
    return there, bundles.whycam(*words.replace("SRV", str(folder / "srv")).split()), seconds


def _scores(root: Path, folder: Path, name: str, precision: str, limit: float) -> Row:
    row = Row(PART, f"`whycam score`, {name}, {precision}: as on x86-64, within {limit:g}")
    words = f"score {SOURCES[name]} -b SRV/{name}.whycam --precision {precision} --provider cpu"
    there, here, seconds = _both(root, folder, words)
    ours, theirs = ([json.loads(line) for line in text.splitlines()] for text in (here, there))
    row.must(len(ours) == len(theirs) and ours, f"{len(theirs)} decisions, and here {len(ours)}")
    told = [[(one["time"], one["warm"], one["label"], one["alert"]) for one in each] for each in (ours, theirs)]
    row.must(told[0] == told[1], "other times, labels or alerts")
    gaps = [
        abs(mine["scores"][label] - other["scores"][label])
        for mine, other in zip(ours, theirs, strict=False)
        for label in (mine["scores"] if mine["warm"] and other["warm"] else ())
    ]
    if not row.must(gaps, "no window was full"):
        return row
    row.must(max(gaps) <= limit, f"scores differ by {max(gaps):.2g}")
    row.measured += [f"{len(ours)} decisions", f"largest difference {max(gaps):.1g}", f"{seconds:.0f} s emulated"]
    return row


def _explanations(root: Path, folder: Path, name: str) -> Row:
    row = Row(PART, f"`whycam explain`, {name}: heat maps and shares as on x86-64, within {HEAT:g} and {RELEVANCE:g}")
    words = f"explain {SOURCES[name]} -b SRV/{name}.whycam --at {MOMENTS[name]} --label fight --versus none"
    words += f" --provider cpu -o SRV/{name}.npz"
    arrays = []
    for side in range(2):
        if side:
            in_chroot(root, f"whycam {words.replace('SRV', '/srv')}", SECONDS)
        else:
            bundles.whycam(*words.replace("SRV", str(folder / "srv")).split())
        with np.load(folder / "srv" / f"{name}.npz") as loaded:
            arrays.append({key: loaded[key] for key in loaded.files})
        (folder / "srv" / f"{name}.npz").unlink()
    here, there = arrays
    row.must(set(here) == set(there), f"arrays {sorted(there)}, and here {sorted(here)}")
    for key, limit in (("heatmaps", HEAT), ("relevance", RELEVANCE)):
        scale = float(np.abs(here[key]).max())
        if not row.must(scale > 0, f"{key}: nothing to compare"):
            continue
        gap = float(np.abs(here[key] - there[key]).max()) / (scale if key == "heatmaps" else 1)
        row.must(here[key].shape == there[key].shape and gap <= limit, f"{key} differ by {gap:.2g}")
        row.measured.append(f"{key} {here[key].shape} differ by {gap:.1g}")
    return row


_DECODE = """
import sys, numpy, whycam
frames = [frame.image for frame in whycam.open_source(sys.argv[1])]
numpy.savez(sys.argv[2], frames=numpy.array(frames))
"""


def _decoding(root: Path, folder: Path) -> Row:
    row = Row(PART, f"a video is decoded as on x86-64, within {LEVELS} levels of 255")
    (root / "srv" / "decode.py").write_text(_DECODE)
    in_chroot(root, "/opt/whycam/current/bin/python -I /srv/decode.py /srv/network.avi /srv/there.npz", SECONDS)
    here = folder / "srv"
    script = [sys.executable, here / "decode.py", here / "network.avi", here / "here.npz"]
    subprocess.run([str(word) for word in script], check=True)
    ours, theirs = (np.load(here / name)["frames"].astype(int) for name in ("here.npz", "there.npz"))
    row.must(ours.shape == theirs.shape, f"{theirs.shape}, and here {ours.shape}")
    gap = int(np.abs(ours - theirs).max())
    row.must(gap <= LEVELS, f"differ by {gap} levels")
    row.measured.append(f"{len(ours)} frames, largest difference {gap} levels")
    return row


def _uninstall(root: Path) -> Row:
    row = Row(PART, "`uninstall.sh --purge --offline`")
    in_chroot(root, "/opt/kit/uninstall.sh --purge --offline", SECONDS)
    left = [path for path in ("opt/whycam", "etc/whycam", "var/lib/whycam", "usr/local/bin/whycam") if
            os.path.lexists(root / path)]  # fmt: skip
    row.must(not left, f"left: {left}")
    row.must(not re.search(r"^whycam:", (root / "etc" / "passwd").read_text(), re.MULTILINE), "the user is left")
    row.measured.append("nothing left")
    return row
