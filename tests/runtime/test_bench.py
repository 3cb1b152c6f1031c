"""`whycam bench`, on a bundle that costs nothing: what it says and writes, not how fast it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_bundle
from conftest import BLUE, RED
from gpu_stub import Device
from tiny_bundle import SIZE, T

from whycam.bench import cameras, stages
from whycam.bench.cameras import MARGIN, Capacity, Load, between, decide_together, measure_capacity
from whycam.bench.clip import Clip, draw_clip
from whycam.bench.cold_start import measure_cold_starts
from whycam.bench.measure import measure
from whycam.bench.memory import memory
from whycam.bench.question import default_question
from whycam.bench.stages import PASS, decided_from_file, measure_stages
from whycam.bench.timing import Spread, interleaved, repeated
from whycam.bench.variants import Losses, Variant, choose_variants, startable
from whycam.bundle import Bundle, Manifest, file_entry, write_manifest
from whycam.commands.bench import bench
from whycam.cuda.array import Picture
from whycam.detect import Decision, Detector, Due, Model
from whycam.detect.ring import Sample
from whycam.errors import InputError, WhycamError

Run = Callable[..., subprocess.CompletedProcess[str]]
REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "bench.md"
QUICK = ("--rounds", "1", "--fps", "200")
STAGES = ("features", "features_in_batch", "step", "decision", "from_file", "bare", "bare_in_batch")
EXPLANATIONS = ("explanation", "explanation_newest", "grad_cam")


def silent(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def two_precisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a second precision, which has a form for the CPU."""
    path = tiny_bundle.build(tmp_path_factory.mktemp("bundle") / "colours.whycam")
    for name in ("features.int8.onnx", "features.int8-cpu.onnx"):
        (path / name).write_bytes((path / "features.onnx").read_bytes())
    manifest = Manifest.model_validate_json((path / "manifest.json").read_text())
    made = {"int8": "features.int8.onnx", "int8-cpu": "features.int8-cpu.onnx"}
    entries = dict.fromkeys(made.values(), manifest.files["features.onnx"])
    update = {"precisions": manifest.precisions | made, "files": manifest.files | entries}
    write_manifest(path, manifest.model_copy(update=update))
    return path


