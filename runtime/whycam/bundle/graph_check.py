"""What an ONNX file may ask of the device that loads it: to compute with ONNX's own operators, and nothing else.

ONNX Runtime would read any file that a graph names as external data, and looks operators of other domains up in what is
registered. whycam writes neither, nor functions, nor training information: a bundle with them is not of its making.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from whycam.bundle.onnx_wire import LENGTH, VARINT, Message, WireError
from whycam.errors import UnsafeGraphError
from whycam.printable import printable

DOMAINS = ("", "ai.onnx")
"""Whose operators a graph may use."""
IMPORTED = (*DOMAINS, "ai.onnx.ml")
"""Which operator sets it may name: converters name the last without using it."""
MOST_FIELDS = 500_000
"""Of a file: those of some 40,000 nodes; the weights of a tensor are one field."""
DEEPEST = 32
"""Messages within messages: each graph within a graph takes three."""

# The messages of onnx.proto: the number of each field that holds a message, with the message; all others that it has.
_MESSAGES: dict[str, tuple[dict[int, str], frozenset[int]]] = {
    "model": ({7: "graph", 8: "opset", 14: "entry"}, frozenset({1, 2, 3, 4, 5, 6})),
    "graph": (
        {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "other", 15: "sparse", 16: "entry"},
        frozenset({2, 10}),
    ),
    "node": ({5: "attribute", 9: "entry"}, frozenset({1, 2, 3, 4, 6, 7, 8})),
    "attribute": (
        {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "other", 15: "other", 22: "sparse", 23: "sparse"},
        frozenset({1, 2, 3, 4, 7, 8, 9, 13, 20, 21}),
    ),
    "tensor": ({16: "entry"}, frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14})),
    "sparse": ({1: "tensor", 2: "tensor"}, frozenset({3})),
    "opset": ({}, frozenset({1, 2})),
}
# Messages in which nothing is of interest: descriptions, names, types.
_PLAIN = ("entry", "value", "other")
_REFUSED = {
    ("model", 20): "it has training information",
    ("model", 25): "it has functions of its own",
    ("model", 26): "it is split over devices",
    ("node", 10): "it is split over devices",
    ("tensor", 13): "it keeps weights in another file (external data)",
}
_DOMAIN = {("node", 7): DOMAINS, ("opset", 1): IMPORTED}
_DATA_LOCATION = ("tensor", 14)


def check_graph(file: BinaryIO, name: str | Path, start: int = 0, end: int | None = None) -> None:
    """Refuse the ONNX file that lies from `start` to `end` in `file`, which can seek, where it is not safe to load.

    Raises UnsafeGraphError, which calls it `name`: external data, operators or operator sets of other domains than
    ONNX's, functions, training information, more than MOST_FIELDS fields, or bytes that are no ONNX.
    """
    if end is None:
        end = file.seek(0, 2)
    check = _Check(Message(file, start, end, MOST_FIELDS))
    try:
        check.part("model", start, end)
        if not check.graphs:
            raise WireError("it has no graph")
    except WireError as error:
        raise UnsafeGraphError(f"{name}: cannot be read as ONNX ({error}); copy or export the bundle again") from None
    except _UnsafeError as error:
        raise UnsafeGraphError(f"{name}: {error}, which whycam never writes; take a bundle that it exported") from None


class _UnsafeError(Exception):
    pass


class _Check:
    def __init__(self, message: Message) -> None:
        self.graphs = 0
        self._message = message

    def part(self, kind: str, start: int, end: int, depth: int = 0) -> None:
        """Check the message of this kind and all within it."""
        if depth > DEEPEST:
            raise WireError("graphs within graphs without end")
        within, plain = _MESSAGES[kind]
        for number, wire, first, last in self._message.fields(start, end):
            if (kind, number) in _REFUSED:
                raise _UnsafeError(_REFUSED[kind, number])
            if number in within:
                if wire != LENGTH:
                    raise WireError("a number where a part of the graph should be")
                inner = within[number]
                self.graphs += inner == "graph"
                if inner not in _PLAIN:
                    self.part(inner, first, last, depth + 1)
            elif number not in plain:
                raise WireError(f"field {number} of a {kind} is not known to this version")
            else:
                self._value(kind, number, wire, first, last)

    def _value(self, kind: str, number: int, wire: int, first: int, last: int) -> None:
        if (kind, number) in _DOMAIN:
            domain = self._message.text(first, last) if wire == LENGTH else "?"
            if domain not in _DOMAIN[kind, number]:
                raise _UnsafeError(f"it uses operators of '{printable(domain)}'")
        elif (kind, number) == _DATA_LOCATION and (wire != VARINT or first != 0):
            raise _UnsafeError(_REFUSED["tensor", 13])
