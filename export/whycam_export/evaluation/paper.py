"""The paper's recipe beside the methods: Grad-CAM of the logit alone, at the last convolution (Poirier 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from whycam.bundle import Bundle, Manifest
from whycam.bundle.manifest import CamLayer
from whycam.detect.model import Model
from whycam_export.convert.extractor import build_extractor, last_layer
from whycam_export.evaluation.cases import PLACES, Case
from whycam_export.evaluation.explaining import Question, heatmaps
from whycam_export.evaluation.gather import Gathered, Progress
from whycam_export.evaluation.measuring import Measured, SpaceBench, measure_in_time, measure_moved
from whycam_export.evaluation.network import Floats, Network
from whycam_export.evaluation.result import Row
from whycam_export.evaluation.rewriting import origin, rewritten

NAME = "paper"
_ASKED = Question("grad-cam", "none")


def evaluate_paper(
    found: Gathered, network: Network, model: Path, seed: int, when: bool, progress: Progress
) -> tuple[list[Row], list[Row]]:
    """The recipe's rows that say where, and `when`: a row each, or none where the network has no convolution.

    The paper tells no relevance of frames; the part of the window's heat that a frame holds stands for it.

    Raises InputError where the Keras `model` is not the one that the bundle was exported from.
    """
    progress("explaining by the paper's recipe", 0, 1)
    where_row, when_row = (Measured(Question(NAME, None), "baseline") for _ in range(2))
    with _at_last_layer(model, network.model.manifest) as bundle:
        if bundle is None:
            return [], []
        coarse = Network(Model(bundle))
        for case in found.shown:
            SpaceBench(case, network, seed).measure(_maps(coarse, case), where_row)
        if when:
            for case in found.in_time:
                measure_in_time(case, _heat(coarse, case), network, seed, when_row)
            for start in range(0, len(found.moved), len(PLACES)):
                group = found.moved[start : start + len(PLACES)]
                measure_moved(group, [_heat(coarse, case) for case in group], when_row)
    progress("explaining by the paper's recipe", 1, 1)
    return [where_row.row()], [when_row.row()] if when else []


@contextmanager
def _at_last_layer(model: Path, manifest: Manifest) -> Iterator[Bundle | None]:
    chain = origin(model, manifest)
    name = last_layer(chain)
    if name is None:
        yield None
        return
    ((channels, height, width),) = build_extractor(chain, [name]).map_shapes
    last = CamLayer(name=name, channels=channels, height=height, width=width)
    # Its pixels are not asked for, and differentiating them takes longest.
    files = {name: entry for name, entry in manifest.files.items() if not name.startswith("pixels")}
    with TemporaryDirectory() as folder:
        yield rewritten(chain, manifest.model_copy(update={"cams": (last,), "files": files}), Path(folder))


def _maps(network: Network, case: Case) -> Floats:
    window = network.snapshot(case.images, case.times, case.before[:0])
    return heatmaps(network.model, window, [_ASKED], case.label)[_ASKED]


def _heat(network: Network, case: Case) -> Floats:
    found: Floats = _maps(network, case).sum(axis=(1, 2))
    return found