@pytest.fixture(scope="module")
def measured(two_precisions: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What one run with `--json` and `-o` said, and where it wrote."""
    folder = tmp_path_factory.mktemp("run") / "some" / "where"
    command = [sys.executable, "-m", "whycam", "bench", two_precisions, "--json", "-o", folder, *QUICK]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout), folder


def keys_of(text: str) -> set[str]:
    """The keys that the tables of the reference name."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def spreads(values: Any) -> Iterator[dict[str, float]]:
    if isinstance(values, Mapping):
        if "median" in values:
            yield dict(values)
        for value in values.values():
            yield from spreads(value)
    elif isinstance(values, list):
        for value in values:
            yield from spreads(value)


# -- the command --


def test_the_document_has_each_precision_with_its_form_for_the_cpu(measured: tuple[dict[str, Any], Path]) -> None:
    document, _ = measured

    assert document["schema"] == "whycam.bench/1"
    on_cpu = [one for one in document["variants"] if one["provider"] == "cpu"]
    assert [(one["precision"], one["file"]) for one in on_cpu] == [
        ("fp32", "features.onnx"),
        ("int8", "features.int8-cpu.onnx"),
    ]
    assert on_cpu[0]["execution_providers"] == ["CPUExecutionProvider"]
    assert document["bundle"]["frames"] == T
    assert (document["fps"], document["rounds"]) == (200, 1)
    assert document["machine"]["onnxruntime"] == onnxruntime.__version__
    assert document["video"]["source"] is None


def test_all_stages_take_time_and_cameras_are_counted_by_what_held(measured: tuple[dict[str, Any], Path]) -> None:
    document, _ = measured

    found = list(spreads(document))
    assert len(found) > 30
    assert all(0 < one["least"] <= one["median"] <= one["most"] for one in found)
    for one in document["variants"]:
        assert all(one["stages"][name] is not None for name in (*STAGES, *EXPLANATIONS))
        assert one["stages"]["head"] is None
        for capacity in (one["cameras"], one["cameras_explained"]):
            assert capacity["tried"][0]["cameras"] == 1
            assert capacity["held"] == max((load["cameras"] for load in capacity["tried"] if load["holds"]), default=0)
        assert one["cold_start"]["first_frame"]["median"] <= one["cold_start"]["first_decision"]["median"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_a_fresh_process_tells_its_memory(measured: tuple[dict[str, Any], Path]) -> None:
    for one in measured[0]["variants"]:
        assert 20e6 < one["memory"]["resident"] <= one["memory"]["peak"]
    assert memory().resident is not None


def test_the_reference_names_each_key(measured: tuple[dict[str, Any], Path]) -> None:
    document, _ = measured
    whole, variant = REFERENCE.read_text(encoding="utf-8").split("\n| key | |\n")[1:]
    variant, _, stage = variant.partition("\n| stage | |\n")

    assert keys_of(whole) == set(document)
    assert keys_of(variant) == set(document["variants"][0])
    assert keys_of(stage) == set(document["variants"][0]["stages"])


def test_the_folder_holds_the_same_figures_and_a_picture(measured: tuple[dict[str, Any], Path]) -> None:
    document, folder = measured

    assert sorted(path.name for path in folder.iterdir()) == ["bench.json", "bench.png"]
    assert json.loads((folder / "bench.json").read_text()) == document
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    picture = cv2.imread(str(folder / "bench.png"))
    assert picture.shape[1] > 1000


def test_a_bundle_with_less_is_measured_as_far_as_it_goes(
    whycam: Run, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    path = tiny_bundle.build(tmp_path / "plain.whycam", step=False, explain="cams")
    video = make_video([BLUE, RED] * 2, fps=30)

    done = whycam("bench", path, "--video", video, *QUICK, COLUMNS="120")

    assert done.returncode == 0, done.stderr
    assert "RNN over the window" in done.stdout
    assert "step of the RNN" not in done.stdout
    assert "cameras at 200 fps" in done.stdout
    assert "64x48" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["plain.whycam", "video.mp4"], "nothing is left behind"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"precision": ["fp32", "int4"]}, "precision 'int4': bundle 'colours' has fp32"),
        ({"provider": ["quantum"]}, "execution provider 'quantum': the ONNX Runtime installed here has "),
        ({"provider": ["CPUExecutionProvider"]}, "execution provider 'CPUExecutionProvider': name it "),
        ({"fps": 0.0}, "--fps 0.0: must be"),
        ({"fps": float("nan")}, "--fps nan: must be"),
        ({"video": "missing.mp4"}, "missing.mp4: no such file"),
        ({"video": "rtsp://gate/stream"}, "is a camera"),
        ({"output": Path(__file__)}, "cannot be written"),
    ],
)
def test_bad_input_is_said_before_anything_is_measured(
    bundle: Path, options: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WhycamError, match=re.escape(complaint)):
        bench(bundle, **options)

    assert capsys.readouterr().out == ""


def test_the_folder_is_written_where_nobody_reads_what_is_printed(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "whycam", "bench", bundle, "--json", "-o", tmp_path / "out", *QUICK]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bench.json", "bench.png"]


def test_a_damaged_bundle_is_one_line(whycam: Run, bundle: Path) -> None:
    (bundle / "head_vjp.onnx").write_bytes(b"damaged")

    done = whycam("bench", bundle)

    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert "head_vjp.onnx: damaged" in line


# -- its parts --


def test_variants_are_each_precision_on_each_provider(two_precisions: Path) -> None:
    bundle = Bundle.open(two_precisions)

    assert choose_variants(bundle, (), ("cpu",)) == [Variant("fp32", "cpu"), Variant("int8", "cpu")]
    assert choose_variants(bundle, ("int8", "int8"), ("cpu",)) == [Variant("int8", "cpu")]


def test_what_opens_and_then_fails_is_left_out_unless_it_is_named(bundle: Path) -> None:
    # As where the provider has no kernels for the device.
    opened = add_failing_int8(bundle, at_once=1)

    variants = choose_variants(opened, (), ("cpu",))

    started, left_out = startable(opened, variants, (), silent)

    assert started == [Variant("fp32", "cpu")]
    assert [str(one.variant) for one in left_out] == ["int8 on cpu"]
    assert left_out[0].reason.startswith("int8 on cpu does not run here (")
    for wanted, named in ((variants, ("cpu",)), (variants[1:], ())):
        with pytest.raises(InputError, match="does not run here"):
            startable(opened, wanted, named, silent)


def test_what_another_provider_runs_is_not_measured_under_its_name(bundle: Path, gpu: Device) -> None:
    gpu.raises["TensorrtExecutionProvider"] = "no libnvinfer"
    opened = Bundle.open(bundle)
    variants = choose_variants(opened, (), ("tensorrt", "cuda"))
    started, left_out = startable(opened, variants, ("cuda",), silent)
    assert started == [Variant("fp32", "cuda")]
    assert [one.reason.partition(":")[0] for one in left_out] == ["fp32 on tensorrt does not run here"]
    assert "CUDA takes most of it" in left_out[0].reason


