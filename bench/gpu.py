"""What a GPU makes of the paper's network: `python -m bench.gpu`, which `make gpu-check` runs behind the tests.

    extractor   in each precision, so many frames at once: frames per second, latency, memory, share of the peak
    paths       a decision and an explanation whose frames, features and maps stay in the GPU's memory, against those
                that bring them to the host, by the same GPU

The peak is that of a large matrix product in the same precision in the same run. Without `--quick` the figures beside
this file are replaced: gpu.json, gpu.md and gpu.png. Status 2 where there is no GPU, or a part is missing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.jetsons import DEVICES
from bench.limits import matmul, matmul_integer, operations
from bench.machine import machine
from bench.network import PAPER, SMALL, Network, add_fp16, build
from bench.pictures import BLUE, GREEN, GRID, INK, ORANGE, QUIET, tidy
from bench.workers import in_process, interleaved, spread
from tests.runtime.cuda.ready import missing

if TYPE_CHECKING:
    import onnxruntime

    from whycam.bundle import Bundle
    from whycam.cuda.device import Device
    from whycam.detect import Model

HERE = Path(__file__).resolve().parent
PRECISIONS = {"fp32": ("float32", BLUE), "fp16": ("float16", GREEN), "int8": ("int8", ORANGE)}
"""What the matrices of the peak are of, and the colour."""
BATCHES = (1, 2, 4, 8, 16)
SIDE = 8192
"""Of the matrices: a product takes milliseconds, and starting it nothing."""
CAMERA = (360, 640)
"""Height and width of the frames that cameras bring, in pixels."""
_NAMES = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}

Results = Mapping[str, Any]
Tell = Callable[[str], None]


def measure(
    bundle: Bundle,
    provider: str,
    rounds: int,
    tell: Tell,
    *,
    device: Device | None = None,
    free: Callable[[], int] | None = None,
    batches: Sequence[int] = BATCHES,
    side: int = SIDE,
) -> dict[str, Any]:
    """Measure on `provider` (`cuda`; `cpu` to try this out) what the bundle has; `free` gives bytes of memory.

    `device` is where frames stay, by default the GPU's memory.
    """
    precisions = [name for name in PRECISIONS if name in bundle.manifest.precisions]
    found: dict[str, Any] = {"provider": provider, "peak": {}, "extractor": {}}
    for precision in precisions:
        tell(f"peak, {precision}")
        peak = 2.0 * side**3 / _median(_product(precision, side, provider), rounds)
        found["peak"][precision] = {"operations_per_second": peak}
        found["extractor"][precision] = {}
        for batch in batches:
            tell(f"{precision}, {batch} at once")
            one = _extractor(bundle, precision, batch, provider, rounds, free)
            one["share_of_peak"] = one["operations_per_second"] / peak
            found["extractor"][precision][str(batch)] = one
    tell("decisions and explanations")
    found["paths"] = _paths(bundle, provider, rounds, device)
    return found


def _extractor(
    bundle: Bundle, precision: str, batch: int, provider: str, rounds: int, free: Callable[[], int] | None
) -> dict[str, Any]:
    """The extractor alone, its frames and what it makes of them being where it runs."""
    from whycam.detect.graphs import features_spec
    from whycam.detect.opening import open_graph
    from whycam.detect.providers import choose_providers

    manifest = bundle.manifest
    before = None if free is None else free()
    chosen = choose_providers([provider])
    # The form that GPUs run, where the CPU has one of its own.
    graph = open_graph(
        bundle, features_spec(manifest, manifest.precisions[precision]), chosen, insist=provider != "cpu"
    )
    size = (batch, manifest.input.height, manifest.input.width, 3)
    frames = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    seconds = spread(_timed(_bound(graph.session, {"frames": frames}, provider), rounds))
    work = operations(bundle.file("features.onnx")) * batch
    return {
        "seconds": seconds,
        "frames_per_second": batch / seconds["median"],
        "operations_per_second": work / seconds["median"],
        "memory": None if before is None or free is None else before - free(),
        "providers": list(graph.providers),
    }


def _product(precision: str, side: int, provider: str) -> Callable[[], object]:
    import onnxruntime

    random = np.random.default_rng(0)
    kind = np.dtype(PRECISIONS[precision][0])
    left, right = (random.integers(-8, 8, (side, side)).astype(kind) for _ in range(2))
    model = matmul_integer(right, zero=0) if precision == "int8" else matmul(right)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As exact as the extractor: float32 without TF32.
    providers = [(_NAMES[provider], {} if provider == "cpu" else {"use_tf32": 0})]
    session = onnxruntime.InferenceSession(model.SerializeToString(), sess_options=options, providers=providers)
    return _bound(session, {"x": left}, provider)


def _bound(session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], provider: str) -> Callable[[], object]:
    """A run with inputs and outputs in the memory of `provider`, until it is done."""
    import onnxruntime

    binding = session.io_binding()
    # They are the binding's, which does not hold them itself.
    held = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value, provider, 0) for name, value in inputs.items()}
    for name, value in held.items():
        binding.bind_ortvalue_input(name, value)
    for node in session.get_outputs():
        binding.bind_output(node.name, provider)

    def run(_: object = held) -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def _paths(bundle: Bundle, provider: str, rounds: int, device: Device | None) -> dict[str, Any]:
    """A decision and an explanation in fp32, in the device's memory and through the host's."""
    from whycam.bench.stages import warm_detector
    from whycam.detect import Model

    # What a model does where PyCUDA is missing.
    with mock.patch("whycam.detect.model.cuda_device", return_value=None):
        models: dict[str, Model] = {"host": Model(bundle, providers=[provider])}
    models["device"] = Model(bundle, providers=[provider], device=device)
    pool = models["device"].pool
    if pool is None:
        raise RuntimeError("the GPU's memory is not used: see `whycam doctor`")
    frames = np.random.default_rng(0).integers(0, 256, (4 * bundle.manifest.window.frames, *CAMERA, 3), np.uint8)
    given = {name: itertools.cycle(frames) for name in models}
    window = bundle.manifest.window.frames
    detectors = {name: warm_detector(model, given[name], computed=window) for name, model in models.items()}
    acts: dict[str, Callable[[], object]] = {}
    for name, detector in detectors.items():
        acts[f"decision {name}"] = lambda detector=detector, name=name: detector.push(next(given[name]))
        acts[f"explanation {name}"] = lambda detector=detector: detector.explain("grad-cam")
    before = pool.read
    detectors["device"].push(next(given["device"]))
    decision = pool.read - before
    detectors["host"].push(next(given["host"]))
    seconds = {name: spread(values) for name, values in interleaved(acts, rounds).items()}
    heat, scores = ({name: act(each) for name, each in detectors.items()} for act in (_heat, _scores))
    return {
        what: {
            "seconds": {name: seconds[f"{what} {name}"] for name in models},
            "times_faster": seconds[f"{what} host"]["median"] / seconds[f"{what} device"]["median"],
        }
        for what in ("decision", "explanation")
    } | {
        "bytes_read_for_a_decision": decision,
        "difference": {
            "scores": float(np.abs(scores["device"] - scores["host"]).max()),
            "heat_maps": float(np.abs(heat["device"] - heat["host"]).max() / heat["host"].max()),
        },
    }


def _heat(detector: Any) -> Any:
    # Less the usual ones, maps of noise are hardly more than what rounding leaves.
    return detector.explain("grad-cam", reference="none").heatmaps


def _scores(detector: Any) -> Any:
    return np.array(list(detector.snapshot().scores.values()))


def _timed(act: Callable[[], object], rounds: int) -> list[float]:
    return interleaved({"": act}, rounds)[""]


def _median(act: Callable[[], object], rounds: int) -> float:
    return spread(_timed(act, rounds))["median"]


def published(model: str) -> dict[str, float] | None:
    """The published peaks of the Jetson that calls itself `model`; None where it is no such one, or not for sure."""
    alike = [each for each in DEVICES if " ".join(each.name.replace(",", "").split()[:2]) in model]
    return alike[0].peak if len(alike) == 1 else None


def page(results: Results) -> str:
    """The figures in Markdown."""
    card, network = results["card"], results["network"]
    versions = ", ".join(f"{name} {version}" for name, version in results["machine"]["versions"].items())
    rows = [
        f"| {precision} | {batch} | {one['frames_per_second']:.0f} | {1000 * one['seconds']['median']:.2f} ms | "
        f"{_mebibytes(one['memory'])} | {one['share_of_peak']:.0%} | {_of_published(results, precision, one)} |"
        for precision, batches in results["extractor"].items()
        for batch, one in batches.items()
    ]
    peaks = [
        f"| {precision} | {one['operations_per_second'] / 1e12:.1f} |" for precision, one in results["peak"].items()
    ]
    paths = [
        f"| {what} | {1000 * one['seconds']['host']['median']:.2f} ms | "
        f"{1000 * one['seconds']['device']['median']:.2f} ms | {one['times_faster']:.2f} |"
        for what, one in results["paths"].items()
        if what in ("decision", "explanation")
    ]
    difference = results["paths"]["difference"]
    return "\n".join(
        [
            "# Figures of a GPU",
            "",
            f"Written by `make gpu-check`; [what they mean](README.md#on-a-gpu). {card}; {versions}. "
            f"{network['frames']} frames of {network['width']} x {network['height']}, {network['features']} features"
            f"{', made small: a smoke test' if results['quick'] else ''}. Medians.",
            "",
            "## The extractor",
            "",
            "| precision | at once | frames per second | latency | memory | of the measured peak | of the published |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            "| precision | 10^12 operations per second, a large matrix product |",
            "|---|---:|",
            *peaks,
            "",
            "## Through the host, and in the GPU's memory",
            "",
            "| | through the host | in the GPU's memory | times faster |",
            "|---|---:|---:|---:|",
            *paths,
            "",
            f"Largest difference: {difference['scores']:.1e} of a score, {difference['heat_maps']:.1e} of the largest "
            "heat, where pixels may differ by a level. To the host come "
            f"{results['paths']['bytes_read_for_a_decision']} bytes for a decision.",
            "",
        ]
    )


def draw(results: Results, path: Path) -> None:
    """Frames per second by batch, and the two paths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), dpi=130, layout="constrained")
    rates, bars = figure.subplots(1, 2)
    for precision, batches in results["extractor"].items():
        values = [one["frames_per_second"] for one in batches.values()]
        rates.plot(
            [int(batch) for batch in batches], values, color=PRECISIONS[precision][1], marker="o", label=precision
        )
    rates.set(xscale="log", ylim=(0, None))
    ticks = sorted({int(batch) for batches in results["extractor"].values() for batch in batches})
    rates.set_xticks(ticks, [str(tick) for tick in ticks])
    rates.minorticks_off()
    rates.set_xlabel("frames at once", fontsize=9, color=INK)
    rates.grid(axis="y", color=GRID)
    rates.legend(fontsize=8, frameon=False)
    tidy(rates, "The extractor, frames per second")
    for shift, name, colour in ((-0.18, "host", QUIET), (0.18, "device", BLUE)):
        values = [1000 * results["paths"][what]["seconds"][name]["median"] for what in ("decision", "explanation")]
        label = "through the host" if name == "host" else "in the GPU's memory"
        bars.barh([place + shift for place in range(2)], values, height=0.32, color=colour, label=label)
    bars.set_yticks(range(2), ["decision", "explanation"])
    bars.invert_yaxis()
    bars.set_xlabel("milliseconds", fontsize=9, color=INK)
    bars.grid(axis="x", color=GRID)
    bars.legend(fontsize=8, frameon=False)
    tidy(bars, "The same GPU")
    figure.savefig(path)


