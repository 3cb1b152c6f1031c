"""`whycam config`, as one types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.runtime import tiny_bundle
from whycam.config.example import example

CAMERA = '[[camera]]\nname = "{name}"\nsource = "{name}.mp4"\nbundle = "{bundle}"\n'


def whycam(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    words = [sys.executable, "-m", "whycam", "config", *(str(one) for one in arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def test_a_good_configuration_is_told_in_a_few_lines(tmp_path: Path) -> None:
    tiny_bundle.build(tmp_path / "colours.whycam")
    path = tmp_path / "whycam.toml"
    path.write_text(
        'device = "post"\n' + CAMERA.format(name="gate", bundle="colours.whycam") + "threshold.fight = 0.9\n"
    )
    done = whycam("check", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "device post: MQTT 5 at localhost:1883, topics whycam/post/...",
        "state in whycam-state",
        f"camera gate: {tmp_path / 'gate.mp4'}, colours 1 fp32: fight from 0.9, fire from 0.7",
    ]


def test_all_that_is_wrong_with_what_it_names_is_told(tmp_path: Path) -> None:
    tiny_bundle.build(tmp_path / "colours.whycam")
    path = tmp_path / "whycam.toml"
    cameras = [
        CAMERA.format(name="gate", bundle="none.whycam"),
        CAMERA.format(name="yard", bundle="colours.whycam") + "threshold.theft = 0.9\n",
        CAMERA.format(name="door", bundle="colours.whycam") + 'precision = "int8"\n',
        CAMERA.format(name="roof", bundle="colours.whycam") + 'credentials_file = "none"\n',
    ]
    broker = '[broker]\nusername = "me"\npassword_credential = "broker"\n'
    path.write_text('device = "post"\n' + "".join(cameras) + broker)
    done = whycam("check", path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    for line, words in zip(
        lines,
        (
            "broker: password: 'broker'",
            "no such bundle",
            "threshold of 'theft'",
            "precision 'int8'",
            "none cannot be read",
        ),
        strict=True,
    ):
        assert line.startswith(f"whycam: {path}: ")
        assert words in line


def test_what_is_wrong_within_it_is_told_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "whycam.toml"
    path.write_text('devise = "post"\n[broker]\nport = -1\n')
    done = whycam("check", path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"whycam: {path}:1: 'device' is missing",
        f"whycam: {path}:1: 'camera' is missing",
        f"whycam: {path}:1: unknown key 'devise'; did you mean 'device'?",
        f"whycam: {path}:3: broker: port = -1: should be greater than or equal to 1",
    ]


def test_the_example_and_the_schema_are_what_they_are_called() -> None:
    assert whycam("example").stdout == example()
    assert json.loads(whycam("schema").stdout)["properties"]["camera"]


def test_it_needs_neither_opencv_nor_onnx_runtime(tmp_path: Path) -> None:
    tiny_bundle.build(tmp_path / "colours.whycam")
    path = tmp_path / "whycam.toml"
    path.write_text('device = "post"\n' + CAMERA.format(name="gate", bundle="colours.whycam"))
    code = (
        "import sys; sys.modules['cv2'] = sys.modules['onnxruntime'] = None; "
        f"sys.argv = ['whycam', 'config', 'check', {str(path)!r}]; from whycam.commands import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