def test_what_fails_on_the_way_is_left_out_and_the_others_go_on(bundle: Path, tmp_path: Path) -> None:
    opened = add_failing_int8(bundle, at_once=2)

    report = measure(
        opened, choose_variants(opened, (), ("cpu",)), slow_clip(tmp_path), silent, fps=1e6, rounds=1, threads=1
    )

    assert [(one.variant, one.threads) for one in report.measured] == [(Variant("fp32", "cpu"), 1)]
    assert [one.variant for one in report.left_out] == [Variant("int8", "cpu")]
    assert "features.int8.onnx: ONNX Runtime cannot run it here" in report.left_out[0].reason
    with pytest.raises(WhycamError, match=r"^int8 on cpu failed on the way, and no other is left to measure: [^\n]+$"):
        measure(opened, [Variant("int8", "cpu")], slow_clip(tmp_path), silent, fps=1e6, rounds=1)


def test_a_fresh_process_that_dies_does_not_end_the_others(built_bundle: Path, tmp_path: Path) -> None:
    opened, losses = Bundle.open(built_bundle), Losses()
    variants = [Variant("int4", "cpu"), Variant("fp32", "cpu")]

    found = measure_cold_starts(opened, variants, slow_clip(tmp_path), 1, silent, losses.guard)

    assert list(found) == variants[1:]
    (lost,) = losses.left_out
    assert lost.variant == variants[0]
    assert lost.reason.startswith("a fresh process for int4 on cpu ended with status ")
    with pytest.raises(WhycamError, match="a fresh process for int4 on cpu"):
        measure_cold_starts(opened, variants, slow_clip(tmp_path), 1, silent)


def test_a_fresh_process_takes_as_many_threads_as_are_asked_for(built_bundle: Path, tmp_path: Path) -> None:
    opened, clip, variant = Bundle.open(built_bundle), slow_clip(tmp_path), Variant("fp32", "cpu")

    assert variant.open(opened).threads is None
    assert variant.open(opened, 2).threads == 2
    with pytest.raises(WhycamError, match="threads 0: give 1 or more"):
        measure_cold_starts(opened, [variant], clip, 1, silent, threads=0)


def test_the_graphs_of_explanations_do_not_stay_open(two_precisions: Path, tmp_path: Path) -> None:
    opened = Bundle.open(two_precisions)
    models = {variant: variant.open(opened) for variant in choose_variants(opened, (), ("cpu",))}

    costs = measure_stages(models, slow_clip(tmp_path), 1, silent, "")

    assert list(costs) == list(models)
    assert all(cost.explanation is not None for cost in costs.values())
    assert not any(graph.let_go(0) for model in models.values() for graph in model._late.values())


def test_works_are_done_in_turn_and_the_first_round_does_not_count() -> None:
    done: list[str] = []

    def work(name: str, seconds: list[float]) -> Callable[[], float]:
        def act() -> float:
            done.append(name)
            return seconds[done.count(name) - 1]

        return act

    found = interleaved({"a": work("a", [9, 1, 3, 2]), "b": work("b", [9, 5, 5, 5])}, 3, silent, "works")

    assert done == ["a", "b"] * 4
    assert found == {"a": Spread(2, 1, 3), "b": Spread(5, 5, 5)}


def test_a_quick_work_is_repeated_and_a_unit_of_it_told() -> None:
    calls = []

    assert repeated(lambda: calls.append(0), units=8)() > 0
    assert len(calls) > 100


def test_cameras_are_added_until_they_do_not_hold(
    tmp_path: Path, built_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras, "MOST", 8)
    model, clip = Model(Bundle.open(built_bundle)), slow_clip(tmp_path)

    # At this rate no machine holds one, at that each holds all.
    none = measure_capacity(model, clip, 1e6, None, 1, silent, "")
    every = measure_capacity(model, clip, 1e-2, default_question(model.manifest), 1, silent, "")

    assert (none.cameras, [load.cameras for load in none.loads]) == (0, [1])
    assert (every.cameras, [load.cameras for load in every.loads]) == (8, [1, 2, 4, 8])