def _mebibytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f} MiB"


def _of_published(results: Results, precision: str, one: Mapping[str, Any]) -> str:
    peak = (results.get("published_peak") or {}).get(precision)
    return "-" if peak is None else f"{one['operations_per_second'] / peak:.0%}"


def _built(folder: Path, quick: bool) -> Network:
    from whycam.bundle import Bundle

    network = build(folder, SMALL if quick else PAPER, 0)
    add_fp16(Bundle.open(network.bundle), network.images(16, seed=1))
    return network


def main() -> int:
    """Measure and write; status 2 where there is no GPU, or a part is missing."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small network and few rounds: a smoke test")
    parser.add_argument("-o", "--output", type=Path, help="folder (default: bench; with --quick build/bench)")
    options = parser.parse_args()
    from whycam.bundle import Bundle
    from whycam.cuda.cuda_device import gpu

    if (lacking := missing()) is not None:
        print(lacking, file=sys.stderr)
        return 2
    card = gpu()
    output = options.output or (Path("build/bench") if options.quick else HERE)
    output.mkdir(parents=True, exist_ok=True)
    screen = Console(stderr=True, highlight=False)
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with tempfile.TemporaryDirectory(prefix="whycam-bench-") as folder, Progress(*columns, console=screen) as progress:
        task = progress.add_task("build and export the network", total=2 + len(PRECISIONS) * (1 + len(BATCHES)))
        network = in_process(_built, Path(folder), options.quick)
        found = measure(
            Bundle.open(network.bundle),
            "cuda",
            3 if options.quick else 30,
            lambda text: progress.update(task, advance=1, description=text),
            free=card.free_memory,
        )
        progress.update(task, advance=1, description="")
    shape = network.shape
    results = {
        "quick": options.quick,
        "card": card.name,
        "published_peak": published(_model()),
        "machine": machine(),
        "network": {
            "frames": shape.frames, "height": shape.side, "width": shape.side, "features": network.features
        },
        **found,
    }  # fmt: skip
    (output / "gpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (output / "gpu.md").write_text(page(results), encoding="utf-8")
    draw(results, output / "gpu.png")
    print(f"wrote {output / 'gpu.json'}, gpu.md, gpu.png")
    return 0


def _model() -> str:
    """What the board calls itself, as Jetsons do; nothing elsewhere."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
