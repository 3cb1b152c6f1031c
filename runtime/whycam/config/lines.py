"""Where in a TOML file a value stands: TOML's parsers give values without their lines."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Place = tuple[str | int, ...]
"""The keys and, in arrays of tables, the numbers that lead to a value."""


def lines_of(text: str) -> dict[Place, int]:
    """The line, from 1, of every key, table and table of an array in `text`, a valid TOML document.

    What stands within an inline table or an array has the line where that begins.
    """
    lines: dict[Place, int] = {}
    counts: dict[Place, int] = defaultdict(int)
    table: Place = ()
    for number, statement in _statements(text):
        kind = "[[" if statement.startswith("[[") else "[" if statement.startswith("[") else "key"
        parsed = tomllib.loads(statement)
        if kind == "key":
            for place in _places(parsed):
                lines.setdefault((*table, *place), number)
            continue
        table = ()
        names = _header(parsed)
        for position, name in enumerate(names):
            table = (*table, name)
            lines.setdefault(table, number)
            if kind == "[[" and position == len(names) - 1:
                counts[table] += 1
            if counts[table]:
                # A table under an array of tables belongs to the array's last one.
                table = (*table, counts[table] - 1)
                lines.setdefault(table, number)
    return lines


def line_of(place: Place, lines: dict[Place, int]) -> int:
    """The line of `place`, or of the nearest thing around it that has one."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header or assignment with the number of its first line: the fewest lines that are TOML by themselves."""
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not held:
            first = number
            line = line.lstrip()
            if not line.strip() or line.startswith("#"):
                continue
        held += line + "\n"
        try:
            tomllib.loads(held)
        except tomllib.TOMLDecodeError:
            continue
        yield first, held
        held = ""


def _header(parsed: Any) -> list[str]:
    names = []
    while parsed:
        parsed = parsed[0] if isinstance(parsed, list) else parsed
        if not parsed:
            break
        ((name, parsed),) = parsed.items()
        names.append(name)
    return names


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from _places(part, (*place, name))
