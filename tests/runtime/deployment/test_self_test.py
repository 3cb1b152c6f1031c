"""The self-test: a bundle that computes what it should passes; whatever else comes out is found."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.runtime import tiny_bundle
from whycam.bundle import Bundle, revise
from whycam.deployment.self_test import self_test
from whycam.errors import BundleError, InputError

FIGURES: dict[str, Any] = {
    "images": 1,
    "windows": 1,
    "score_drift": 0.01,
    "score_drift_max": 0.02,
    "agreement": 1.0,
    "flipped": 0,
    "heatmap_correlation": 0.99,
}


def change(bundle: Path, graph: str, values: Callable[[np.ndarray], np.ndarray], constant: str = "weights") -> None:
    """Change a constant of one of the bundle's graphs, as a device that computes wrongly would."""
    model = onnx.load(bundle / graph)
    (found,) = [one for one in model.graph.initializer if one.name == constant]
    found.CopyFrom(numpy_helper.from_array(values(numpy_helper.to_array(found)), constant))
    onnx.save(model, bundle / graph)
    tiny_bundle.seal(bundle)


def stored(**changes: object) -> bytes:
    """The golden file with some of its arrays replaced; None leaves one out."""
    with np.load(io.BytesIO(tiny_bundle.golden())) as golden:
        arrays = {**golden, **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    return buffer.getvalue()


def with_precision(bundle: Path, golden: bytes, **figures: float) -> Bundle:
    """The bundle with fp32's graph once more as a precision `half`, and what that gave where it was calibrated."""
    files = {"features.half.onnx": (bundle / "features.onnx").read_bytes(), "golden.half.npz": golden}
    return revise(
        Bundle.open(bundle),
        files,
        precisions={"fp32": "features.onnx", "half": "features.half.onnx"},
        calibrated={"half": {**FIGURES, **figures, "golden": "golden.half.npz"}},
    )


@pytest.mark.parametrize("which", ["built_bundle", "headed_bundle"])
def test_a_bundle_computes_here_what_it_should(which: str, request: pytest.FixtureRequest) -> None:
    made = self_test(Bundle.open(request.getfixturevalue(which)), providers=["cpu"])
    assert made.passed, made.problems
    assert [each.what for each in made.comparisons] == ["scores, head", "scores, step", "heat maps"]
    assert all(each.found < 1e-5 for each in made.comparisons)
    assert (made.precision, made.providers) == ("fp32", ("CPUExecutionProvider",))
    assert 0 < made.frame_seconds < made.seconds
    assert json.loads(json.dumps(made.as_dict()))["passed"] is True


def test_scores_are_compared_whatever_temperature_was_calibrated_since(bundle: Path) -> None:
    assert self_test(revise(Bundle.open(bundle), {}, temperature=2.5)).passed


@pytest.mark.parametrize(
    ("graph", "broken"),
    [
        ("head.onnx", ["scores, head"]),
        ("step.onnx", ["scores, step"]),
    ],
)
def test_each_way_to_the_scores_is_tried(bundle: Path, graph: str, broken: list[str]) -> None:
    change(bundle, graph, lambda weights: weights * np.float32(1.05))
    made = self_test(Bundle.open(bundle))
    assert not made.passed
    assert [each.what for each in made.comparisons if not each.passed] == broken
    (problem,) = made.problems
    assert problem.startswith(broken[0])
    assert problem.endswith("from golden.npz, at most 0.001")


def test_a_heat_map_that_points_elsewhere_is_found(bundle: Path) -> None:
    change(bundle, "maps_vjp.onnx", lambda slope: np.asarray(slope * 2), "slope")
    assert [each.what for each in self_test(Bundle.open(bundle)).comparisons if not each.passed] == ["heat maps"]


@pytest.mark.parametrize("divisor", [np.nan, 0.0])
def test_what_is_no_number_never_passes(bundle: Path, divisor: float) -> None:
    change(bundle, "features.onnx", lambda _: np.asarray(np.float32(divisor)), "white")
    made = self_test(Bundle.open(bundle))
    assert len(made.problems) == len(made.comparisons) == 3
    assert all("no number" in problem for problem in made.problems)
    assert all(each["found"] is None for each in made.as_dict()["comparisons"])


def test_a_bundle_without_gradients_is_tested_without_heat_maps(bundle: Path) -> None:
    revise(Bundle.open(bundle), {}, drop=["head_vjp.onnx", "maps_vjp.onnx"])
    made = self_test(Bundle.open(bundle))
    assert made.passed
    assert [each.what for each in made.comparisons] == ["scores, head", "scores, step"]


def test_a_precision_is_compared_with_itself_where_it_was_calibrated(bundle: Path) -> None:
    with np.load(io.BytesIO(tiny_bundle.golden())) as golden:
        scores = golden["scores"]
    other = stored(frames=None, scores=scores + np.float32([0.03, -0.03, 0]), temperature=np.float64(1))
    made = self_test(with_precision(bundle, other), "half")
    assert made.passed, made.problems
    assert [each.what for each in made.comparisons] == ["scores, head", "scores, step", "heat maps, correlation"]
    assert {each.against for each in made.comparisons} == {"golden.half.npz"}
    assert made.comparisons[0].found == pytest.approx(0.03, abs=1e-5)
    assert [each.limit for each in made.comparisons] == [0.05, 0.05, pytest.approx(0.9)]


def test_a_precision_may_be_off_by_what_it_was_off_when_it_was_calibrated(bundle: Path) -> None:
    with np.load(io.BytesIO(tiny_bundle.golden())) as golden:
        scores = golden["scores"]
    other = stored(frames=None, scores=scores + np.float32([0.1, -0.1, 0]))
    assert not self_test(with_precision(bundle, other), "half").passed
    assert self_test(with_precision(bundle, other, score_drift_max=0.15), "half").passed
    assert self_test(with_precision(bundle, other, score_drift_max=0.9), "half").comparisons[0].limit == 0.2


def test_heat_maps_of_a_precision_that_point_elsewhere_are_found(bundle: Path) -> None:
    with np.load(io.BytesIO(tiny_bundle.golden())) as golden:
        heatmaps = golden["heatmaps"]
    other = stored(frames=None, heatmaps=heatmaps[:, :, ::-1])
    made = self_test(with_precision(bundle, other), "half")
    assert [each.what for each in made.comparisons if not each.passed] == ["heat maps, correlation"]
    assert "with golden.half.npz, at least 0.9" in made.problems[0]


def test_a_bundle_without_a_golden_window_says_so(bundle: Path) -> None:
    revise(Bundle.open(bundle), {}, drop=["golden.npz"])
    with pytest.raises(BundleError, match=r"has no golden\.npz.*export the model again"):
        self_test(Bundle.open(bundle))


def test_an_unknown_precision_is_named(bundle: Path) -> None:
    with pytest.raises(InputError, match="precision 'int4': bundle 'colours' has fp32"):
        self_test(Bundle.open(bundle), "int4")


def bomb() -> bytes:
    """A file whose header announces more than any memory holds."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 1000000000, 1000000, 3), }"
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frames.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"golden",
        b"",
        bomb(),
        stored(frames=np.zeros((4, 8, 8, 4), np.uint8)),
        stored(frames=np.zeros((4, 8, 8, 3), np.float32)),
        stored(scores=np.zeros(4, np.float32)),
        stored(scores=None),
        stored(heatmaps=np.zeros((4, 400, 400), np.float32)),
        stored(label=np.array("murder")),
        stored(label=np.array("x" * 4096)),
        stored(label=np.array({"a": 1}, dtype=object)),
        stored(temperature=np.zeros(3)),
        stored()[:-40],
    ],
)
def test_a_golden_file_that_is_none_is_named_before_anything_is_run(bundle: Path, content: bytes) -> None:
    (bundle / "golden.npz").write_bytes(content)
    tiny_bundle.seal(bundle)
    with pytest.raises(BundleError, match=r"golden\.npz: is no golden window of this bundle"):
        self_test(Bundle.open(bundle))


def test_a_graph_that_does_not_run_is_one_line(bundle: Path) -> None:
    change(bundle, "head.onnx", lambda weights: np.ones((7, 3), np.float32))
    with pytest.raises(BundleError, match="fp32 does not run on this device") as raised:
        self_test(Bundle.open(bundle))
    assert "\n" not in str(raised.value)
