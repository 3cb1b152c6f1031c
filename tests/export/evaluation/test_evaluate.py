"""The whole of it, on clips whose explanation is known: the tiny bundle sees red squares, and says so."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from tests.export.evaluation.fire_clips import GREEN, Scene, write
from tests.runtime import tiny_bundle
from whycam.errors import InputError, WhycamError
from whycam_export.commands.evaluate import evaluate as command
from whycam_export.evaluation import Options, evaluate
from whycam_export.evaluation.result import Evaluation, Row
from whycam_export.evaluation.table import show

FIRE = Scene("fire, top right", quarter=1)
FIGHT = Scene("fight, bottom left", "fight", GREEN, quarter=2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.build(tmp_path_factory.mktemp("bundle") / "colours.whycam")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips"), FIRE, FIGHT, Scene("calm", "normal", onset=24))


@pytest.fixture(scope="module")
def found(clips: Path, bundle: Path) -> Evaluation:
    return evaluate(clips, bundle, Options(versus=("normal", "none"), references=("none",)))


def row(rows: Sequence[Row], method: str, versus: str | None = "normal") -> Row:
    return next(row for row in rows if (row.method, row.versus) == (method, versus))


def test_a_method_that_weighs_where_the_class_is_points_at_it(found: Evaluation) -> None:
    figures = row(found.where, "hirescam").figures
    assert figures["pointing"].value == 1
    assert figures["energy"].value > 0.85
    assert figures["deletion"].value < figures["insertion"].value


def test_baselines_stand_in_the_same_table_and_are_worse(found: Evaluation) -> None:
    best = row(found.where, "hirescam").figures
    for name in ("random", "centre"):
        figures = row(found.where, name, None).figures
        assert figures["pointing"].value < best["pointing"].value
        assert figures["difference"].value < best["difference"].value


def test_methods_that_point_alike_are_ranked_by_what_the_score_depends_on(found: Evaluation) -> None:
    alike = [row.figures["difference"].value for row in found.ranked() if row.figures["pointing"].value == 1]
    assert len(set(alike)) > 1
    assert alike == sorted(alike, reverse=True)


def test_every_method_is_measured_with_every_contrast(found: Evaluation) -> None:
    measured = {(row.method, row.versus) for row in found.where if row.kind == "method"}
    assert measured >= {(method, versus) for method in ("grad-cam", "hirescam") for versus in ("normal", "none")}


def test_what_is_usual_is_a_reference_where_a_whole_window_came_before(tmp_path: Path, bundle: Path) -> None:
    clips = write(tmp_path, FIRE, Scene("fire from the start", onset=0, frames=5))
    options = Options(methods=("hirescam",), references=("none", "usual"), windows=1, cost=False)
    found = evaluate(clips, bundle, options)
    plain, usual = (row for row in found.where if row.method == "hirescam")
    assert (plain.reference, plain.figures["deletion"].n) == ("none", 2)
    assert (usual.reference, usual.figures["deletion"].n) == ("usual", 1)
    assert {row.reference for row in found.when if row.method == "leave-one-out"} == {"none", "usual"}


def test_by_default_what_whycam_explains_by_is_measured_and_marked(clips: Path, bundle: Path) -> None:
    found = evaluate(clips, bundle, Options(methods=("grad-cam++", "grad-cam"), windows=1, cost=False))
    marked = [(row.method, row.way) for row in (*found.where, *found.when) if row.default]
    assert marked == [("grad-cam++", "normal, usual"), ("keep-one", "normal, usual")]
    assert [row["default"] for row in found.as_dict()["where"] if row["method"] == "random"] == [False]


def test_the_tables_fit_a_terminal(clips: Path, bundle: Path) -> None:
    screen = io.StringIO()
    show(
        evaluate(clips, bundle, Options(methods=("contrastive-excitation",), windows=1)), Console(file=screen, width=80)
    )
    lines = screen.getvalue()
    assert "contrastive-excitation " in lines
    assert "keep-one, usual *" in lines
    assert "bias" in lines
    assert "…" not in lines


def test_what_asks_for_no_reference_is_measured_once(tmp_path: Path, bundle: Path) -> None:
    clips = write(tmp_path, FIRE, Scene("fire from the start", onset=0, frames=5))
    options = Options(methods=("saliency",), references=("none", "usual"), when=False, cost=False)
    (saliency,) = (row for row in evaluate(clips, bundle, options).where if row.method == "saliency")
    assert (saliency.reference, saliency.way) == ("none", "normal")


def test_the_cost_of_what_knows_no_class_is_measured_without_a_contrast(found: Evaluation) -> None:
    rows = [row for row in found.where if row.method == "activation"]
    assert [(row.versus, row.way) for row in rows] == [(None, "")]
    assert rows[0].figures["ms"].value > 0


def test_chance_is_the_masks_part_of_the_frame_and_the_mask_stands_still(found: Evaluation) -> None:
    assert found.context["chance"].value == pytest.approx(0.25)
    assert found.context["mask_jump"].value == 0


def test_frames_of_the_event_are_the_relevant_ones(found: Evaluation) -> None:
    figures = row(found.when, "relevance").figures
    assert figures["auc"].value == 1
    assert figures["insertion"].value > row(found.when, "random", None).figures["deletion"].value


def test_an_event_that_is_moved_tells_the_methods_bias_from_the_models(found: Evaluation) -> None:
    """The model forgets by half with each frame, but only the event speaks for the class, wherever it stands."""
    assert found.context["score_start"].value < found.context["score_middle"].value < found.context["score_end"].value
    figures = row(found.when, "relevance").figures
    assert [figures[f"share_{place}"].value for place in ("start", "middle", "end")] == pytest.approx([1, 1, 1])
    assert figures["auc_bias"].value == 0
    newest = row(found.when, "newest first", None).figures
    assert (newest["auc_start"].value, newest["auc_end"].value, newest["auc_bias"].value) == (0, 1, 1)
    assert newest["share_start"].value < newest["share_end"].value


def test_cost_is_told_in_milliseconds_and_in_frames(found: Evaluation) -> None:
    figures = row(found.where, "grad-cam").figures
    assert figures["ms"].value / figures["frames"].value == pytest.approx(found.context["frame_ms"].value)


def test_the_same_clips_give_the_same_figures(found: Evaluation, clips: Path, bundle: Path) -> None:
    again = evaluate(clips, bundle, Options(methods=("hirescam",), references=("none",), cost=False))
    measured = row(again.where, "hirescam").figures
    assert measured == {name: row(found.where, "hirescam").figures[name] for name in measured}
    assert row(again.where, "random", None).figures == row(found.where, "random", None).figures


def test_without_truth_what_needs_none_is_measured(tmp_path: Path, bundle: Path) -> None:
    clips = write(tmp_path, FIRE, truth=False)
    found = evaluate(clips, bundle, Options(methods=("hirescam",)))
    assert set(row(found.where, "hirescam").figures) == {
        "deletion", "insertion", "difference", "peak_jump", "centre_jump", "ms", "ms_top", "frames", "frames_top",
    }  # fmt: skip
    assert set(row(found.when, "relevance").figures) == {"deletion", "insertion", "difference"}
    assert found.ranked()[0].method == "hirescam"


def test_a_clip_that_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path, bundle: Path) -> None:
    clips = write(tmp_path, FIRE)
    (clips / "fire" / "broken.mp4").write_bytes(b"no film")
    write(clips, Scene("a flood", "flood"))
    found = evaluate(clips, bundle, Options(methods=("hirescam",), when=False, cost=False))
    assert found.clips == 1
    assert set(found.unread) == {"fire/broken", "flood/a flood"}
    assert "not a video" in found.unread["fire/broken"]
    assert "class 'flood' is not the bundle's" in found.unread["flood/a flood"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(methods=("gradcam",)), "gradcam: bundle 'colours' offers"),
        (Options(versus=("nobody",)), "class 'nobody': the model knows normal, fight, fire"),
        (Options(windows=0), "--windows 0: must be 1 or more"),
    ],
)
def test_a_wrong_option_is_told_with_what_there_is(clips: Path, bundle: Path, options: Options, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        evaluate(clips, bundle, options)


def test_a_method_that_the_bundle_has_no_graphs_for_is_told_with_the_way_to_get_them(
    clips: Path, tmp_path: Path
) -> None:
    small = tiny_bundle.build(tmp_path / "small.whycam", explain="cams")
    with pytest.raises(InputError, match=r"method 'saliency' needs pixels_vjp\.onnx.*: export it with --explain all"):
        evaluate(clips, small, Options(methods=("saliency",)))


def test_clips_that_are_decided_wrongly_leave_nothing_to_explain(tmp_path: Path, bundle: Path) -> None:
    clips = write(tmp_path, Scene("green", colour=GREEN))
    with pytest.raises(InputError, match="no window that shows its anomaly is labelled rightly"):
        evaluate(clips, bundle)


def test_a_folder_that_is_missing_is_named(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        evaluate(tmp_path / "nowhere", bundle)


def invoke(*arguments: str) -> tuple[int, str, BaseException | None]:
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output, result.exception


def test_the_command_writes_figures_and_a_report_and_ranks_the_methods(
    clips: Path, bundle: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "evaluation"
    code, text, error = invoke(
        str(clips), "-b", str(bundle), "--explanations", "--methods", "grad-cam, hirescam", "-o", str(output)
    )  # fmt: skip
    assert (code, error) == (0, None)
    assert text.index("hirescam") < text.index("random")
    figures = json.loads((output / "explanations.json").read_text())
    assert figures["schema"] == "whycam.explanations/1"
    assert figures["bundle"] == {"name": "colours", "version": "1", "cam_layers": ["squares"]}
    assert figures["windows"]["shown, fight"] == 2
    assert figures["where"][0]["figures"]["pointing"] == {"value": 1.0, "n": 16}
    page = (output / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4 * 3
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_without_a_flag_the_command_says_what_it_can_evaluate(clips: Path, bundle: Path) -> None:
    code, _, error = invoke(str(clips), "-b", str(bundle))
    assert code == 1
    assert isinstance(error, WhycamError)
    assert str(error).startswith("say what to evaluate: --explanations")


def test_an_output_that_is_a_file_is_refused_before_the_work(clips: Path, bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle / "manifest.json", tmp_path / "taken")
    _, _, error = invoke(str(clips), "-b", str(bundle), "--explanations", "-o", str(tmp_path / "taken"))
    assert "is a file; give a folder" in str(error)


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, bundle: Path) -> None:
    _, _, error = invoke(
        str(tmp_path / "no clips"), "-b", str(bundle), "--explanations", "-o", "/proc/whycam/evaluation"
    )
    assert isinstance(error, InputError)
    assert str(error).startswith("/proc/whycam/evaluation: cannot be written")