def test_whole_frames_are_brought_to_the_model_as_it_takes_them(
    tmp_path: Path, built_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def see(pixels: np.ndarray) -> Picture:
        seen.add((threading.current_thread().name, pixels.shape))
        return Model.see(model, pixels)

    model, clip = Model(Bundle.open(built_bundle)), slow_clip(tmp_path)
    seen: set[tuple[str, tuple[int, ...]]] = set()
    monkeypatch.setattr(model, "see", see)

    measure_capacity(model, clip, 1e6, None, 1, silent, "")

    width, height = clip.size
    assert ("bench camera", (height, width, 3)) in seen


@pytest.mark.parametrize("most_that_hold", range(4, 8))
def test_between_what_held_and_what_did_not_the_most_is_found(most_that_hold: int) -> None:
    held, failed = 4, 8
    shares = {n: (1 - MARGIN) * n / (most_that_hold + 0.5) for n in range(1, 9)}
    loads = {n: Load(n, Spread(1, 1, 1), shares[n], shares[n] <= 1 - MARGIN) for n in (4, 8)}

    while held < (count := between(held, failed, loads)) < failed:
        loads[count] = Load(count, Spread(1, 1, 1), shares[count], shares[count] <= 1 - MARGIN)
        held, failed = (count, failed) if loads[count].holds else (held, count)

    assert held == most_that_hold
    assert len(loads) <= 5


@pytest.mark.parametrize("made", ["built_bundle", "headed_bundle"])
def test_cameras_decide_together_as_each_alone(made: str, request: pytest.FixtureRequest) -> None:
    model = Model(Bundle.open(request.getfixturevalue(made)))
    together, alone = ([Detector(model) for _ in range(model.at_once + 3)] for _ in range(2))
    random = np.random.default_rng(0)

    for _ in range(T + 1):
        images = [random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in together]
        decide_together(together, images)
        for detector, image in zip(alone, images, strict=True):
            detector.push(image)

    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)


@pytest.mark.parametrize("made", ["built_bundle", "headed_bundle"])
def test_each_frame_from_the_file_is_decided_upon_with_a_full_window(
    made: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions: list[Decision] = []

    class Listened(Detector):
        def decide(self, due: Due, sample: Sample | None = None) -> Decision:
            decisions.append(super().decide(due, sample))
            return decisions[-1]

    monkeypatch.setattr(stages, "Detector", Listened)
    work = decided_from_file(slow_clip(tmp_path), Model(Bundle.open(request.getfixturevalue(made))))

    assert work() > 0
    assert len(decisions) == T + PASS
    assert all(decision.warm for decision in decisions[T:])


def test_what_is_held_leaves_the_margin() -> None:
    loads = tuple(Load(n, Spread(n * 0.03, n * 0.03, n * 0.03), n * 0.3, n * 0.3 <= 1 - MARGIN) for n in (1, 2, 4))

    assert Capacity(loads).cameras == 2
    assert loads[1].seconds_per_camera == pytest.approx(0.03)


def test_the_drawn_clip_moves_and_goes_on_without_end(tmp_path: Path) -> None:
    clip = draw_clip(tmp_path)
    frames = clip.endless()

    times = [next(frames).time for _ in range(205)]

    assert clip.size == (640, 360)
    assert (clip.images[0] != clip.images[-1]).any()
    assert times == sorted(set(times))
    assert np.diff(times) == pytest.approx(1 / clip.fps, abs=1e-3)


def add_failing_int8(path: Path, at_once: int) -> Bundle:
    """The bundle with a second precision, which fails where it sees so many pictures or more."""
    torn = onnx.load(path / "features.onnx")
    far = np.array([0] * (at_once - 1) + [99] * (8 - at_once + 1))
    torn.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "nought"))
    torn.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "before"))
    torn.graph.initializer.append(onnx.numpy_helper.from_array(far, "far"))
    torn.graph.node.extend(
        [
            onnx.helper.make_node("Shape", ["frames"], ["count"], start=0, end=1),
            onnx.helper.make_node("Add", ["count", "before"], ["newest"]),
            onnx.helper.make_node("Gather", ["far", "newest"], ["place"]),
            onnx.helper.make_node("Gather", ["nought", "place"], ["nothing"]),
        ]
    )
    torn.graph.output.append(onnx.helper.make_tensor_value_info("nothing", onnx.TensorProto.FLOAT, None))
    onnx.save(torn, path / "features.int8.onnx")
    manifest = Manifest.model_validate_json((path / "manifest.json").read_text())
    entries = manifest.files | {"features.int8.onnx": file_entry(path / "features.int8.onnx")}
    precisions = manifest.precisions | {"int8": "features.int8.onnx"}
    write_manifest(path, manifest.model_copy(update={"precisions": precisions, "files": entries}))
    return Bundle.open(path)


def slow_clip(folder: Path) -> Clip:
    """A picture every hundred seconds: each is due."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    picture = np.full((SIZE, SIZE, 3), RED, dtype=np.uint8)
    for index in range(3):
        cv2.imwrite(str(pictures / f"{index}.png"), picture)
    return Clip(f"images:{pictures}?fps=0.01", False, 0.01, (picture,))
