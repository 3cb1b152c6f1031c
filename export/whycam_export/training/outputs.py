"""What a training run leaves: the model, and beside it its description, history, metrics and pictures."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whycam_export.errors import TrainingError

SUFFIX = ".keras"


def check_output(path: Path) -> None:
    """Raise TrainingError where no model can be written at `path`, before hours are spent on it."""
    if path.suffix != SUFFIX:
        raise TrainingError(f"-o {path}: the model's name must end in {SUFFIX}")
    if path.is_dir():
        raise TrainingError(f"-o {path}: is a folder; name a file that ends in {SUFFIX}")
    if not path.parent.is_dir():
        raise TrainingError(f"-o {path}: no such folder {path.parent}; make it first")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise TrainingError(f"-o {path}: {path.parent} cannot be written ({error.strerror})") from error


@contextmanager
def staging(model: Path) -> Iterator[Callable[[str], Path]]:
    """Files that appear beside `model` all together, when the block ends well, or not at all.

    Yields a function from a suffix (`.json`) to the path to write that file at. The model itself moves last, so where
    it is, the others are.
    """
    with tempfile.TemporaryDirectory(dir=model.parent, prefix=f".{model.stem}.") as folder:
        staged: list[Path] = []

        def place(suffix: str) -> Path:
            staged.append(Path(folder) / f"{model.stem}{suffix}")
            return staged[-1]

        try:
            yield place
            for path in sorted(staged, key=lambda path: path.suffix == SUFFIX):
                path.replace(model.parent / path.name)
        except OSError as error:
            raise TrainingError(f"{model.parent}: cannot be written ({error.strerror or error})") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as indented JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the epochs as CSV, a column per figure."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
