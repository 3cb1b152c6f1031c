"""Graphs that are safe to load, and graphs that ask for more."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from whycam.bundle.graph_check import MOST_FIELDS, check_graph
from whycam.errors import UnsafeGraphError


def model(*nodes: onnx.NodeProto, imports: tuple[str, ...] = ("",)) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(name, 18) for name in imports])


def external() -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def in_initializer() -> onnx.ModelProto:
    made = model(helper.make_node("Relu", ["w"], ["y"]))
    made.graph.initializer.append(external())
    return made


def in_sparse_initializer() -> onnx.ModelProto:
    made = model(helper.make_node("Relu", ["w"], ["y"]))
    made.graph.sparse_initializer.add().values.CopyFrom(external())
    return made


def in_attribute() -> onnx.ModelProto:
    return model(helper.make_node("Constant", [], ["y"], value=external()))


def in_list_of_attribute() -> onnx.ModelProto:
    made = model(helper.make_node("Relu", ["x"], ["y"]))
    made.graph.node[0].attribute.add(name="tensors", type=onnx.AttributeProto.TENSORS).tensors.append(external())
    return made


def within(inner: onnx.ModelProto) -> onnx.ModelProto:
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "then", [], [])
    return model(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=inner.graph))


def with_location_alone() -> onnx.ModelProto:
    made = in_initializer()
    del made.graph.initializer[0].external_data[:]
    return made


def with_function() -> onnx.ModelProto:
    made = model(helper.make_node("Mine", ["x"], ["y"]))
    made.functions.add(name="Mine", domain="")
    return made


def with_training() -> onnx.ModelProto:
    made = model(helper.make_node("Relu", ["x"], ["y"]))
    made.training_info.add()
    return made


def of_domain(domain: str) -> onnx.ModelProto:
    return model(helper.make_node("Relu", ["x"], ["y"], domain=domain))


UNSAFE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "external data": (in_initializer, "external data"),
    "external data, sparse": (in_sparse_initializer, "external data"),
    "external data of a constant": (in_attribute, "external data"),
    "external data in a list": (in_list_of_attribute, "external data"),
    "external data in a branch": (lambda: within(in_initializer()), "external data"),
    "external data in a branch's branch": (lambda: within(within(in_attribute())), "external data"),
    "external data without a place": (with_location_alone, "external data"),
    "an operator of ONNX Runtime": (lambda: of_domain("com.microsoft"), "operators of 'com.microsoft'"),
    "an operator of somebody": (lambda: of_domain("mine"), "operators of 'mine'"),
    "an operator beginning alike": (lambda: of_domain("ai.onnx.ml"), "operators of 'ai.onnx.ml'"),
    "an operator in a branch": (lambda: within(of_domain("mine")), "operators of 'mine'"),
    "an operator with a name for terminals": (lambda: of_domain("\x1b[2J"), r"operators of '\\x1b\[2J'"),
    "an operator set": (lambda: model(imports=("", "mine")), "operators of 'mine'"),
    "a function": (with_function, "functions"),
    "training": (with_training, "training information"),
}


def check(content: bytes) -> None:
    check_graph(io.BytesIO(content), "it.onnx")


@pytest.mark.parametrize("what", UNSAFE)
def test_what_asks_for_more_is_refused(what: str) -> None:
    make, words = UNSAFE[what]

    with pytest.raises(UnsafeGraphError, match=words) as caught:
        check(make().SerializeToString())

    assert str(caught.value).isprintable()


def test_what_whycam_writes_is_taken(built_bundle: Path) -> None:
    graphs = sorted(built_bundle.glob("*.onnx"))
    assert len(graphs) == 10
    for path in graphs:
        with path.open("rb") as file:
            check_graph(file, path)


def test_onnx_own_operators_are_taken_by_either_name_of_their_domain() -> None:
    for domain in ("", "ai.onnx"):
        check(model(helper.make_node("Relu", ["x"], ["y"], domain=domain), imports=(domain,)).SerializeToString())


def test_a_graph_within_a_larger_file_is_checked_where_it_lies() -> None:
    good, bad = of_domain("").SerializeToString(), of_domain("mine").SerializeToString()
    file = io.BytesIO(bad + good + bad)

    check_graph(file, "it.onnx", len(bad), len(bad) + len(good))
    with pytest.raises(UnsafeGraphError):
        check_graph(file, "it.onnx", 0, len(bad))


def field(number: int, content: bytes) -> bytes:
    """A field with a length, shorter than 128 bytes or written as the format has it."""
    size, length = len(content), bytearray()
    while size >= 128:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


GRAPH = field(7, b"")
TRICKS = {
    "nothing": b"",
    "text": b"no graph at all",
    "no graph": bytes([8, 8]),
    "the graph as a number": bytes([7 << 3, 1]),
    "a group": GRAPH + bytes([7 << 3 | 3, 7 << 3 | 4]),
    "field nought": GRAPH + bytes([2, 0]),
    "a tag of six bytes": GRAPH + bytes([0x88, 0x80, 0x80, 0x80, 0x80, 0]),
    "a tag beyond 32 bits": GRAPH + bytes([0xBA, 0x80, 0x80, 0x80, 0x7F, 0]),
    "a length beyond the end": bytes([7 << 3 | 2, 5, 0]),
    "a length that is cut": bytes([7 << 3 | 2, 0x80]),
    "a length of six bytes": bytes([7 << 3 | 2, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
    "a number of eleven bytes": GRAPH + bytes([8, *[0x80] * 10, 0]),
    "a field to come": GRAPH + bytes([30 << 3 & 127 | 128, 30 >> 4, 0]),
    "a bad one among good ones": of_domain("").SerializeToString() + field(7, field(1, field(7, b"mine"))),
    "a domain twice": field(7, field(1, field(7, b"mine") + field(7, b""))),
    "a place twice": field(7, field(5, bytes([14 << 3, 1, 14 << 3, 0]))),
    "graphs without end": b"",
}
deep = field(1, b"")
for _ in range(60):
    deep = field(1, field(5, field(6, deep)))
TRICKS["graphs without end"] = field(7, deep)


@pytest.mark.parametrize("what", TRICKS)
def test_bytes_that_readers_might_take_in_different_ways_are_refused(what: str) -> None:
    with pytest.raises(UnsafeGraphError):
        check(TRICKS[what])


def test_a_file_of_empty_nodes_costs_no_memory_and_is_given_up() -> None:
    nodes = field(1, b"") * (MOST_FIELDS + 1)

    with pytest.raises(UnsafeGraphError, match="more fields than a network has"):
        check(field(7, nodes))
