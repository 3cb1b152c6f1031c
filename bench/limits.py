"""What the machine can do at most, and whycam's share of it.

    peak, fp32    the best of matrix products and convolutions of several sizes in ONNX Runtime, and of numpy's product
    peak, INT8    the best of MatMulInteger and of quantized convolutions
    bandwidth     at least: sums over memory by numpy, a thread for each core

Arithmetic is counted from the graph: two operations for each product that is added up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.layers import count
from bench.network import Network
from bench.sessions import plain_session
from bench.workers import Worker, interleaved, spread

if TYPE_CHECKING:
    import onnx

MATRICES = (1024, 2048)
PICTURES = ((128, 56), (256, 28), (512, 14))
"""Channels, and height and width, of convolutions of 3 x 3, as in VGG19."""
IN_A_ROW = 4
"""Convolutions that follow one another: ONNX Runtime brings pictures into a form of its own before the first."""
MEMORY_BYTES = 2**28


class Limits:
    """Products and convolutions, and the extractor, to be timed in turn."""

    def __init__(self, network: Network) -> None:
        import whycam

        random = np.random.default_rng(0)
        self.operations: dict[str, float] = {}
        self._acts: dict[str, Callable[[], Any]] = {}
        for size in MATRICES:
            left, right = (random.standard_normal((size, size)).astype(np.float32) for _ in range(2))
            self._add(f"fp32 numpy product {size}", 2 * size**3, lambda left=left, right=right: left @ right)
            self._add(f"fp32 MatMul {size}", 2 * size**3, _runner(matmul(right), left))
            bytes_ = random.integers(0, 256, (size, size), dtype=np.uint8)
            weights = random.integers(-64, 64, (size, size), dtype=np.int8)
            self._add(f"int8 MatMulInteger {size}", 2 * size**3, _runner(matmul_integer(weights), bytes_))
        for channels, side in PICTURES:
            work = 2.0 * channels * channels * 9 * side * side * IN_A_ROW
            picture = random.standard_normal((1, channels, side, side)).astype(np.float32)
            self._add(f"fp32 Conv {channels}", work, _runner(_conv(channels), picture))
            quantized = random.integers(0, 256, picture.shape, dtype=np.uint8)
            self._add(f"int8 QLinearConv {channels}", work, _runner(_conv_integer(channels), quantized))
        image = network.images(1)
        work = operations(network.bundle / "features.onnx")
        for precision in ("fp32", "int8"):
            model = whycam.load(network.bundle, precision, providers=["cpu"]).model
            self._add(f"whycam {precision}", work, lambda model=model: model.extract(image))
        scorer = whycam.load(network.bundle, providers=["cpu"]).model.scorer()
        feature = np.ones(network.features, np.float32)
        weights_bytes = (network.bundle / "step.onnx").stat().st_size
        # A new array each time: the very same one tells that nothing moves, and that the step need not run.
        self._add("whycam step", float(weights_bytes), lambda: scorer.advance(feature.copy()))
        self._memory = np.ones(MEMORY_BYTES // 4, np.float32)
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._add("memory", float(MEMORY_BYTES), self._read)

    def run(self, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
        """Seconds of each, and the operations (of `step` and `memory`: bytes) that each takes."""
        return interleaved(self._acts, rounds), self.operations

    def _add(self, name: str, work: float, act: Callable[[], Any]) -> None:
        self.operations[name], self._acts[name] = float(work), act

    def _read(self) -> None:
        list(self._pool.map(np.sum, np.array_split(self._memory, os.cpu_count() or 1)))


def measure(network: Network, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time all of it in turn."""
    tell(f"{rounds} rounds")
    with Worker("limits", Limits, network) as worker:
        seconds, work = worker.ask("run", rounds)
    rate = {name: work[name] / spread(values)["median"] for name, values in seconds.items()}
    best = {
        precision: max((name for name in rate if name.startswith(precision)), key=rate.__getitem__)
        for precision in ("fp32", "int8")
    }
    return {
        "rounds": rounds,
        "operations_of_a_frame": work["whycam fp32"],
        "peak": {precision: {"by": name, "operations_per_second": rate[name]} for precision, name in best.items()},
        "tried": {name: value for name, value in rate.items() if name.split()[0] in best},
        "whycam": {
            precision: {
                "operations_per_second": rate[f"whycam {precision}"],
                "share_of_peak": rate[f"whycam {precision}"] / rate[best[precision]],
            }
            for precision in best
        },
        "memory": {
            "bytes_per_second": rate["memory"],
            "step_bytes_per_second": rate["whycam step"],
            "step_share": rate["whycam step"] / rate["memory"],
        },
    }


def operations(path: Path) -> float:
    """Twice the products that the graph's convolutions and matrix products add up, for one frame."""
    import onnx

    return 2.0 * count(onnx.load(path)).products


def _runner(model: onnx.ModelProto, value: Any) -> Callable[[], Any]:
    session = plain_session(model.SerializeToString())
    return lambda: session.run(None, {"x": value})


def matmul(right: Any) -> onnx.ModelProto:
    """The product of a matrix `x` and this one, float32 or float16."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(right.dtype)
    return _graph([helper.make_node("MatMul", ["x", "w"], ["y"])], kind, kind, {"w": right})


def matmul_integer(right: Any, zero: int = 128) -> onnx.ModelProto:
    """The product, int32, of a matrix `x` and this one, int8; `x` is uint8 around `zero`, int8 where that is 0."""
    from onnx import TensorProto, helper

    kind = np.uint8 if zero else np.int8
    constants = {"w": right, "zero": np.array(zero, kind), "zero_w": np.array(0, np.int8)}
    node = helper.make_node("MatMulInteger", ["x", "w", "zero", "zero_w"], ["y"])
    return _graph([node], helper.np_dtype_to_tensor_dtype(np.dtype(kind)), TensorProto.INT32, constants)


def _conv(channels: int) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    # Small, so that what comes out of many in a row stays a number.
    weights = np.random.default_rng(0).normal(0, (9 * channels) ** -0.5, (channels, channels, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", [before, "w"], [after], pads=[1, 1, 1, 1]) for before, after in _pairs()]
    return _graph(nodes, TensorProto.FLOAT, TensorProto.FLOAT, {"w": weights})


def _conv_integer(channels: int) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    weights = np.random.default_rng(0).integers(-64, 64, (channels, channels, 3, 3), dtype=np.int8)
    one = np.array(0.01, np.float32)
    constants = {
        "s": one,
        "z": np.array(0, np.uint8),
        "w": weights,
        "sw": np.full(channels, 0.01, np.float32),
        "zw": np.zeros(channels, np.int8),
        "sy": np.array(1.0, np.float32),
        "zy": np.array(128, np.uint8),
    }
    rest = ["s", "z", "w", "sw", "zw", "sy", "zy"]
    nodes = [helper.make_node("QLinearConv", [before, *rest], [after], pads=[1, 1, 1, 1]) for before, after in _pairs()]
    return _graph(nodes, TensorProto.UINT8, TensorProto.UINT8, constants)


def _pairs() -> Iterable[tuple[str, str]]:
    return pairwise(["x", *(f"x{index}" for index in range(1, IN_A_ROW)), "y"])


def _graph(nodes: list[onnx.NodeProto], takes: int, gives: int, constants: dict[str, Any]) -> onnx.ModelProto:
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "limit",
        [helper.make_tensor_value_info("x", takes, None)],
        [helper.make_tensor_value_info("y", gives, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
