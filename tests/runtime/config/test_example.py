"""The example and the reference page are what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from whycam.config.example import example, reference
from whycam.config.file import load_config
from whycam.errors import ConfigError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("file", "text", "command"),
    [
        ("deploy/whycam.example.toml", example, "whycam config example"),
        ("docs/reference/config.md", reference, "python -m whycam.config.example"),
    ],
    ids=["example", "reference"],
)
def test_the_file_is_up_to_date(file: str, text: object, command: str) -> None:
    assert callable(text)
    assert (ROOT / file).read_text(encoding="utf-8") == text(), f"run: {command} > {file}"


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "whycam.toml"
    path.write_text(example())
    config = load_config(path)
    assert config.cameras[0].bundle == tmp_path / "fight.whycam"


def test_every_line_of_the_example_may_be_taken_out_of_its_comment(tmp_path: Path) -> None:
    lines = example().splitlines()
    commented = [number for number, line in enumerate(lines) if re.match(r"# \w+ = ", line)]
    assert len(commented) > 30
    path = tmp_path / "whycam.toml"
    refused = []
    for number in commented:
        path.write_text("\n".join([*lines[:number], lines[number][2:], *lines[number + 1 :]]))
        try:
            load_config(path)
        except ConfigError as error:
            refused.append(str(error).partition(": ")[2])
    # Some make sense only together with others, or within the table above them that is commented out too.
    assert all(
        re.search(r"go together|need `tls|needs a username|playback and|unknown key|polygon", one) for one in refused
    )
    assert len(refused) < 15
