"""From a Keras model to a bundle: cut, convert, differentiate, prove, write."""

from __future__ import annotations

import datetime
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from whycam.bundle import Manifest, file_entry, write_manifest
from whycam.bundle.manifest import MANIFEST, CamLayer, FrameSize, Parity, Step, Window, plain_name, seen_text
from whycam.detect.sampling import longest_gap
from whycam_export.convert import parity
from whycam_export.convert.chain import Chain, cut, load_model
from whycam_export.convert.extractor import Extractor, build_extractor
from whycam_export.convert.graphs import Explain, Graphs, build_graphs
from whycam_export.convert.head import Head, read_head
from whycam_export.convert.preprocessing import Preprocessing, preprocessing
from whycam_export.convert.reference import keras_reference
from whycam_export.convert.sample import noise_window, video_window
from whycam_export.convert.sidecar import read_sidecar
from whycam_export.errors import ModelError

THRESHOLD = 0.5
"""Where an alert starts until calibration says better."""


@dataclass(frozen=True)
class ExportOptions:
    """What the model file does not say; None means what training left beside it, or the default."""

    classes: tuple[str, ...] | None = None
    normal: str | None = None
    frame_interval: float | None = None
    preprocess: str | None = None
    cam_layers: tuple[str, ...] = ()
    """Where the maps come from that explain; none: the last convolution of fine enough maps, see `extractor`."""
    explain: Explain = "all"
    frames: int | None = None
    sample: Path | None = None
    version: str = "1"


@dataclass(frozen=True)
class _Meaning:
    """What the model's inputs and outputs mean."""

    classes: tuple[str, ...]
    normal: str
    frame_interval: float
    preprocess: str


def export_bundle(
    model: Path, output: Path, options: ExportOptions | None = None, stage: Callable[[str], None] = lambda text: None
) -> Manifest:
    """Export the Keras model at `model` as the bundle `output`; `stage` hears what is done next.

    A bundle that is there already is replaced once the new one is complete.

    Raises:
        ModelError: the model cannot be read or has another form, an option is missing or does not fit, or the graphs
            disagree with Keras; nothing is written then.
        SourceError: the sample video cannot be read.
    """
    options = options or ExportOptions()
    _check_output(output)
    stage("read the model")
    chain = cut(load_model(model), options.frames)
    meaning = _meaning(model, options)
    extractor = build_extractor(chain, options.cam_layers)
    head = read_head(chain.head, chain.frames, extractor.features)
    _check_classes(meaning, head)
    prepare = preprocessing(meaning.preprocess, chain.per_frame)
    windows = [noise_window(chain.frames, chain.height, chain.width)]
    if options.sample is not None:
        stage(f"read {options.sample.name}")
        windows.append(video_window(options.sample, meaning.frame_interval, chain.frames, chain.height, chain.width))
    graphs = build_graphs(chain, extractor, head, prepare, stage, options.explain)

    stage("run Keras for comparison")
    names = ["noise", "sample"]
    pixels = options.explain == "all"
    cases = [
        parity.Case(name, frames, keras_reference(chain, extractor, head, prepare.apply(frames), pixels=pixels))
        for name, frames in zip(names, windows, strict=False)
    ]
    draft = _draft(output)
    try:
        stage("write the graphs and compare them with Keras")
        for name, graph in graphs.models.items():
            onnx.save(graph, draft / name)
        figures = parity.measure(draft, cases, graphs.states, prepare)
        parity.check(figures)
        _write_golden(draft / "golden.npz", cases[-1], meaning.classes)
        manifest = _manifest(model, output, options, meaning, chain, extractor, head, prepare, graphs, figures, draft)
        write_manifest(draft, manifest)
        draft.chmod(0o755)
        _replace(output, draft)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise _unwritable(output, error) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def _check_output(output: Path) -> None:
    try:
        plain_name(output.stem)
    except ValueError as error:
        raise ModelError(f"{output}: its name {error}; choose another name") from None
    if output.is_dir() and not (output / MANIFEST).is_file() and any(output.iterdir()):
        raise ModelError(f"{output}: is a directory but no bundle, it will not be replaced; choose another name")
    if output.is_file():
        raise ModelError(f"{output}: is a file; a bundle is a directory, choose another name")
    # Now, not after minutes of work.
    _draft(output).rmdir()


