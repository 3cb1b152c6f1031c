from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from whycam.errors import SourceError
from whycam_export.training.windows import Sampling, read_windows

Brightening = Callable[[float, float], np.ndarray]


def seconds_shown(frames: np.ndarray) -> np.ndarray:
    """When the frames [n, H, W, 3] of a `brightening` clip were taken, after the first of them."""
    levels = frames.mean(axis=(-3, -2, -1))
    return (levels - levels[0]) / 60


@pytest.mark.parametrize("fps", [10, 12, 18, 24, 25, 29.97, 30, 60])
def test_windows_are_sampled_by_time_whatever_the_frame_rate(
    tmp_path: Path, write_clip: Callable[..., Path], brightening: Brightening, fps: float
) -> None:
    path = write_clip(tmp_path / "clip.mp4", brightening(2.2, fps), fps)

    windows = read_windows(path, Sampling(frames=20, frame_interval=0.1, size=(32, 32)))

    assert windows.frames.shape == (1, 20, 32, 32, 3)
    assert not windows.padded
    late = seconds_shown(windows.frames[0]) - 0.1 * np.arange(20)
    assert late.min() > -0.05
    assert late.max() < 1 / fps + 0.05


def test_a_long_clip_gives_a_window_every_half_window(
    tmp_path: Path, write_clip: Callable[..., Path], brightening: Brightening
) -> None:
    path = write_clip(tmp_path / "clip.mp4", brightening(3.0, 20), 20)

    windows = read_windows(path, Sampling(frames=10, frame_interval=0.1, size=(32, 32)))

    assert seconds_shown(windows.frames[:, 0]) == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0], abs=0.04)


def test_a_clip_too_short_for_a_window_holds_its_last_frame(
    tmp_path: Path, write_clip: Callable[..., Path], brightening: Brightening
) -> None:
    path = write_clip(tmp_path / "clip.mp4", brightening(0.6, 20), 20)

    windows = read_windows(path, Sampling(frames=10, frame_interval=0.1, size=(32, 32)))

    assert windows.padded
    assert windows.frames.shape[0] == 1
    assert (windows.frames[0, 6:] == windows.frames[0, 5]).all()
    assert (windows.frames[0, 5] != windows.frames[0, 4]).any()


def test_a_clip_slower_than_the_windows_repeats_frames(
    tmp_path: Path, write_clip: Callable[..., Path], brightening: Brightening
) -> None:
    path = write_clip(tmp_path / "clip.mp4", brightening(2.0, 5), 5)

    windows = read_windows(path, Sampling(frames=10, frame_interval=0.1, size=(32, 32)))

    assert len(np.unique(windows.frames[0], axis=0)) <= 6


def test_frames_have_the_models_size(tmp_path: Path, write_clip: Callable[..., Path]) -> None:
    path = write_clip(tmp_path / "clip.mp4", np.full((12, 48, 96, 3), 90, np.uint8), 10)

    windows = read_windows(path, Sampling(frames=4, frame_interval=0.1, size=(40, 32)))

    assert windows.frames.shape[1:] == (4, 40, 32, 3)
    assert windows.frames.dtype == np.uint8


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video" * 100)

    with pytest.raises(SourceError, match=r"broken\.mp4"):
        read_windows(path, Sampling(frames=4, frame_interval=0.1, size=(32, 32)))
