"""A bundle's graphs written anew from the Keras model that it was exported from, with something changed."""

from __future__ import annotations

from pathlib import Path

import onnx

from whycam.bundle import Bundle, Manifest, file_entry, write_manifest
from whycam.errors import InputError
from whycam_export.convert.chain import Chain, cut, load_model
from whycam_export.convert.extractor import build_extractor
from whycam_export.convert.graphs import Explain, build_graphs
from whycam_export.convert.head import read_head
from whycam_export.convert.preprocessing import preprocessing


def origin(model: Path, manifest: Manifest) -> Chain:
    """The network of the Keras `model`, from which the bundle that `manifest` describes was exported.

    Raises InputError where it is not that one, ModelError where it is damaged.
    """
    check_origin(model, manifest)
    return cut(load_model(model), manifest.window.frames)


def check_origin(model: Path, manifest: Manifest) -> None:
    """Raise InputError where the bundle's manifest says that it was exported from another file than `model`."""
    if not model.is_file():
        raise InputError(f"--model {model}: no such file; give the Keras model that the bundle was exported from")
    origin = manifest.provenance.get("model_sha256")
    if origin is not None and file_entry(model).sha256 != origin:
        name = manifest.provenance.get("model", "another model")
        raise InputError(f"--model {model}: bundle '{manifest.name}' was not exported from it, but from {name}")


def rewritten(chain: Chain, manifest: Manifest, folder: Path) -> Bundle:
    """The bundle that `manifest` describes, with the weights that `chain` has now, written into the empty `folder`."""
    extractor = build_extractor(chain, [cam.name for cam in manifest.cams])
    head = read_head(chain.head, chain.frames, extractor.features)
    prepare = preprocessing(manifest.provenance.get("preprocess", "auto"), chain.per_frame)
    explain: Explain = "all" if "pixels_vjp.onnx" in manifest.files else "cams"
    graphs = build_graphs(chain, extractor, head, prepare, lambda text: None, explain)
    for name, graph in graphs.models.items():
        onnx.save(graph, folder / name)
    files = {name: file_entry(folder / name) for name in graphs.models}
    write_manifest(folder, manifest.model_copy(update={"files": files}))
    return Bundle.open(folder)
