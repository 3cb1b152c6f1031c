"""Bundles on disk, whole and damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_bundle
from onnx import helper, numpy_helper

import whycam
from whycam import BundleError


def edit(bundle: Path, change: Callable[[dict], object]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_bundle_loads_with_its_manifest(bundle: Path) -> None:
    manifest = whycam.load(bundle).manifest

    assert manifest.classes == ("normal", "fight", "fire")
    assert manifest.anomalies == ("fight", "fire")


def test_a_manifest_survives_being_written_and_read(bundle: Path) -> None:
    before = json.loads((bundle / "manifest.json").read_text())

    tiny_bundle.seal(bundle)

    assert json.loads((bundle / "manifest.json").read_text()) == before


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere\.whycam: no such bundle"):
        whycam.load(tmp_path / "nowhere.whycam")


def test_a_directory_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a bundle, it has no manifest"):
        whycam.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '"bundle"', "{}"])
def test_a_manifest_that_is_not_one(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)

    with pytest.raises(BundleError, match=r"manifest\.json") as caught:
        whycam.load(bundle)

    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_text(bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(b"\xff\xfe\x00\x80")

    with pytest.raises(BundleError, match=r"manifest\.json: cannot be read"):
        whycam.load(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest.update(schema="whycam.bundle/9"), "schema"),
        (lambda manifest: manifest.update(surprise=1), "surprise"),
        (lambda manifest: manifest.pop("window"), "window"),
        (lambda manifest: manifest["window"].update(frames=0), "window.frames"),
        (lambda manifest: manifest.update(normal="calm"), "normal class 'calm' is not among the classes"),
        (lambda manifest: manifest.update(thresholds={"fight": 0.5}), "thresholds must name each class"),
        (lambda manifest: manifest["thresholds"].update(fight=1.5), "thresholds.fight"),
        (lambda manifest: manifest.update(precisions={}), "precisions lack fp32"),
        (lambda manifest: manifest.update(precisions={"fp32": "gone.onnx"}), "gone.onnx"),
        (lambda manifest: manifest.update(classes=["normal", "fight", "fight"]), "not distinct"),
    ],
)
def test_a_manifest_that_contradicts_the_schema_says_where(
    bundle: Path, change: Callable[[dict], object], message: str
) -> None:
    edit(bundle, change)

    with pytest.raises(BundleError) as caught:
        whycam.load(bundle)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["features.onnx", "step.onnx", "head_vjp.onnx", "maps_vjp.onnx"])
def test_a_missing_file_shows_when_the_bundle_is_loaded(bundle: Path, name: str) -> None:
    (bundle / name).unlink()

    with pytest.raises(BundleError, match=rf"{name}: missing"):
        whycam.load(bundle)


@pytest.mark.parametrize("name", ["features.onnx", "step.onnx", "head_vjp.onnx", "maps_vjp.onnx"])
def test_a_changed_file_shows_when_the_bundle_is_loaded(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)

    with pytest.raises(BundleError, match=rf"{name}: damaged"):
        whycam.load(bundle)


def test_a_file_that_is_no_graph(bundle: Path) -> None:
    (bundle / "features.onnx").write_bytes(b"no graph, but its hash is right")
    tiny_bundle.seal(bundle)

    with pytest.raises(BundleError, match=r"features\.onnx: cannot be read as ONNX"):
        whycam.load(bundle)


def test_a_file_that_onnx_runtime_cannot_load(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph = onnx.load(bundle / "features.onnx")
    graph.graph.node[0].op_type = "Casting"
    onnx.save(graph, bundle / "features.onnx")
    tiny_bundle.seal(bundle)

    with pytest.raises(BundleError, match=r"features\.onnx: ONNX Runtime .* cannot load it") as caught:
        whycam.load(bundle)

    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_fails_when_it_runs(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph = onnx.load(bundle / "features.onnx")
    last = next(node for node in graph.graph.node if "features" in node.output)
    last.output[:] = ["whole"]
    graph.graph.initializer.append(numpy_helper.from_array(np.full(3, 1000), "beyond"))
    graph.graph.node.append(helper.make_node("Gather", ["whole", "beyond"], ["features"], axis=1))
    onnx.save(graph, bundle / "features.onnx")
    tiny_bundle.seal(bundle)
    detector = whycam.load(bundle)

    with pytest.raises(BundleError, match=r"features\.onnx: ONNX Runtime cannot run it here \(") as caught:
        detector.push(np.zeros((48, 64, 3), np.uint8), 0.0)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest["input"].update(height=16), "input 'frames' is [N, 8, 8, 3], not [N, 16, 8, 3]"),
        (lambda manifest: manifest.update(features=5), "output 'features' is [N, 3], not [N, 5]"),
        (lambda manifest: manifest["cams"][0].update(width=2), "output 'maps' is [N, 3, 4, 4], not [N, 3, 4, 2]"),
        (lambda manifest: manifest["step"].update(states=[]), "its inputs are features, sums, not features"),
        (
            lambda manifest: (
                manifest["step"].update(available=False, reason="none", states=[])
                or manifest["window"].update(frames=9)
            ),
            "head.onnx: disagrees with the manifest: input 'window' is [N, 4, 3], not [N, 9, 3]",
        ),
    ],
)
def test_a_graph_that_disagrees_with_the_manifest(bundle: Path, change: Callable[[dict], object], message: str) -> None:
    edit(bundle, change)

    with pytest.raises(BundleError) as caught:
        whycam.load(bundle)

    assert message in str(caught.value)


def test_a_graph_of_another_kind_under_the_right_name(bundle: Path) -> None:
    onnx.save(onnx.load(bundle / "head.onnx"), bundle / "features.onnx")
    tiny_bundle.seal(bundle)

    with pytest.raises(BundleError, match="its inputs are window, not frames"):
        whycam.load(bundle)
