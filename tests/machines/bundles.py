"""The bundles that the machines are given: good ones, and one for each way in which a bundle can be bad."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from tests.runtime import tiny_bundle

GOOD = ("first", "second", "third")
UNTRUSTED = "untrusted"
"""Signed by a key that no device trusts."""
WRONG = "wrong"
"""Signed, whole, and its graphs do not give what its golden window says: no self-test lets it through."""
BLIND = "blind"
"""Passes its self-test, and never sees a window full: its frames may not be as far apart as any camera's are."""


def make(folder: Path, keys: Path) -> None:
    """Fill `folder` with an archive for each, NAME.whycam.tar; whom devices trust goes into `keys`, as trusted.pub."""
    keys.mkdir(parents=True, exist_ok=True)
    for name in ("trusted", "stranger"):
        whycam("bundle", "keygen", name, "-o", keys)
    folder.mkdir(parents=True)
    for name in (*GOOD, UNTRUSTED, WRONG, BLIND):
        bundle = tiny_bundle.build(folder / "made" / f"{name}.whycam")
        _change(bundle, version=name)
        if name == WRONG:
            _turn_weights(bundle / "head.onnx")
        if name == BLIND:
            _change(bundle, window={"frames": tiny_bundle.T, "frame_interval": 0.01, "max_gap": 0.02})
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
