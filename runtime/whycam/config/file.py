"""From a TOML file to a checked configuration, or to all that is wrong with it, line by line."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from whycam.config.lines import Place, line_of, lines_of
from whycam.config.models import Config, Table
from whycam.errors import ConfigError
from whycam.sources.uri import in_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_BYTES = 1 << 20
_SECRET = frozenset({"source", "password", "credentials"})
"""Keys whose values are not repeated: somebody may have put a password there."""


def load_config(path: Path) -> Config:
    """The configuration in the file at `path`; relative paths in it are taken from the folder of the file.

    Raises ConfigError with all that is wrong, each with its line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror})"]) from error
    if len(data) > _MOST_BYTES:
        raise ConfigError([f"{path}: is no configuration (more than {_MOST_BYTES} bytes)"])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}:{data.count(10, 0, error.start) + 1}: not UTF-8"]) from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_not_toml(path, text, error)]) from None
    except RecursionError:
        raise ConfigError([f"{path}: nested too deep"]) from None
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(list(_problems(path, text, values, error))) from None
    return _in_folder(config, path.parent)


def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys that a table may hold, with pydantic's description of each field."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def table_in(annotation: Any) -> type[Table] | None:
    """The model of the table, or of the tables, that a key of this type holds; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next((found for inner in get_args(annotation) if (found := table_in(inner)) is not None), None)


def _not_toml(path: Path, text: str, error: Exception) -> str:
    said = str(error)
    found = re.search(r"\(at line (\d+), column (\d+)\)$", said)
    number = int(found[1]) if found else text.count("\n") + 1
    what = said[: found.start()].strip() if found else said.removesuffix("(at end of document)").strip()
    return f"{path}:{number}: not TOML: {what[:1].lower()}{what[1:]}"


def _problems(path: Path, text: str, values: dict[str, Any], error: ValidationError) -> Iterator[str]:
    lines = lines_of(text)
    by_place: dict[tuple[int, str], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
            continue  # What is wrong with its parts is told.
        place, model = _known_part(detail["loc"], lines)
        table = place[:-1] if detail["type"] == "extra_forbidden" else place
        by_place.setdefault((line_of(place, lines), _where(table, values)), []).append(detail)
        detail["ctx"] = {**detail.get("ctx", {}), "model": model, "place": place}
    for (number, where), details in sorted(by_place.items(), key=lambda item: item[0][0]):
        # A value that may be of several types fails as each of them; that it is not of one of them says least.
        telling = [one for one in details if not one["type"].endswith(("_type", "_parsing"))] or details
        for told in dict.fromkeys(_what(detail) for detail in telling):
            yield f"{path}:{number}: {where}{told}"


def _known_part(loc: Sequence[str | int], lines: dict[Place, int]) -> tuple[Place, type[Table]]:
    """As much of pydantic's place as is in the file, and the innermost table there; the rest names types."""
    model: type[Table] = Config
    place: Place = ()
    for part in loc:
        if (*place, part) not in lines:
            break
        place = (*place, part)
        field = keys_of(model).get(part) if isinstance(part, str) else None
        if field is not None and (inner := table_in(field.annotation)) is not None:
            model = inner
    return place, model


def _where(place: Place, values: Any) -> str:
    told = []
    for position, part in enumerate(place):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(part, str) and isinstance(values, dict):
            told.append(part)
        elif isinstance(part, str) and not (isinstance(values, list) and values and isinstance(values[0], dict)):
            break
        elif isinstance(part, int) and isinstance(values, dict):
            kind = next((name for name in reversed(place[:position]) if isinstance(name, str)), "table")
            name = values.get("name")
            told.append(f"{kind} '{name}'" if isinstance(name, str) else f"{kind} {part + 1}")
    return f"{', '.join(told)}: " if told else ""


def _what(detail: ErrorDetails) -> str:
    model, place = detail["ctx"]["model"], detail["ctx"]["place"]
    key = next((str(part) for part in reversed(detail["loc"][: len(place)]) if isinstance(part, str)), "")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    match detail["type"]:
        case "extra_forbidden":
            name = str(detail["loc"][-1])
            near = difflib.get_close_matches(name, keys_of(model), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(keys_of(model))}"
            return f"unknown key '{name}'; {hint}"
        case "missing":
            return f"'{detail['loc'][-1]}' is missing"
        case "value_error" if isinstance(detail["input"], dict):
            return message
        case "too_short":
            message = f"has {len(detail['input'])}, should have at least {detail['ctx']['min_length']}"
        case "string_pattern_mismatch" if key in keys_of(model):
            message = f"should be {keys_of(model)[key].description}"
    if key in _SECRET:
        return f"{key}: {message}"
    given = repr(detail["input"])
    return f"{key} = {given if len(given) <= 60 else given[:57] + '...'}: {message}"


T = TypeVar("T", bound=Table)


def _in_folder(table: T, folder: Path) -> T:
    """`table` with its relative paths taken from `folder`."""
    changes: dict[str, Any] = {}
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, Path):
            changes[name] = folder / value.expanduser()
        elif isinstance(value, Table):
            changes[name] = _in_folder(value, folder)
        elif isinstance(value, tuple) and value and isinstance(value[0], Table):
            changes[name] = tuple(_in_folder(one, folder) for one in value)
        elif name == "source":
            changes[name] = in_folder(value, folder)
    return table.model_copy(update=changes)
