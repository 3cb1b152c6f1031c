"""The commented example of a configuration, and its reference page: both from the models, so that neither is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from whycam.config.file import keys_of, table_in
from whycam.config.models import AlertRules, Camera, Config, Drift, Motion, Shadow, Table, Zone

_VALUES: dict[type[Table], dict[str, Any]] = {
    Config: {"device": "entrance", "state_directory": "/var/lib/whycam", "threads": 2},
    Camera: {
        "name": "gate",
        "source": "rtsp://192.0.2.10/stream",
        "bundle": "fight.whycam",
        "credentials_file": "gate.credentials",
        "credentials_credential": "gate-credentials",
        "providers": ["cuda", "cpu"],
        "threshold": 0.8,
    },
    Shadow: {"bundle": "fight-2.whycam", "precision": "int8", "providers": ["cuda", "cpu"], "threshold": 0.8},
    Zone: {"name": "car park", "polygon": [[0.1, 0.5], [0.9, 0.5], [0.9, 1.0], [0.1, 1.0]]},
}
"""What the example says where there is no default."""
_MORE: dict[str, Any] = {
    "port": 8883,
    "ca_file": "ca.crt",
    "certificate_file": "entrance.crt",
    "key_file": "entrance.key",
    "username": "entrance",
    "password_file": "broker.password",
    "password_credential": "broker-password",
    "client_id": "whycam-entrance",
    "directory": "/var/lib/whycam/bundles",
    "trust_directory": "/etc/whycam/trusted-keys",
    "clear_ratio": 0.8,
    "minimum_seconds": 0.5,
}
_TABLES: tuple[tuple[str, type[Table]], ...] = (
    *((key, table) for key in keys_of(Config) if (table := table_in(keys_of(Config)[key].annotation)) is not None),
    ("camera.alert", AlertRules),
    ("camera.motion", Motion),
    ("camera.drift", Drift),
    ("camera.shadow", Shadow),
    ("camera.zone", Zone),
)
_INTRODUCTION = """\
# A configuration of whycam. What is commented out is the default, or an example where there is none.
# Try it with `whycam config check FILE`. Relative paths are taken from the folder of this file.
# Passwords are never written here: they are in files of their own, or in credentials of systemd.
"""


def example() -> str:
    """The example: TOML that the service would run, with every key there is."""
    parts = [_INTRODUCTION, *_keys(Config)]
    for name, table in _TABLES:
        several = table in (Camera, Zone)
        header = f"[[{name}]]" if several else f"[{name}]"
        parts += ["", f"# {_sentence(table)}"]
        # A zone in the example would blind the camera to the rest; a shadow would cost what another camera does.
        out = table in (Shadow, Zone)
        parts.append(f"# {header}" if out else header)
        parts += [line if not line or line.startswith("#") or not out else f"# {line}" for line in _keys(table)]
    return "\n".join(parts) + "\n"


def reference() -> str:
    """The reference page, Markdown: a table of the keys for each table of the file."""
    lines = [
        "# Configuration",
        "",
        "`whycam run -c FILE` reads a TOML file: UTF-8, tables and keys as below. Unknown keys are refused with the",
        "nearest known one and their line. `whycam config example` prints a commented file, `whycam config check FILE`",
        "tries one, and `whycam config schema` prints the JSON Schema. Relative paths start at the file's folder.",
        "",
        "Passwords are never in the file: `password_file` and `credentials_file` name files of their own,",
        "`password_credential` and `credentials_credential` credentials of systemd, in `$CREDENTIALS_DIRECTORY`.",
        "",
        "SIGHUP reads the file again. Cameras that changed, came or went are started and stopped, the others go on; a",
        "changed broker is connected to anew; all else holds after a restart. A file that is wrong changes nothing.",
        "",
        "## The device",
        "",
        *_rows(Config),
    ]
    for name, table in _TABLES:
        several = " (any number of them)" if table is Zone else " (one for each)" if table is Camera else ""
        header = f"[[{name}]]" if several else f"[{name}]"
        lines += ["", f"## `{header}`", "", f"{_sentence(table)}{several}", "", *_rows(table)]
    return "\n".join(lines) + "\n"


def _keys(table: type[Table]) -> Iterator[str]:
    """A comment and an assignment for each key of `table` that holds no table."""
    for key, field in keys_of(table).items():
        if table_in(field.annotation) is not None:
            continue
        yield f"# {field.description}"
        given = _VALUES.get(table, {}).get(key, _MORE.get(key))
        assignment = f"{key} = {_toml(given if field.default in (None, PydanticUndefined) else field.default)}"
        yield assignment if field.is_required() else f"# {assignment}"


def _rows(table: type[Table]) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key, field in keys_of(table).items():
        if table_in(field.annotation) is None:
            default = (
                "required" if field.is_required() else "" if field.default is None else f"`{_toml(field.default)}`"
            )
            yield f"| `{key}` | {_name(field.annotation)} | {default} | {field.description} |"


def _sentence(table: type[Table]) -> str:
    return " ".join((table.__doc__ or "").split())


def _toml(value: object) -> str:
    if isinstance(value, Path):
        value = str(value)
    # JSON's strings, numbers, booleans and arrays of them are TOML's too.
    return json.dumps(value)


def _name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(_name(one) for one in inner if one is not type(None))
    if origin is Literal:
        return ", ".join(f"`{_toml(one)}`" for one in inner)
    if origin is dict:
        return f"table of {_name(inner[1])}s by class"
    if origin is tuple:
        return "array of [x, y]" if get_origin(inner[0]) is tuple else f"array of {_name(inner[0])}s"
    return {str: "string", bool: "boolean", int: "integer", float: "number", Path: "path"}[annotation]


if __name__ == "__main__":
    print(reference(), end="")
