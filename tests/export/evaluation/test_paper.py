"""The paper's recipe beside the methods, on a network whose last layer sees only that there is red, not where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.evaluation.fire_clips import Scene, write
from tests.export.evaluation.test_layers import reddish
from whycam.errors import InputError
from whycam_export.convert import ExportOptions, export_bundle
from whycam_export.convert.chain import cut
from whycam_export.convert.extractor import last_layer
from whycam_export.evaluation import Options, evaluate
from whycam_export.evaluation.result import Evaluation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    reddish().save(folder / "red.keras")
    options = ExportOptions(
        classes=("normal", "fire"),
        normal="normal",
        frame_interval=0.1,
        preprocess="none",
        cam_layers=("fine",),
        explain="cams",
    )
    export_bundle(folder / "red.keras", folder / "red.whycam", options)
    write(folder / "clips", Scene("top right", quarter=1), Scene("bottom left", quarter=2))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Evaluation:
    options = Options(methods=("hirescam",), windows=1, cost=False, model=folder / "red.keras")
    return evaluate(folder / "clips", folder / "red.whycam", options)


def test_grad_cam_at_the_last_convolution_stands_in_the_table_where(found: Evaluation) -> None:
    method, paper = (next(row for row in found.where if row.method == name) for name in ("hirescam", "paper"))
    assert (paper.kind, paper.verdict) == ("baseline", None)
    assert paper.figures["pointing"].n == method.figures["pointing"].n
    assert paper.figures["energy"].value < method.figures["energy"].value


def test_its_heat_stands_for_the_relevance_of_frames_in_the_table_when(found: Evaluation) -> None:
    (paper,) = (row for row in found.when if row.method == "paper")
    assert {"auc", "auc_start", "auc_end", "deletion"} <= set(paper.figures)
    assert paper.figures["auc"].value == 1


def test_its_layer_is_the_last_whatever_the_bundles(found: Evaluation) -> None:
    assert found.cam_layers == ("fine",)
    assert last_layer(cut(reddish())) == "coarse"


def test_a_model_that_is_not_the_bundles_is_refused_before_the_work(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.keras").write_bytes(b"another")
    with pytest.raises(InputError, match="was not exported from it"):
        evaluate(tmp_path / "no clips", folder / "red.whycam", Options(model=tmp_path / "other.keras"))
