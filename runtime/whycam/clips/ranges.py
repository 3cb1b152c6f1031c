"""When the anomaly lasts in a clip: `ranges.csv` in the folder of clips, with the columns path,start,end (seconds)."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from whycam.clips.folder import VIDEO_SUFFIXES
from whycam.errors import InputError

RANGES = "ranges.csv"
_COLUMNS = ("path", "start", "end")

Ranges = tuple[tuple[float, float], ...]
"""Seconds from and until which it lasts, a pair for each time."""


def read_ranges(table: Path) -> dict[str, Ranges]:
    """The ranges of each clip in the CSV file `table`, by path without suffix; raises InputError, naming the line."""
    found: dict[str, Ranges] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    f"{table}: no column {', '.join(missing)}; its first line must be {','.join(_COLUMNS)}"
                )
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                name = key_of((row["path"] or "").strip())
                found[name] = (*found.get(name, ()), (_seconds(where, row["start"]), _seconds(where, row["end"])))
                if found[name][-1][0] >= found[name][-1][1]:
                    raise InputError(f"{where}: the range ends before it starts; give start and end in seconds")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read as CSV in UTF-8 ({error})") from error
    return found


def key_of(path: str) -> str:
    """What a clip's path in its folder is told by: the path without a video's suffix."""
    # Only a video's suffix: names may hold full stops of their own.
    return Path(path).with_suffix("").as_posix() if Path(path).suffix.lower() in VIDEO_SUFFIXES else path


def _seconds(where: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{where}: '{text}' is not a time in seconds")
    return value
