"""Scenes on disk: what a trainer and a detector read back is what was drawn."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import whycam
from whycam.clips import read_clips
from whycam_export.demo.footage import Shoot, film, plan, read_truth, write_clip, write_manifest
from whycam_export.demo.scenes import CLASSES, NORMAL, make_scene, render


def test_a_clip_is_read_back_with_its_time_stamps_and_its_pictures(tmp_path) -> None:
    clip = render(make_scene(3, "fight", 2.0, 1.0), 12.5)
    write_clip(clip, tmp_path / "fight.mp4")

    frames = list(whycam.open_source(tmp_path / "fight.mp4"))

    assert [frame.time for frame in frames] == pytest.approx(clip.times.tolist(), abs=0.002)
    errors = [np.abs(frame.image.astype(int) - drawn).mean() for frame, drawn in zip(frames, clip.frames, strict=True)]
    assert max(errors) < 12


def test_the_truth_is_read_back(tmp_path) -> None:
    clip = render(make_scene(3, "fire", 2.0, 1.0), 10.0)
    write_clip(clip, tmp_path / "fire.mp4")

    truth = read_truth(tmp_path / "fire.mp4")

    assert (truth.label, truth.t0, truth.t1) == ("fire", 1.0, 2.0)
    np.testing.assert_array_equal(truth.masks, clip.masks)
    np.testing.assert_array_equal(truth.mask_at(1.52), clip.masks[15])


def test_a_clip_without_its_truth_is_named(tmp_path) -> None:
    with pytest.raises(whycam.InputError, match=r"lost\.truth\.npz: the clip's truth is missing"):
        read_truth(tmp_path / "lost.mp4")


def test_for_training_a_scene_with_an_event_gives_a_clip_of_each_label(tmp_path) -> None:
    shoots = [Shoot(70 + k, label, "train", 2.0, 1.0) for k, label in enumerate(CLASSES)]
    for _ in film(shoots, tmp_path, lead=0.4):
        pass
    write_manifest(tmp_path, shoots)

    labels: dict[str, set[str]] = {}
    for clip in read_clips(tmp_path):
        labels.setdefault(clip.source, set()).add(clip.label)

    assert labels == {f"scene-{70 + k}": {NORMAL, label} for k, label in enumerate(CLASSES)}


def test_a_test_scene_gives_one_clip_of_the_whole(tmp_path) -> None:
    shoots = plan("test", 80, 1, 1.0, (0.4, 0.6))
    for _ in film(shoots, tmp_path, lead=None):
        pass
    write_manifest(tmp_path, shoots)

    with (tmp_path / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["label"] for row in rows] == list(CLASSES)
    assert {row["split"] for row in rows} == {"test"}
    assert all(read_truth(tmp_path / row["path"]).times[-1] > 0.85 for row in rows)
