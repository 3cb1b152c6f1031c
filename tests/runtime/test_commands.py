"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import BLUE, GREEN, RED
from tiny_bundle import MAP, SIZE, T

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeVideo = Callable[..., Path]

HEAVY = ("tensorflow", "keras", "onnx", "cv2", "onnxruntime", "matplotlib", "numpy", "pydantic")


@pytest.fixture
def video(make_video: MakeVideo) -> Path:
    """A calm second, then a second of fire."""
    return make_video([BLUE] * 10 + [RED] * 10)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that was given bad input."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("whycam: ")
    return line


def codec(path: Path) -> dict[str, str]:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed: apt-get install ffmpeg")
    entries = "stream=codec_name,pix_fmt,width,height,nb_frames,duration"
    asked = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "json", str(path)]
    (stream,) = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)["streams"]
    return stream


@pytest.mark.parametrize("what", ["import whycam", "import whycam.commands"])
def test_an_import_brings_no_heavy_library(what: str) -> None:
    code = f"import sys; {what}; print([name for name in {HEAVY!r} if name in sys.modules])"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_help_brings_no_heavy_library_and_lists_the_commands() -> None:
    code = (
        "import sys, atexit; from whycam.commands import main; sys.argv = ['whycam', '--help']\n"
        f"atexit.register(lambda: print('heavy:', [name for name in {HEAVY!r} if name in sys.modules]))\n"
        "main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "heavy: []" in result.stdout
    assert "score" in result.stdout
    assert "explain" in result.stdout


def test_the_version_is_told(whycam: Run) -> None:
    import whycam as package

    assert whycam("--version").stdout == f"whycam {package.__version__}\n"


@pytest.mark.parametrize("arguments", [["dance"], ["score"], ["score", "video.mp4"], ["explain", "--at", "soon"]])
def test_wrong_usage_is_status_two(whycam: Run, arguments: list[str]) -> None:
    result = whycam(*arguments)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_score_writes_a_line_for_each_decision(whycam: Run, bundle: Path, video: Path) -> None:
    result = whycam("score", video, "-b", bundle)

    decisions = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert [decision["time"] for decision in decisions] == pytest.approx([index / 10 for index in range(20)], abs=1e-3)
    assert decisions[0] == {
        "time": 0.0,
        "scores": {"normal": None, "fight": None, "fire": None},
        "label": None,
        "warm": False,
        "alert": False,
    }
    assert decisions[9]["label"] == "normal"
    assert decisions[-1]["label"] == "fire"
    assert decisions[-1]["alert"]
    assert sum(decisions[-1]["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_score_leaves_decisions_a_film_and_a_timeline(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"

    result = whycam("score", video, "-b", bundle, "-o", folder)

    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["annotated.mp4", "decisions.jsonl", "timeline.png"]
    assert (folder / "decisions.jsonl").read_text() == result.stdout
    timeline = cv2.imread(str(folder / "timeline.png"))
    assert timeline.shape[1] > 1000
    stream = codec(folder / "annotated.mp4")
    assert stream["codec_name"] in ("h264", "vp9"), "what browsers play"
    assert stream["pix_fmt"] == "yuv420p"
    assert int(stream["nb_frames"]) == 20
    assert float(stream["duration"]) == pytest.approx(2, abs=0.1)
    assert min(int(stream["width"]), int(stream["height"])) >= 480, "small videos are enlarged"


def test_a_film_needs_no_ffmpeg(whycam: Run, bundle: Path, make_video: MakeVideo, tmp_path: Path) -> None:
    result = whycam("score", make_video([RED] * 5), "-b", bundle, "-o", tmp_path / "out", PATH="/nowhere")

    assert result.returncode == 0, result.stderr
    assert codec(tmp_path / "out" / "annotated.mp4")["codec_name"] in ("h264", "vp9")


@pytest.mark.parametrize("fps", [12, 60])
def test_a_film_runs_as_long_as_its_video(
    whycam: Run, bundle: Path, make_video: MakeVideo, tmp_path: Path, fps: int
) -> None:
    video = make_video([BLUE] * fps, fps=fps)

    whycam("score", video, "-b", bundle, "-o", tmp_path / "out")

    stream = codec(tmp_path / "out" / "annotated.mp4")
    assert float(stream["duration"]) == pytest.approx(1, abs=0.1)
    assert int(stream["nb_frames"]) <= 30


def test_an_alert_is_shown_in_red_with_its_heat_map(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    whycam("score", video, "-b", bundle, "-o", tmp_path / "out")

    capture = cv2.VideoCapture(str(tmp_path / "out" / "annotated.mp4"))
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    calm, alert = pictures[9][2, 300].astype(int), pictures[-1][2, 300].astype(int)
    assert calm[2] < 60, "the border of a calm picture is the picture, which is blue"
    assert alert[2] > 150
    assert alert[0] < 120


def test_score_replaces_its_own_files_and_no_others(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "decisions.jsonl").write_text("old")

    whycam("score", video, "-b", bundle, "-o", folder)

    assert (folder / "notes.txt").read_text() == "mine"
    assert "old" not in (folder / "decisions.jsonl").read_text()


def test_a_failure_leaves_the_files_that_were_there(whycam: Run, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "decisions.jsonl").write_text("old")

    one_line(whycam("score", tmp_path / "no.mp4", "-b", bundle, "-o", folder))

    assert [path.name for path in folder.iterdir()] == ["decisions.jsonl"]
    assert (folder / "decisions.jsonl").read_text() == "old"


def test_score_stops_in_silence_when_its_reader_goes(bundle: Path, make_video: MakeVideo) -> None:
    video = make_video([BLUE] * 400)
    command = [sys.executable, "-m", "whycam", "score", str(video), "-b", str(bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert "Traceback" not in said
    assert "Exception" not in said


def test_explain_draws_a_picture(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    result = whycam("explain", video, "-b", bundle, "--at", 1.5, "-o", "why.png")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    picture = cv2.imread(str(tmp_path / "why.png"))
    assert picture.shape[0] > 400
    assert picture.shape[1] > 800


def test_explain_saves_arrays(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    whycam("explain", video, "-b", bundle, "--at", 1.15, "-o", "why.npz")

    with np.load(tmp_path / "why.npz") as why:
        assert why["heatmaps"].shape == (T, MAP, MAP)
        assert why["frames"].shape == (T, SIZE, SIZE, 3)
        assert why["times"] == pytest.approx([0.8, 0.9, 1.0, 1.1], abs=1e-3)
        assert why["relevance"][:2] == pytest.approx([0, 0], abs=0.02), "the fire began at 1.0 s"
        assert why["relevance"][2:] == pytest.approx([1 / 3, 2 / 3], abs=0.03), "and what is older counts half"
        assert (str(why["label"]), str(why["method"]), str(why["versus"])) == ("fire", "grad-cam++", "normal")
        assert list(why["classes"]) == ["normal", "fight", "fire"]
        assert why["scores"].argmax() == 2


def test_explain_draws_several_methods_side_by_side(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    few = whycam(
        *("explain", video, "-b", bundle, "--at", 1.5, "-o", "few.png"), *("--method", "grad-cam", "--frames", 2)
    )
    many = whycam(
        *("explain", video, "-b", bundle, "--at", 1.5, "-o", "many.png"),
        *("--method", "grad-cam, saliency,excitation", "--frames", 2, "--view", "contours"),
    )

    assert (few.returncode, many.returncode) == (0, 0), few.stderr + many.stderr
    one, three = (cv2.imread(str(tmp_path / name)) for name in ("few.png", "many.png"))
    assert three.std() > 10
    assert three.shape != one.shape


@pytest.mark.parametrize("methods", ["contrastive-excitation", "grad-cam,contrastive-excitation"])
def test_what_explain_was_asked_stands_in_the_picture_whole(
    whycam: Run, bundle: Path, video: Path, tmp_path: Path, methods: str
) -> None:
    asked = ("--method", methods, "--label", "fight", "--versus", "fire", "--counter", "--frames", 1)
    result = whycam("explain", video, "-b", bundle, "--at", 1.5, "-o", "why.png", *asked)

    assert result.returncode == 0, result.stderr
    words = cv2.imread(str(tmp_path / "why.png"))[:100]
    assert words.min() < 200
    assert (words[:, -5:] == 255).all(), "no letter is cut off at the edge"


def test_explain_saves_several_methods_and_what_was_asked(
    whycam: Run, bundle: Path, video: Path, tmp_path: Path
) -> None:
    asked = ("--method", "hirescam,saliency", "--frames", 1, "--counter", "--time", "keep-one", "--reference", "none")
    result = whycam("explain", video, "-b", bundle, "--at", 1.5, "-o", "why.npz", "--label", "normal", *asked)

    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "why.npz") as why:
        assert why["heatmaps.hirescam"].shape == (T, MAP, MAP)
        assert why["heatmaps.saliency"].shape == (T, SIZE, SIZE)
        assert why["explained"].shape == (1,)
        assert (str(why["time"]), str(why["reference"]), bool(why["counter"])) == ("keep-one", "none", True)


def test_explain_sees_the_window_against_what_came_before(
    whycam: Run, bundle: Path, video: Path, tmp_path: Path
) -> None:
    """The calm second before the fire is what is usual, and blue as it is, it must not glow."""
    for reference in ("usual", "none"):
        asked = ("--label", "normal", "--versus", "none", "--method", "hirescam", "--reference", reference)
        result = whycam("explain", video, "-b", bundle, "--at", 1.0, "-o", f"{reference}.npz", *asked)
        assert result.returncode == 0, result.stderr
    usual, plain = (np.load(tmp_path / f"{name}.npz")["heatmaps"] for name in ("usual", "none"))
    # The window ends with the first red frame; the calm ones before it are blue.
    assert plain[0].max() > 0.01
    assert usual[0].max() < 0.05 * plain[0].max()


def test_explain_draws_feature_maps(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    result = whycam("explain", video, "-b", bundle, "--at", 1.5, "-o", "maps.png", "--view", "feature-maps")

    assert result.returncode == 0, result.stderr
    assert cv2.imread(str(tmp_path / "maps.png")).std() > 10


def test_explain_lists_its_methods_and_which_of_them_a_bundle_offers(whycam: Run, bundle: Path) -> None:
    every = whycam("explain", "--list", COLUMNS="200")
    own = whycam("explain", "--list", "-b", bundle, COLUMNS="200")

    assert (every.returncode, own.returncode) == (0, 0), every.stderr + own.stderr
    for name in ("grad-cam++", "saliency", "rise", "leave-one-out"):
        assert f"  {name} " in every.stdout
    assert every.stdout.count("Fails a sanity check") == 2, "guided-backprop and excitation"
    assert "not with this bundle" not in every.stdout
    assert own.stdout.count("not with this bundle: train the model with --attention") == 2


def test_explain_agrees_with_score(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    lines = whycam("score", video, "-b", bundle).stdout.splitlines()
    scored = {decision["time"]: decision["scores"] for decision in map(json.loads, lines)}

    whycam("explain", video, "-b", bundle, "--at", 1.2, "-o", "why.npz")

    with np.load(tmp_path / "why.npz") as why:
        assert why["scores"] == pytest.approx(list(scored[round(float(why["times"][-1]), 6)].values()), abs=1e-5)


@pytest.mark.parametrize(
    ("choice", "label", "versus"), [("none", "fire", "none"), ("fight", "fire", "fight"), ("normal", "normal", "none")]
)
def test_the_contrast_may_be_chosen(
    whycam: Run, bundle: Path, video: Path, tmp_path: Path, choice: str, label: str, versus: str
) -> None:
    result = whycam(
        *("explain", video, "-b", bundle, "--at", 1.5, "--label", label, "--versus", choice, "-o", "why.npz")
    )

    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "why.npz") as why:
        assert (str(why["label"]), str(why["versus"])) == (label, versus)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "0.1"], "no full window ends at 0.1 s: choose from 0.3 to 1.9 s"),
        (["--at", "60"], "no full window ends at 60 s: choose from 0.3 to 1.9 s"),
        (["--at", "1", "--label", "flood"], "class 'flood': the model knows normal, fight, fire"),
        (["--at", "1", "--versus", "flood", "--label", "fire"], "class 'flood'"),
        (["--at", "1", "--method", "magic"], "method 'magic': there are grad-cam, grad-cam++, hirescam"),
        (["--at", "1", "--time", "noon"], "method in time 'noon': there are relevance"),
        (["--at", "1", "--frames", "none"], "--frames none: give how many"),
        (["--at", "1", "--reference", "home"], "--reference home: choose auto, usual, none"),
        (["--at", "0.5", "--reference", "usual"], "or take `none` as reference"),
        (["--at", "1", "--view", "x-ray"], "--view x-ray: choose heat, contours, feature-maps"),
        (["--at", "1", "--method", "attention"], "train the model with --attention"),
        (["--at", "1", "--precision", "int8"], "precision 'int8': bundle 'colours' has fp32"),
        (["--at", "1", "--provider", "quantum"], "execution provider 'quantum'"),
        (["--at", "1", "-o", "why.gif"], "name it .png or .npz"),
        (["--at", "1", "-o", "no/such/why.png"], "no such folder"),
    ],
)
def test_explain_answers_bad_input_with_one_line(
    whycam: Run, bundle: Path, video: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    output = [] if "-o" in arguments else ["-o", "why.png"]

    assert message in one_line(whycam("explain", video, "-b", bundle, *arguments, *output))
    assert not list(tmp_path.glob("*why.*"))


@pytest.mark.parametrize("content", [b"", os.urandom(2000)])
def test_score_answers_a_broken_video_with_one_line(whycam: Run, bundle: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.mp4").write_bytes(content)

    assert "broken.mp4" in one_line(whycam("score", "broken.mp4", "-b", bundle, "-o", "out"))
    assert not (tmp_path / "out").exists()


def test_score_answers_a_broken_bundle_with_one_line(whycam: Run, bundle: Path, video: Path) -> None:
    (bundle / "features.onnx").write_bytes(b"")

    assert "features.onnx: damaged" in one_line(whycam("score", video, "-b", bundle))


def test_score_refuses_an_output_that_is_a_file(whycam: Run, bundle: Path, video: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    result = whycam("score", video, "-b", bundle, "-o", "out")

    assert "out: the output folder cannot be made" in one_line(result)


def test_a_video_that_breaks_off_is_scored_as_far_as_it_goes(whycam: Run, bundle: Path, make_video: MakeVideo) -> None:
    video = make_video([BLUE] * 40, name="video.avi")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])

    result = whycam("score", video, "-b", bundle)

    assert result.returncode == 0
    assert T < len(result.stdout.splitlines()) < 40
    (warning,) = result.stderr.splitlines()
    assert "damaged or incomplete" in warning


def test_green_is_a_fight(whycam: Run, bundle: Path, make_video: MakeVideo) -> None:
    last = whycam("score", make_video([GREEN] * 6), "-b", bundle).stdout.splitlines()[-1]

    assert json.loads(last)["label"] == "fight"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "rtsp://camera/stream", "-o", "out"], "a film of a camera would have no end"),
        (["explain", "rtsp://camera/stream", "--at", "1", "-o", "why.png"], "VIDEO is a camera"),
        (["explain", "video.mp4", "--at", "nan", "-o", "why.png"], "--at nan: must be seconds"),
    ],
)
def test_what_would_never_end_is_refused_at_once(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "whycam", *arguments, "-b", "any.whycam"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_error_that_native_code_makes_of_ctrl_c_is_told_as_ctrl_c() -> None:
    code = (
        "import os, signal, sys\n"
        "from whycam import commands\n"
        "def native():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        raise SystemError('a result with an exception set') from None\n"
        "commands.app = native\n"
        "commands.app.command = commands.typer.Typer().command\n"
        "commands.app.add_typer = commands.typer.Typer().add_typer\n"
        "commands.main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # A shell starts what runs in the background with SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    assert (result.returncode, result.stderr) == (1, "Aborted.\n")
