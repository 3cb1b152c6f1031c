"""Bundles changed at random, each by its seed alone: what an attacker, a bad disk or a bad copy makes of an archive."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable
from typing import Any

import onnx
from onnx import TensorProto

from tests.runtime.bundle.archives import BLOCK, END, member, members, sealed

NASTY: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**400,
    1.5,
    -1e308,
    "",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    ".ssh",
    "a\0b",
    "\x1b[2J",
    "\u202e",
    "é" * 60,
    "x" * 5000,
    [],
    {},
    [[]] * 9,
    {"a": {"b": []}},
    "features.onnx",
    "manifest.json",
)
OUTSIDE = "/tmp/whycam-outside"
NAMES = (
    "../outside",
    OUTSIDE,
    "a/b",
    "..",
    ".bashrc",
    "manifest.json",
    "manifest.sig",
    "new.onnx",
    "x" * 200,
    "a\nb",
)
TYPES = (
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_SPARSE,
    tarfile.AREGTYPE,
    tarfile.CONTTYPE,
    b"Z",
)

Mutation = Callable[[bytes, random.Random], bytes]


def mutated(archive: bytes, kind: str, seed: str) -> bytes:
    """`archive` with a mutation of this kind, the same for the same seed."""
    return MUTATIONS[kind](archive, random.Random(seed))


def _bytes(content: bytes, dice: random.Random) -> bytes:
    """A few bytes are others."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 8))):
        if changed:
            changed[dice.randrange(len(changed))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
    return bytes(changed)


def _pieces(content: bytes, dice: random.Random) -> bytes:
    """A piece is missing, there twice, or somewhere else; or something stands in between."""
    step = dice.choice((1, 1, BLOCK))
    start, end, to = sorted(step * dice.randrange(len(content) // step + 1) for _ in range(3))
    piece = content[start:end]
    return {
        0: lambda: content[:start],
        1: lambda: content[:start] + content[end:],
        2: lambda: content[:end] + piece + content[end:],
        3: lambda: content[:start] + content[end:to] + piece + content[to:],
        4: lambda: content[:start] + dice.randbytes(dice.choice((1, 7, BLOCK, 3 * BLOCK))) + content[start:],
        5: lambda: content + dice.choice((b"\0", bytes(BLOCK), bytes(10240), content, END)),
    }[dice.randrange(6)]()


def _header(content: bytes, dice: random.Random) -> bytes:
    """The header of a member says something else, and its checksum is right."""
    places, at = [], 0
    for data in members(content).values():
        places.append(at)
        at += BLOCK + len(data) + -len(data) % BLOCK
    place = dice.choice(places)
    header = bytearray(content[place : place + BLOCK])
    start, length = dice.choice(((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100),
                                 (257, 8), (265, 32), (329, 8), (345, 155), (500, 12)))  # fmt: skip
    if start == 156:
        header[156:157] = dice.choice(TYPES)
    elif start == 0:
        name = dice.choice(NAMES).encode()[:100]
        header[:100] = name + bytes(100 - len(name))
    else:
        text = dice.choice((b"7" * length, b"\xff" * length, b"/etc", b"1", b" 1", b"-1", b"\x80" + bytes(length - 1)))
        header[start : start + length] = (text + bytes(length))[:length]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:place] + bytes(header) + content[place + BLOCK :]


def _members(content: bytes, dice: random.Random) -> bytes:
    """A member is missing, there twice, new, in another place, or no file."""
    parts = [member(name, data) for name, data in members(content).items()]
    one, other = dice.randrange(len(parts)), dice.randrange(len(parts))
    new = member(dice.choice((*NAMES[:-2], "head.onnx")), dice.randbytes(dice.randrange(99)))
    link = member("head.onnx", type=dice.choice(TYPES), linkname=dice.choice(("/etc/passwd", "..", "features.onnx")))
    match dice.randrange(6):
        case 0:
            del parts[one]
        case 1:
            parts.insert(other, parts[one])
        case 2:
            parts[one], parts[other] = parts[other], parts[one]
        case 3:
            parts.insert(one, new)
        case 4:
            parts.insert(one, link)
        case 5:
            parts[one] = link
    return b"".join(parts) + END


def _manifest_text(content: bytes, dice: random.Random) -> bytes:
    """The text of the manifest is damaged, the archive is not."""
    parts = members(content)
    text = parts.pop("manifest.json")
    change = dice.choice((_bytes, _bytes, _pieces))
    return member("manifest.json", change(text, dice)) + _packed(parts)


def _manifest(content: bytes, dice: random.Random) -> bytes:
    """Keys of the manifest have other values, are missing, or new; the archive has what it says as far as it goes."""
    parts = members(content)
    manifest = json.loads(parts.pop("manifest.json"))
    parts.pop("manifest.sig")
    for _ in range(dice.choice((1, 1, 2, 5))):
        _change(manifest, dice)
    return member("manifest.json", json.dumps(manifest).encode()) + _packed(parts)


def _change(value: Any, dice: random.Random) -> None:
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = dice.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and dice.random() < 0.75:
            value = value[key]
            continue
        break
    if isinstance(value, dict) and dice.random() < 0.2:
        value[dice.choice((*NAMES, "more"))] = value[key]
    elif dice.random() < 0.15:
        del value[key]
    else:
        value[key] = dice.choice(NASTY)


def _names(content: bytes, dice: random.Random) -> bytes:
    """A file has another name, in the manifest as in the archive, and its hash is right."""
    name = dice.choice(NAMES)
    parts = members(content)
    manifest = json.loads(parts.pop("manifest.json"))
    parts.pop("manifest.sig")
    before = dice.choice(sorted(parts))
    data = parts.pop(before)
    manifest["files"][name] = manifest["files"].pop(before)
    if dice.random() < 0.5:
        text = json.dumps(manifest).replace(json.dumps(before), json.dumps(name))
        manifest = json.loads(text)
    named = name if len(name.encode()) <= 100 else name[:100]
    packed = sorted([*parts.items(), (named, data)])
    return member("manifest.json", json.dumps(manifest).encode()) + b"".join(member(*one) for one in packed) + END


def _graph_bytes(content: bytes, dice: random.Random) -> bytes:
    """A graph is damaged, and the hash in the manifest is that of the damaged one."""
    parts = members(content)
    name = dice.choice([name for name in sorted(parts) if name.endswith(".onnx")])
    change = dice.choice((_bytes, _bytes, _pieces))
    return sealed(content, {name: change(parts[name], dice)})


def _graph(content: bytes, dice: random.Random) -> bytes:
    """A graph asks for more than it may, or is odd; the hash in the manifest is right."""
    parts = members(content)
    name = dice.choice([name for name in sorted(parts) if name.endswith(".onnx")])
    model = onnx.ModelProto.FromString(parts[name])
    for _ in range(dice.choice((1, 1, 2))):
        _tamper(model, dice)
    return sealed(content, {name: model.SerializeToString()})


def _tamper(model: onnx.ModelProto, dice: random.Random) -> None:
    graph = model.graph
    for _ in range(dice.choice((0, 0, 0, 1, 2, 40))):
        node = graph.node.add(op_type="If")
        attribute = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        graph = attribute.g
        graph.node.add(op_type="Relu")
    outside = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value=dice.choice(("/etc/passwd", "../../secret", "features.onnx")))
    node = dice.choice(graph.node)
    match dice.randrange(10):
        case 0:
            graph.initializer.append(outside)
        case 1:
            graph.sparse_initializer.add().values.CopyFrom(outside)
        case 2:
            node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(outside)
        case 3:
            node.attribute.add(name="values", type=onnx.AttributeProto.TENSORS).tensors.append(outside)
        case 4:
            node.domain = dice.choice(
                ("com.microsoft", "mine", "ai.onnx.ml", "ai.onnx", "AI.ONNX", " ", "\x1b[2J", "x" * 999)
            )
        case 5:
            model.opset_import.add(domain=dice.choice(("com.microsoft", "mine", "ai.onnx.ml", "")), version=1)
        case 6:
            model.functions.add(name="Relu", domain=dice.choice(("", "mine")))
        case 7:
            model.training_info.add()
        case 8:
            graph.node.extend([onnx.NodeProto()] * dice.choice((1, 500)))
        case 9:
            node.attribute.add(name=dice.choice(("", "x" * 5000)), type=dice.choice((0, 1, 14)))


def _signature(content: bytes, dice: random.Random) -> bytes:
    """The signature is damaged, says something else, or is large."""
    parts = members(content)
    text = parts["manifest.sig"]
    signature = json.loads(text)
    match dice.randrange(4):
        case 0:
            text = _bytes(text, dice)
        case 1:
            text = _pieces(text, dice)
        case 2:
            _change(signature, dice)
            text = json.dumps(signature).encode()
        case 3:
            stranger = {"key": f"{dice.randrange(1 << 64):016x}", "signature": signature["signatures"][0]["signature"]}
            signature["signatures"] *= dice.choice((0, 1, 1, 40))
            signature["signatures"].insert(0, stranger)
            text = json.dumps(signature).encode()
    parts["manifest.sig"] = text
    return _packed(parts)


def _packed(parts: dict[str, bytes]) -> bytes:
    return b"".join(member(name, data) for name, data in parts.items()) + END


MUTATIONS: dict[str, Mutation] = {
    "bytes": _bytes,
    "pieces": _pieces,
    "header": _header,
    "members": _members,
    "manifest's text": _manifest_text,
    "manifest": _manifest,
    "names": _names,
    "graph's bytes": _graph_bytes,
    "graph": _graph,
    "signature": _signature,
}
