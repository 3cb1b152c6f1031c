"""What comes in from outside: read strictly, believed in nothing."""

from __future__ import annotations

import difflib
import json
from typing import Literal, NoReturn, TypeVar

from pydantic import ValidationError

from whycam.mqtt.payloads import Command, ErrorCode
from whycam.mqtt.topics import Topics

MAX_BYTES = 16 * 1024
"""A command or request is a few hundred bytes; what is larger is not read."""
_MAX_TOPIC_BYTES = 256
_MAX_CORRELATION_BYTES = 1024
_MAX_MESSAGE = 300
_MAX_REQUEST_ID = 128

Action = Literal["set", "explain", "install"]
C = TypeVar("C", bound=Command)


class RefusedError(Exception):
    """Why a command or request is not obeyed."""

    def __init__(self, code: ErrorCode, message: str, request_id: str | None = None) -> None:
        self.code = code
        # A payload may hold anything, lone surrogates too; the answer and the log hold plain text.
        self.message = message.encode("ascii", "backslashreplace").decode()[:_MAX_MESSAGE]
        self.request_id = request_id
        super().__init__(self.message)


def read(model: type[C], payload: bytes) -> C:
    """The command in `payload`; raises RefusedError where it is not exactly one."""
    if len(payload) > MAX_BYTES:
        raise RefusedError("too-large", f"{len(payload)} bytes; at most {MAX_BYTES} are read")
    if not payload:
        raise RefusedError("invalid", "empty; send a JSON object")
    try:
        # Decoded here: json takes UTF-16 too, and a byte order mark.
        content = json.loads(payload.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise RefusedError("invalid", "not UTF-8; send a JSON object") from None
    except RecursionError:
        raise RefusedError("invalid", "nested too deep; send a flat JSON object") from None
    except ValueError as error:
        raise RefusedError("invalid", f"not JSON: {error}") from None
    if not isinstance(content, dict):
        raise RefusedError("invalid", "not a JSON object")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RefusedError("invalid", _first_fault(model, error), _request_id(content)) from None


def own_response_topic(topics: Topics, camera: str | None, action: Action) -> str:
    """Where the answer goes that the command names no topic for; only an `install` is not to a camera."""
    if action == "install" or camera is None:
        return topics.install_response
    return topics.set_response(camera) if action == "set" else topics.explain_response(camera)


def response_topic(
    topics: Topics, camera: str | None, action: Action, wanted: str | None, reserved: tuple[str, ...]
) -> str:
    """Where the answer goes: `wanted`, or the topic that the contract names.

    Raises RefusedError for a topic that cannot be published to, or that is not the sender's to choose: under
    `reserved`, the topics that others trust as the device's own words.
    """
    own = own_response_topic(topics, camera, action)
    if wanted is None or wanted == own:
        return own
    try:
        size = len(wanted.encode())
    except UnicodeEncodeError:
        raise RefusedError("invalid", "the response topic is no text") from None
    if not wanted or size > _MAX_TOPIC_BYTES:
        raise RefusedError("invalid", f"the response topic must have 1 to {_MAX_TOPIC_BYTES} bytes")
    if any(character in "+#" or not character.isprintable() for character in wanted):
        raise RefusedError("invalid", "the response topic holds wildcards or control characters")
    if wanted.startswith("$"):
        raise RefusedError("invalid", "the response topic is the broker's own")
    if not wanted.startswith(f"{own}/") and any(wanted == top or wanted.startswith(f"{top}/") for top in reserved):
        raise RefusedError("invalid", f"the response topic is not yours to choose; take one under {own}/, or outside")
    return wanted


def correlation(data: bytes | None) -> bytes | None:
    """The correlation data to answer with; raises RefusedError where they are too long."""
    if data is not None and len(data) > _MAX_CORRELATION_BYTES:
        raise RefusedError(
            "too-large", f"correlation data of {len(data)} bytes; {_MAX_CORRELATION_BYTES} are sent back at most"
        )
    return data


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a key appears twice")
    return names


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _first_fault(model: type[Command], error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part)[:64] for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, model.model_fields, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(model.model_fields)}"
        return f"'{where}' is not known{hint}"
    what = fault["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"'{where}' {what}" if where else what


def _request_id(content: dict[str, object]) -> str | None:
    request_id = content.get("request_id")
    fits = isinstance(request_id, str) and 0 < len(request_id) <= _MAX_REQUEST_ID and request_id.isprintable()
    return request_id if fits and isinstance(request_id, str) else None
