"""What is calibrated from and what is held back, and the frames and windows that are taken of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.calibration import conv_bundle
from whycam.bundle import Bundle, Manifest
from whycam.errors import InputError
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision import frames
from whycam_calibration.precision.footage import split_footage
from whycam_calibration.precision.frames import choose_frames, farthest, thinned
from whycam_calibration.precision.progress import silent
from whycam_calibration.precision.windows import read_windows

T = 4


@pytest.fixture
def manifest(conv: Path) -> Manifest:
    return Bundle.open(conv).manifest


def test_no_source_stands_on_both_sides_and_each_class_on_either(
    tmp_path: Path, write_clip: Callable[..., Path], manifest: Manifest
) -> None:
    rows = ["path,label,source"]
    for index in range(12):
        write_clip(tmp_path / f"c{index}.avi", conv_bundle.textures(index, 4))
        rows.append(f"c{index}.avi,{('fight', 'normal')[index % 2]},camera{index // 2}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))

    split = split_footage(tmp_path, manifest)

    assert not {part.source for part in split.calibration} & {part.source for part in split.held_back}
    assert len(split.calibration) + len(split.held_back) == 12
    assert {part.label for part in split.calibration} == {part.label for part in split.held_back} == {"fight", "normal"}
    assert split.by == "source"


def test_the_split_that_a_manifest_gives_is_kept(
    tmp_path: Path, write_clip: Callable[..., Path], manifest: Manifest
) -> None:
    for name in ("a", "b", "c"):
        write_clip(tmp_path / f"{name}.avi", conv_bundle.textures(0, 4))
    rows = ["path,label,source,split", "a.avi,fight,a,train", "b.avi,fight,b,validation", "c.avi,fight,c,test"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))

    split = split_footage(tmp_path, manifest)

    assert [part.name for part in split.calibration] == ["a.avi"]
    assert [part.name for part in split.held_back] == ["b.avi", "c.avi"]


def test_without_a_manifest_videos_are_kept_apart(footage: Path, manifest: Manifest) -> None:
    split = split_footage(footage, manifest)

    assert not {part.path for part in split.calibration} & {part.path for part in split.held_back}
    assert (len(split.calibration), len(split.held_back)) == (6, 2)


def test_a_single_video_is_split_by_time_a_window_apart(
    tmp_path: Path, write_clip: Callable[..., Path], manifest: Manifest
) -> None:
    write_clip(tmp_path / "long.avi", conv_bundle.textures(0, 40))

    split = split_footage(tmp_path, manifest)
    chosen = choose_frames(split.calibration, manifest, 50, silent)
    held = read_windows(split.held_back, manifest, silent)

    assert split.by == "time"
    assert split.held_back[0].start - split.calibration[0].end == pytest.approx(T * 0.1)
    seen = {image.tobytes() for image in chosen.images}
    assert not seen & {image.tobytes() for window in held.windows for image in window.images}
    assert min(window.start for window in held.windows) == pytest.approx(3.0)


def test_a_single_video_that_is_too_short_to_split_is_refused(
    tmp_path: Path, write_clip: Callable[..., Path], manifest: Manifest
) -> None:
    write_clip(tmp_path / "short.avi", conv_bundle.textures(0, 8))

    with pytest.raises(CalibrationError, match="too short to calibrate from one part and judge by another"):
        split_footage(tmp_path, manifest)


def test_footage_without_videos_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(InputError, match="no videos found"):
        split_footage(tmp_path / "empty", manifest)


def test_a_stream_of_any_length_is_thinned_evenly() -> None:
    kept = thinned(range(1000), 8, lambda item: item)

    assert 8 <= len(kept) < 16
    assert len(set(np.diff(kept))) == 1
    assert thinned(range(5), 8, lambda item: item) == [0, 1, 2, 3, 4]


def test_the_farthest_points_come_first_and_near_ones_never() -> None:
    points = np.array([[0.0], [0.001], [1.0], [0.5], [0.501]], np.float32)

    assert farthest(points, 5, near=0.02) == [3, 0, 2]
    assert farthest(points, 2, near=0.02) == [3, 0]


def test_near_duplicates_are_skipped_and_counted(
    tmp_path: Path, write_clip: Callable[..., Path], manifest: Manifest
) -> None:
    still = np.repeat(conv_bundle.textures(3, 1), 20, axis=0)
    for name in ("a", "b"):
        write_clip(tmp_path / f"{name}.avi", still)

    chosen = choose_frames(split_footage(tmp_path, manifest).calibration, manifest, 10, silent)

    assert len(chosen.images) == 1
    assert chosen.near == 19


def test_no_more_candidates_are_held_than_there_is_room_for(
    footage: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = split_footage(footage, manifest).calibration
    monkeypatch.setattr(frames, "NEAR", 0.0)
    monkeypatch.setattr(frames, "POOL_BYTES", 3 * manifest.input.height * manifest.input.width * 4)

    chosen = choose_frames(parts, manifest, 50, silent)

    assert len(parts) == 6
    assert (chosen.clips, len(chosen.images)) == (4, 4)


def test_clips_that_cannot_be_read_are_named_and_the_rest_goes_on(footage: Path, manifest: Manifest) -> None:
    split = split_footage(footage, manifest)
    split.calibration[0].path.write_bytes(b"no video")

    chosen = choose_frames(split.calibration, manifest, 10, silent)

    assert list(chosen.unread) == [split.calibration[0].name]
    assert chosen.clips == 5


def test_windows_have_no_frame_in_common_and_a_short_clip_holds_its_last(
    tmp_path: Path, write_clip: Callable[..., Path], manifest: Manifest
) -> None:
    write_clip(tmp_path / "a" / "long.avi", conv_bundle.textures(0, 13))
    write_clip(tmp_path / "b" / "short.avi", conv_bundle.textures(1, 2))
    split = split_footage(tmp_path, manifest)

    held = read_windows((*split.calibration, *split.held_back), manifest, silent)

    long = [window.start for window in held.windows if window.clip == "a/long.avi"]
    assert long == pytest.approx([0.0, 0.4, 0.8])
    (short,) = (window for window in held.windows if window.clip == "b/short.avi")
    assert short.images.shape[0] == T
    assert (short.images[1] == short.images[3]).all()
    assert (short.images[0] != short.images[1]).any()
