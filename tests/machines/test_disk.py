"""The disk of the machines: a power cut takes what was not flushed, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.machines import disk
from tests.machines.disk import Disk
from tests.machines.image import lacking

REASON = disk.missing() or lacking({"qemu-io": "qemu-utils"})
MIB = 1 << 20


@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_a_power_cut_takes_what_was_not_flushed(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(4 * MIB))
    served = Disk(image, tmp_path / "nbdkit.log")
    try:
        served.plug_in()
        # It crashes at the end, for one that closes a disk flushes it.
        words = ("write -P 1 0 64k", "flush", "write -P 2 1M 64k", "read -P 2 1M 64k", "abort")
        commands = [word for command in words for word in ("-c", command)]
        writer = ["stdbuf", "-oL", "qemu-io", "-f", "raw", "-t", "none", *commands, served.uri]
        done = subprocess.run(writer, capture_output=True, text=True, timeout=60)
        assert "read 65536/65536 bytes" in done.stdout, done.stderr
        served.cut()
    finally:
        served.close()

    content = image.read_bytes()
    assert content[: 64 << 10] == b"\x01" * (64 << 10)
    assert not any(content[64 << 10 :])
