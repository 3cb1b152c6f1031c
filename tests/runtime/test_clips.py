from __future__ import annotations

from pathlib import Path

import pytest

from whycam.clips import Clip, find_videos, read_clips
from whycam.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that look like clips; listing them does not open them."""
    for name in ("fight/a.mp4", "fight/b.MP4", "normal/c.avi", "normal/deep/d.mkv", "normal/notes.txt", ".git/e.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def manifest(folder: Path, text: str) -> Path:
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_is_a_class_and_each_video_its_own_source(folder: Path) -> None:
    clips = read_clips(folder)

    assert [(clip.path.name, clip.label) for clip in clips] == [
        ("a.mp4", "fight"),
        ("b.MP4", "fight"),
        ("c.avi", "normal"),
        ("d.mkv", "normal"),
    ]
    assert len({clip.source for clip in clips}) == 4


def test_a_manifest_alone_says_what_the_clips_are(folder: Path) -> None:
    manifest(folder, "path,label,source,remark\nfight/a.mp4,attack,yard,x\nnormal/c.avi, calm ,hall,y\n")

    assert read_clips(folder) == [
        Clip(folder / "fight/a.mp4", "attack", "yard"),
        Clip(folder / "normal/c.avi", "calm", "hall"),
    ]


def test_a_manifest_written_by_a_spreadsheet_is_read(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(
        "\ufeffpath,label,source,split\r\nfight/a.mp4,fight,yard,train\r\nnormal/c.avi,normal,hall,test\r\n".encode()
    )

    assert [clip.split for clip in read_clips(folder)] == ["train", "test"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\nfight/a.mp4,fight\n", "no column source"),
        ("", "no column path, label, source"),
        ("path,label,source\n", "names no clips"),
        ("path,label,source\nfight/z.mp4,fight,yard\n", "line 2: fight/z.mp4 is not a file"),
        ("path,label,source\n../other/a.mp4,fight,yard\n", "line 2: ../other/a.mp4 lies outside"),
        ("path,label,source\nfight/a.mp4,,yard\n", "line 2: label is empty"),
        ("path,label,source\nfight/a.mp4,fight\n", "line 2: source is empty"),
        ("path,label,source,split\nfight/a.mp4,fight,yard,dev\n", "line 2: split 'dev' is unknown"),
        ("path,label,source\nfight/a.mp4,fight,yard\nfight/a.mp4,fight,yard\n", "a.mp4 is named more than once"),
        (
            "path,label,source,split\nfight/a.mp4,fight,yard,train\nnormal/c.avi,normal,hall,\n",
            "1 of 2 clips have no split",
        ),
        ("path,label,source\nfight/a.mp4,fight,yard\nfight/b.MP4,fight,hall\n", "all 2 clips are 'fight'"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_place(folder: Path, text: str, said: str) -> None:
    manifest(folder, text)

    with pytest.raises(InputError) as error:
        read_clips(folder)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_manifest_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b"\xff\xfe\x00path")

    with pytest.raises(InputError, match="cannot be read as CSV in UTF-8"):
        read_clips(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_clips(tmp_path / "nowhere")


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fight").mkdir()

    with pytest.raises(InputError, match="no clips found"):
        read_clips(tmp_path)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "fight").mkdir()
    (tmp_path / "fight" / "a.mp4").write_bytes(b"x")

    with pytest.raises(InputError, match="two classes or more"):
        read_clips(tmp_path)


def test_videos_are_found_in_a_folder_and_in_those_in_it(folder: Path) -> None:
    assert [path.name for path in find_videos(folder)] == ["a.mp4", "b.MP4", "c.avi", "d.mkv"]


def test_a_folder_in_which_no_video_is_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no videos found"):
        find_videos(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_videos(tmp_path / "nowhere")
