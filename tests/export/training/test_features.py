from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from whycam.errors import SourceError
from whycam_export.training.feature_cache import FeatureCache
from whycam_export.training.features import FeatureReader, FrozenBackbone
from whycam_export.training.network import preprocess, vgg19
from whycam_export.training.windows import Sampling, read_windows

SAMPLING = Sampling(frames=4, frame_interval=0.1, size=(64, 64))


@pytest.fixture
def clip(tmp_path: Path, write_clip: Callable[..., Path], brightening: Callable[[float, float], np.ndarray]) -> Path:
    return write_clip(tmp_path / "clip.mp4", brightening(0.7, 20), 20)


@pytest.fixture
def reader(tmp_path: Path) -> Callable[..., FeatureReader]:
    def make(backbone: object, fine_tune: str = "none", sampling: Sampling = SAMPLING) -> FeatureReader:
        return FeatureReader(FrozenBackbone(backbone, fine_tune), sampling, FeatureCache(tmp_path / "cache"))

    return make


def test_features_are_what_the_backbone_gives_for_the_clips_windows(
    clip: Path, reader: Callable[..., FeatureReader]
) -> None:
    backbone = vgg19(64, 0.05)

    features = reader(backbone).read(clip)

    windows = read_windows(clip, SAMPLING).frames
    expected = np.stack([backbone.predict_on_batch(preprocess(window)) for window in windows])
    assert features.values.shape == (len(windows), 4, 2, 2, 26)
    assert features.values == pytest.approx(expected)


def test_a_clip_is_computed_once(clip: Path, reader: Callable[..., FeatureReader]) -> None:
    backbone = vgg19(64, 0.05)
    first, second = reader(backbone), reader(backbone)

    stored, found = first.read(clip), second.read(clip)

    assert (first.computed, second.computed) == (1, 0)
    assert (stored.values == found.values).all()


def test_a_renamed_clip_is_found_by_its_content(clip: Path, reader: Callable[..., FeatureReader]) -> None:
    backbone = vgg19(64, 0.05)
    reader(backbone).read(clip)
    again = reader(backbone)

    again.read(clip.rename(clip.with_name("renamed.mp4")))

    assert again.computed == 0


@pytest.mark.parametrize("change", ["weights", "sampling", "copy", "content"])
def test_whatever_changes_the_features_has_them_computed_anew(
    clip: Path,
    reader: Callable[..., FeatureReader],
    write_clip: Callable[..., Path],
    brightening: Callable[[float, float], np.ndarray],
    change: str,
) -> None:
    backbone = vgg19(64, 0.05)
    reader(backbone).read(clip)
    if change == "weights":
        backbone.get_layer("block5_conv4").set_weights(vgg19(64, 0.05).get_layer("block5_conv4").get_weights())
    if change == "content":
        write_clip(clip, brightening(0.8, 20), 20)
    again = reader(backbone, sampling=Sampling(4, 0.05, (64, 64)) if change == "sampling" else SAMPLING)

    again.read(clip, copy=1 if change == "copy" else 0)

    assert again.computed == 1


def test_the_features_of_a_deeper_cut_are_larger_maps(clip: Path, reader: Callable[..., FeatureReader]) -> None:
    assert reader(vgg19(64, 0.05), "block5").read(clip).values.shape[1:] == (4, 4, 4, 26)


def test_where_nothing_is_frozen_frames_are_kept(clip: Path, reader: Callable[..., FeatureReader]) -> None:
    features = reader(vgg19(64, 0.05), "all").read(clip)

    assert features.values.dtype == np.uint8
    assert (features.values == read_windows(clip, SAMPLING).frames).all()


def test_a_broken_clip_leaves_nothing_in_the_cache(tmp_path: Path, reader: Callable[..., FeatureReader]) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)

    with pytest.raises(SourceError, match=r"broken\.mp4"):
        reader(vgg19(64, 0.05)).read(tmp_path / "broken.mp4")

    assert list((tmp_path / "cache").iterdir()) == []
