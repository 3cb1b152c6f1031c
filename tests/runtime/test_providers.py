"""The table of execution providers, and which of them a model gets: without a GPU, on a stub of ONNX Runtime's."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_stub import CPU, CUDA, TENSORRT, Device
from tiny_bundle import SIZE, T

import whycam
from whycam.bundle import Bundle
from whycam.detect import Model
from whycam.detect.graphs import AT_ONCE, MAPS_AT_ONCE, features_spec
from whycam.detect.opening import open_graph
from whycam.detect.providers import GraphUse, choose_providers, leaves_to_cpu, with_options
from whycam.errors import BundleError, InputError
from whycam.explain import inquiry

GIB = 1 << 30
FRAMES = {"frames": (None, 112, 112, 3)}
MAPS = {"maps": (None, 512, 7, 7), "feature_gradient": (None, 512)}


def options(provider: str, file: str = "features.onnx", **changes: Any) -> dict[str, Any]:
    known = {"role": "features", "inputs": FRAMES, "most": 1, "memory": 8 * GIB}
    return with_options([provider], GraphUse(file, "ab" * 32, **{**known, **changes}))[0][1]


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHYCAM_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


def test_the_cpu_needs_no_options() -> None:
    assert options(CPU) == {}


@pytest.mark.parametrize(
    ("file", "half", "int8"),
    [
        ("features.onnx", False, False),
        ("features.fp16.onnx", True, False),
        ("features.int8.onnx", False, True),
        ("step.int8.onnx", False, True),
        ("head.onnx", False, False),
    ],
)
def test_tensorrt_computes_in_no_other_precision_than_the_file_has(file: str, half: bool, int8: bool) -> None:
    chosen = options(TENSORRT, file)
    assert (chosen["trt_fp16_enable"], chosen["trt_int8_enable"]) == (half, int8)


@pytest.mark.parametrize("file", ["features.onnx", "features.fp16.onnx", "features.int8.onnx"])
def test_cuda_keeps_float32_exact_in_each_precision(file: str) -> None:
    assert options(CUDA, file)["use_tf32"] == 0


@pytest.mark.parametrize(
    ("memory", "role", "limit", "workspace", "large"),
    [
        (4 * GIB, "features", 2 * GIB, GIB // 2, 0),
        (4 * GIB, "step", GIB, GIB // 2, 0),
        (8 * GIB, "features", 4 * GIB, GIB, 1),
        (8 * GIB, "head", 2 * GIB, GIB, 0),
        (8 * GIB, "explanation", 4 * GIB, GIB, 0),
    ],
)
def test_limits_follow_the_memory_that_the_gpu_shares(
    memory: int, role: str, limit: int, workspace: int, large: int
) -> None:
    cuda = options(CUDA, memory=memory, role=role)
    assert (cuda["gpu_mem_limit"], cuda["cudnn_conv_use_max_workspace"]) == (limit, large)
    assert cuda["arena_extend_strategy"] == "kSameAsRequested"
    assert options(TENSORRT, memory=memory, role=role)["trt_max_workspace_size"] == workspace


def test_without_knowing_the_memory_there_are_no_limits() -> None:
    assert not {"gpu_mem_limit", "cudnn_conv_use_max_workspace"} & set(options(CUDA, memory=None))
    assert "trt_max_workspace_size" not in options(TENSORRT, memory=None)


def test_one_engine_serves_all_batches_that_are_run() -> None:
    chosen = options(TENSORRT, "maps_vjp.onnx", role="explanation", inputs=MAPS, most=20)
    assert chosen["trt_profile_min_shapes"] == "maps:1x512x7x7,feature_gradient:1x512"
    assert chosen["trt_profile_opt_shapes"] == "maps:20x512x7x7,feature_gradient:20x512"
    assert chosen["trt_profile_max_shapes"] == "maps:20x512x7x7,feature_gradient:20x512"


def test_the_head_is_quickest_for_one_window() -> None:
    chosen = options(TENSORRT, "head.onnx", role="head", inputs={"window": (None, 20, 512)}, most=64)
    assert chosen["trt_profile_opt_shapes"] == "window:1x20x512"
    assert chosen["trt_profile_max_shapes"] == "window:64x20x512"


def test_a_graph_of_one_size_needs_no_profile_and_a_search_for_the_best_convolutions() -> None:
    assert not [name for name in options(TENSORRT) if "profile" in name]
    assert options(CUDA, most=1)["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert options(CUDA, most=8)["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options(CUDA, role="explanation")["cudnn_conv_algo_search"] == "HEURISTIC"


def test_cuda_graphs_are_for_fixed_addresses_and_one_size_alone() -> None:
    assert options(CUDA, fixed_addresses=True)["enable_cuda_graph"] == 1
    for changes in ({}, {"fixed_addresses": True, "most": 8}):
        assert options(CUDA, **changes)["enable_cuda_graph"] == 0


def test_tensorrt_which_knows_one_recording_for_all_windows_makes_none(built_bundle: Path, gpu: Device) -> None:
    bundle = Bundle.open(built_bundle)
    spec = features_spec(bundle.manifest, "features.onnx")
    graph = open_graph(bundle, spec, [TENSORRT, CUDA, CPU], fixed_addresses=True)
    assert (graph.providers[0], graph.captured) == (TENSORRT, False)
    (providers,) = [providers for _, providers in gpu.opened]
    assert "trt_cuda_graph_enable" not in providers[0][1]
    assert providers[1][1]["enable_cuda_graph"] == 0


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_a_stream_is_passed_on_by_its_address(provider: str) -> None:
    assert options(provider, stream=0x55AA)["user_compute_stream"] == str(0x55AA)
    assert "user_compute_stream" not in options(provider)


def test_engines_and_times_are_kept_in_the_graphs_folder(engines: Path) -> None:
    chosen = options(TENSORRT)
    assert chosen["trt_engine_cache_enable"] is chosen["trt_timing_cache_enable"] is True
    assert chosen["trt_engine_cache_path"] == chosen["trt_timing_cache_path"]
    assert Path(chosen["trt_engine_cache_path"]).parent == engines
    assert Path(chosen["trt_engine_cache_path"]).is_dir()


def test_where_no_folder_can_be_made_it_runs_without_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WHYCAM_ENGINES", str(tmp_path / "file" / "engines"))
    assert not [name for name in options(TENSORRT) if "cache" in name]
    assert "$WHYCAM_ENGINES" in caplog.text


def test_the_batches_are_those_that_explanations_ask_for() -> None:
    assert (inquiry._FRAMES_AT_ONCE, inquiry._MAPS_AT_ONCE) == (AT_ONCE, MAPS_AT_ONCE)


@pytest.mark.parametrize(
    ("wanted", "chosen", "cpu"),
    [
        (None, [CUDA, CPU], True),
        (["tensorrt"], [TENSORRT, CUDA, CPU], False),
        (["tensorrt", "cpu"], [TENSORRT, CUDA, CPU], True),
        (["cuda", "tensorrt"], [CUDA, TENSORRT, CPU], False),
        (["CUDAExecutionProvider"], [CUDA, CPU], False),
        (["cpu", "cuda"], [CPU], True),
        ("cpu", [CPU], True),
        ([], [CPU], True),
    ],
)
def test_cuda_is_behind_tensorrt_and_the_cpu_behind_all(
    wanted: list[str] | str | None, chosen: list[str], cpu: bool, gpu: Device
) -> None:
    assert choose_providers(wanted) == chosen
    assert leaves_to_cpu(wanted) is cpu


def test_a_model_runs_on_what_was_asked_for(built_bundle: Path, gpu: Device) -> None:
    model = Model(Bundle.open(built_bundle), providers=["tensorrt"])
    assert (model.providers, model.at_once) == ((TENSORRT,), 1)
    assert [name for name, _ in gpu.opened[0][1]] == [TENSORRT, CUDA, CPU]


def test_what_tensorrt_does_not_take_runs_on_cuda_and_is_told_once(
    built_bundle: Path, gpu: Device, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.raises[TENSORRT] = "libnvinfer.so.10: cannot open shared object file"
    model = Model(Bundle.open(built_bundle), providers=["tensorrt"])
    assert (model.providers, model.at_once) == ((CUDA,), 8)
    assert gpu.tried("features.onnx") == [TENSORRT, CUDA]
    assert gpu.tried("step.onnx") == [CUDA]
    assert caplog.messages == [
        "features.onnx runs on CUDA: TensorRT does not take it (libnvinfer.so.10: cannot open shared object file)"
    ]


def test_only_who_names_the_cpu_or_nothing_gets_it(
    built_bundle: Path, gpu: Device, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.raises = {TENSORRT: "no TensorRT"}
    gpu.missing = {CUDA}
    with pytest.raises(InputError, match=r"TensorRT does not run features.onnx here: TensorRT .*no TensorRT.*; CUDA "):
        Model(Bundle.open(built_bundle), providers=["tensorrt"])
    with pytest.raises(InputError, match=r"does not run features.onnx here: CUDA .*no GPU here.*name cpu too"):
        Model(Bundle.open(built_bundle), providers=["cuda"])
    assert caplog.messages == []

    for wanted in (None, ["tensorrt", "cpu"]):
        caplog.clear()
        assert Model(Bundle.open(built_bundle), providers=wanted).providers == (CPU,)
        assert [message.partition(":")[0] for message in caplog.messages] == ["features.onnx runs on CPU"]


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_what_onnx_runtime_refuses_it_does_not_run_otherwise_by_itself(
    built_bundle: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle.open(built_bundle)
    open_graph(bundle, features_spec(bundle.manifest, "features.onnx"), ["NoSuchExecutionProvider", CPU])
    (told,) = caplog.messages
    assert told.startswith("features.onnx runs on CPU: NoSuch does not take it (")
    assert "libraries" not in told
    assert capfd.readouterr().out == ""


def test_a_provider_that_runs_none_of_a_graph_has_not_taken_it(
    built_bundle: Path, gpu: Device, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.left_to_cpu = lambda operator: True
    with pytest.raises(InputError, match=r"CUDA does not take it .it runs none of its nodes"):
        Model(Bundle.open(built_bundle), providers=["cuda"])
    assert Model(Bundle.open(built_bundle)).providers == (CPU,)
    assert "it runs none of its nodes" in caplog.text


def test_what_is_left_to_the_cpu_for_every_frame_is_told(
    built_bundle: Path, gpu: Device, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.left_to_cpu = lambda operator: operator in ("Cast", "Div")
    model = Model(Bundle.open(built_bundle), providers=["cuda"])
    assert set(model.providers) == {CUDA, CPU}
    assert sum(model.shares.values()) == pytest.approx(1)
    (told,) = caplog.messages
    assert told.startswith("features.onnx: of 6 nodes 2 run on the CPU, not on CUDA, in ")
    assert told.endswith("(Cast, Div)")

    model.explain(model.snapshot(np.zeros((T, SIZE, SIZE, 3), np.uint8)), "saliency")
    assert caplog.messages == [told]


def test_a_damaged_graph_is_the_bundles_fault_where_the_cpu_may_run_it(bundle: Path, gpu: Device) -> None:
    gpu.raises = {CUDA: "Protobuf parsing failed", CPU: "Protobuf parsing failed"}
    with pytest.raises(BundleError, match=r"cannot load it .Protobuf parsing failed"):
        Model(Bundle.open(bundle))


def test_an_engine_is_of_one_frame_however_many_an_explanation_asks_for(built_bundle: Path, gpu: Device) -> None:
    detector = whycam.load(built_bundle, providers=["tensorrt"])
    on_cpu = whycam.load(built_bundle, providers=["cpu"])
    frames = np.random.default_rng(0).integers(0, 256, (T, SIZE, SIZE, 3), np.uint8)
    made = [
        each.model.explain(each.model.snapshot(frames), "smoothgrad", label="fight").heatmaps
        for each in (detector, on_cpu)
    ]
    np.testing.assert_allclose(*made, atol=1e-6)
    with pytest.raises(BundleError, match="cannot run it here"):
        detector.model.extract(frames)


@pytest.mark.parametrize("captures", [True, False])
def test_a_graph_is_replayed_where_it_can_be(
    captures: bool, built_bundle: Path, gpu: Device, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.captures = captures
    bundle = Bundle.open(built_bundle)
    spec = features_spec(bundle.manifest, "features.onnx")
    graph = open_graph(bundle, spec, [CUDA, CPU], insist=True, fixed_addresses=True, stream=7)
    assert (graph.providers[0], graph.captured) == (CUDA, captures)
    tried = [providers[0][1] for _, providers in gpu.opened]
    assert [each["enable_cuda_graph"] for each in tried] == ([1] if captures else [1, 0])
    assert {each["user_compute_stream"] for each in tried} == {"7"}
    refusal = "CUDA does not take it as a CUDA graph (not all nodes are on one provider)"
    assert caplog.messages == ([] if captures else [f"features.onnx runs on CUDA: {refusal}"])


def test_tensorrt_is_told_to_keep_float32_exact_and_who_says_otherwise_is_heard(
    built_bundle: Path, gpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    Model(Bundle.open(built_bundle), providers=["cuda"])
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    Model(Bundle.open(built_bundle), providers=["tensorrt"])
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    Model(Bundle.open(built_bundle), providers=["tensorrt"])
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


def test_building_an_engine_is_announced_once(built_bundle: Path, gpu: Device, engines: Path) -> None:
    told: list[str] = []
    Model(Bundle.open(built_bundle), providers=["tensorrt"], announce=told.append)
    assert told == [
        f"building TensorRT's engine of {file}, which takes minutes (kept in {engines})"
        for file in ("features.onnx", "step.onnx")
    ]
    for folder in engines.iterdir():
        (folder / "TensorrtExecutionProvider_TRTKernel_graph_1_0_0_sm87.engine").touch()
    Model(Bundle.open(built_bundle), providers=["tensorrt"], announce=told.append)
    assert len(told) == 2


@pytest.fixture(autouse=True)
def warnings_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
