"""`python -m deploy.kit.lock PYLOCK LOCK`: a resolution for one kind of machine, as the lock of a kit.

uv's `pylock.toml` names the wheels that fit the machine, and where they are; a kit's lock is a requirements file, which
pip reads, and which keeps their hashes and no addresses.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def lines(pylock: dict[str, Any]) -> list[str]:
    """A line for each distribution: its version, and the hashes of its wheels that fit."""
    return [
        f"{package['name']}=={package['version']} "
        + " ".join(f"--hash=sha256:{wheel['hashes']['sha256']}" for wheel in package["wheels"])
        for package in pylock["packages"]
    ]


def main(source: Path, target: Path) -> None:
    """Write the lock."""
    pylock = tomllib.loads(source.read_text(encoding="utf-8"))
    target.write_text("".join(f"{line}\n" for line in lines(pylock)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
