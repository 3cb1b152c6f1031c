"""The bundles that the machines are given: good ones, and one for each way in which a bundle can be bad."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.runtime import tiny_bundle

GOOD = ("first", "second", "third")
UNTRUSTED = "untrusted"
"""Signed by a key that no device trusts."""
WRONG = "wrong"
"""Signed, whole, and its graphs do not give what its golden window says: no self-test lets it through."""
BLIND = "blind"
"""Passes its self-test, and fails on every frame that the camera shows: on colours that its golden window has not."""


def make(folder: Path, keys: Path) -> None:
    """Fill `folder` with an archive for each, NAME.whycam.tar; whom devices trust goes into `keys`, as trusted.pub."""
    keys.mkdir(parents=True, exist_ok=True)
    for name in ("trusted", "stranger"):
        whycam("bundle", "keygen", name, "-o", keys)
    folder.mkdir(parents=True)
    for name in (*GOOD, UNTRUSTED, WRONG, BLIND):
        bundle = tiny_bundle.build(folder / "made" / f"{name}.whycam")
        # Wide gaps: an emulated machine is slow.
        _change(bundle, version=name, window={"frames": tiny_bundle.T, "frame_interval": 0.1, "max_gap": 2.0})
        if name == WRONG:
            _turn_weights(bundle / "head.onnx")
        if name == BLIND:
            _fail_on_full_colours(bundle / "features.onnx")
        tiny_bundle.seal(bundle)
        key = keys / ("stranger.key" if name == UNTRUSTED else "trusted.key")
        whycam("bundle", "pack", bundle, "-o", folder / f"{name}.whycam.tar", "--key", key)


def whycam(*words: object) -> str:
    """What the command of this checkout prints."""
    done = subprocess.run(
        [sys.executable, "-m", "whycam", *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"whycam {words}: {done.stderr or done.stdout}")
    return done.stdout


def _change(bundle: Path, **values: Any) -> None:
    manifest = bundle / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **values}))


def _turn_weights(path: Path) -> None:
    model = onnx.load(path)
    (weights,) = (one for one in model.graph.initializer if one.name == "weights")
    weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights), "weights"))
    onnx.save(model, path)


def _fail_on_full_colours(path: Path) -> None:
    """Look up the second of one values where a colour fills the frame: ONNX Runtime then refuses to go on."""
    model = onnx.load(path)
    nodes, constants = model.graph.node, model.graph.initializer
    (last,) = (one for one in nodes if "features" in one.output)
    last.output[0] = "plain"
    constants.extend(
        [numpy_helper.from_array(np.float32(0.6), "full"), numpy_helper.from_array(np.ones(1, np.float32), "one")]
    )
    nodes.extend(
        [
            helper.make_node("ReduceMax", ["plain"], ["most"], keepdims=0),
            helper.make_node("Greater", ["most", "full"], ["too_much"]),
            helper.make_node("Cast", ["too_much"], ["place"], to=onnx.TensorProto.INT64),
            helper.make_node("Gather", ["one", "place"], ["factor"]),
            helper.make_node("Mul", ["plain", "factor"], ["features"]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