def _draft(output: Path) -> Path:
    """A new directory beside `output`; raises ModelError where there can be none."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> ModelError:
    return ModelError(f"{output}: cannot be written ({error.strerror or error}); choose another place")


def _meaning(model: Path, options: ExportOptions) -> _Meaning:
    trained = read_sidecar(model)
    found: dict[str, Any] = trained.model_dump() if trained is not None else {"preprocess": "auto"}
    given = {
        "classes": options.classes,
        "normal": options.normal,
        "frame_interval": options.frame_interval,
        "preprocess": options.preprocess,
    }
    found.update({key: value for key, value in given.items() if value is not None})
    missing = ", ".join(f"--{key.replace('_', '-')}" for key in given if key not in found)
    if missing:
        raise ModelError(f"{model}: was not trained by whycam (no {model.stem}.json beside it); say {missing}")
    meaning = _Meaning(**found)
    if len(set(meaning.classes)) != len(meaning.classes) or not all(meaning.classes):
        raise ModelError(f"--classes {','.join(meaning.classes)}: the names must be distinct and not empty")
    try:
        for name in (*meaning.classes, options.version):
            seen_text(name)
    except ValueError as error:
        raise ModelError(f"--classes or --model-version: a name {error}") from None
    if meaning.normal not in meaning.classes:
        raise ModelError(f"--normal {meaning.normal}: not among the classes {', '.join(meaning.classes)}")
    if not 0 < meaning.frame_interval < 3600:
        raise ModelError(f"--frame-interval {meaning.frame_interval}: must be seconds between frames, above 0")
    return meaning


def _check_classes(meaning: _Meaning, head: Head) -> None:
    if len(meaning.classes) != head.classes:
        kind = "a single sigmoid, for two classes" if head.single_sigmoid else f"{head.classes} outputs"
        names = ", ".join(meaning.classes)
        raise ModelError(f"--classes: {len(meaning.classes)} are named ({names}), but the model ends in {kind}")


def _write_golden(path: Path, case: parity.Case, classes: tuple[str, ...]) -> None:
    scores = case.reference.scores
    best = int(scores.argmax())
    heatmaps = np.maximum(case.reference.cams[0][best], 0).astype(np.float32)
    np.savez_compressed(path, frames=case.frames, scores=scores, heatmaps=heatmaps, label=np.array(classes[best]))


def _manifest(
    model: Path,
    output: Path,
    options: ExportOptions,
    meaning: _Meaning,
    chain: Chain,
    extractor: Extractor,
    head: Head,
    prepare: Preprocessing,
    graphs: Graphs,
    figures: Parity,
    draft: Path,
) -> Manifest:
    layers = zip(extractor.cam_layers, extractor.map_shapes, strict=True)
    packages = ("whycam-export", "keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime")
    return Manifest(
        name=output.stem,
        version=options.version,
        classes=meaning.classes,
        normal=meaning.normal,
        window=Window(
            frames=chain.frames,
            frame_interval=meaning.frame_interval,
            max_gap=longest_gap(chain.frames, meaning.frame_interval),
        ),
        input=FrameSize(height=chain.height, width=chain.width),
        features=extractor.features,
        cams=tuple(
            CamLayer(name=name, channels=channels, height=height, width=width)
            for name, (channels, height, width) in layers
        ),
        step=Step(available=head.no_step is None, states=graphs.states, reason=head.no_step),
        thresholds={name: THRESHOLD for name in meaning.classes if name != meaning.normal},
        precisions={"fp32": "features.onnx"},
        parity=figures,
        provenance={
            "model": model.name,
            "model_sha256": file_entry(model).sha256,
            "preprocess": prepare.mode,
            "cam_layer": extractor.note,
            "sample": options.sample.name if options.sample else None,
            "exported": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": {name: importlib.metadata.version(name) for name in packages if _installed(name)},
        },
        files={path.name: file_entry(path) for path in sorted(draft.iterdir())},
    )


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _replace(output: Path, draft: Path) -> None:
    if not output.exists():
        draft.rename(output)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{output.name}.old.", dir=output.parent))
    output.rename(old / "bundle")
    try:
        draft.rename(output)
    except OSError:
        (old / "bundle").rename(output)
        old.rmdir()
        raise
    shutil.rmtree(old)
