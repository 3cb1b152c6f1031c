"""The command `whycam` for the scripts of deploy/, which know nothing of this checkout."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def command(folder: Path, store: Path, keys: Path) -> Path:
    """A program in `folder` that runs whycam with this store and these trusted keys where a device has its own."""
    program = folder / "whycam"
    program.write_text(
        "#!/usr/bin/env bash\n"
        "group=$1 sub=$2\n"
        "shift 2\n"
        f"options=(--store '{store}' --keys '{keys}')\n"
        "case $sub in\n"
        f"verify) options=(--keys '{keys}') ;;\n"
        "inspect) options=() ;;\n"
        "install) ;;\n"
        f"*) options=(--store '{store}') ;;\n"
        "esac\n"
        f'exec {sys.executable} -m whycam "$group" "$sub" "$@" "${{options[@]}}"\n'
    )
    program.chmod(0o755)
    return program
