"""Folders of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from whycam import SourceError, open_source


def write(path: Path, shade: int) -> None:
    """A grey picture."""
    assert cv2.imwrite(str(path), np.full((48, 64, 3), shade, np.uint8))


def test_pictures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 100, 1):
        write(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("not a picture")

    frames = list(open_source(f"images:{tmp_path}"))

    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 9, 10, 100]
    assert [frame.time for frame in frames] == [0.0, 0.1, 0.2, 0.3]


def test_the_frame_rate_can_be_said_and_a_name_may_hold_a_question_mark(tmp_path: Path) -> None:
    folder = tmp_path / "what?"
    folder.mkdir()
    for number in range(3):
        write(folder / f"{number}.jpg", 50)
    assert [frame.time for frame in open_source(f"images:{folder}?fps=4")] == [0.0, 0.25, 0.5]


@pytest.mark.parametrize("query", ["fps=0", "fps=nan", "fps=x", "speed=1", "fps=1&fps=2", "fps"])
def test_a_wrong_frame_rate_is_refused(tmp_path: Path, query: str) -> None:
    with pytest.raises(SourceError, match="only the frame rate"):
        open_source(f"images:{tmp_path}?{query}")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none: not a folder that can be read"):
        open_source(f"images:{tmp_path / 'none'}")
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(f"images:{tmp_path}")
    write(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"")
    frames = open_source(f"images:{tmp_path}")
    assert next(frames).time == 0.0
    with pytest.raises(SourceError, match=r"2\.png: not a picture"):
        next(frames)
