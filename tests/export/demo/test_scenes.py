"""Generated scenes: the same for the same seed, and their truth agrees with their pictures."""

from __future__ import annotations

import numpy as np
import pytest

from whycam_export.demo.footage import plan
from whycam_export.demo.run import Plan
from whycam_export.demo.scenes import CLASSES, HEIGHT, NORMAL, WIDTH, make_scene, render

ANOMALIES = [name for name in CLASSES if name != NORMAL]


def test_a_seed_gives_the_same_clip_each_time() -> None:
    first, second = (render(make_scene(5, "fight", 2.0, 1.0), 5.0) for _ in range(2))

    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.masks, second.masks)


def test_a_frame_does_not_depend_on_the_frames_drawn_before_it() -> None:
    scene = make_scene(6, "fire", 2.0, 1.0)
    alone, _ = scene.frame(1.6)

    for time in (0.2, 1.1, 1.9):
        scene.frame(time)

    np.testing.assert_array_equal(scene.frame(1.6)[0], alone)


def test_other_seeds_give_other_backgrounds() -> None:
    frames = [make_scene(seed, NORMAL).frame(0.0)[0].astype(int) for seed in range(4)]

    differences = [np.abs(a - b).mean() for i, a in enumerate(frames) for b in frames[:i]]

    assert min(differences) > 10


def test_the_camera_and_the_background_do_not_move() -> None:
    clip = render(make_scene(7, NORMAL, 2.0, 1.0), 5.0)

    still = np.abs(clip.frames[1:].astype(int) - clip.frames[:1].astype(int)).mean(axis=3) < 40

    assert still.mean() > 0.75


@pytest.mark.parametrize("label", CLASSES)
def test_a_clip_has_the_documented_shapes(label: str) -> None:
    clip = render(make_scene(8, label, 1.0, 0.5), 10.0)

    assert clip.frames.shape == (10, HEIGHT, WIDTH, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.masks.shape == (10, HEIGHT, WIDTH)
    assert clip.masks.dtype == np.bool_
    assert clip.times.tolist() == pytest.approx([i / 10 for i in range(10)])


@pytest.mark.parametrize("label", ANOMALIES)
@pytest.mark.parametrize("seed", range(20, 24))
def test_the_mask_is_there_from_the_onset_on_and_not_before(label: str, seed: int) -> None:
    clip = render(make_scene(seed, label, 3.0, 1.5), 10.0)

    shown = clip.masks.any(axis=(1, 2))

    assert (clip.t0, clip.t1) == (1.5, 3.0)
    assert not shown[clip.times < clip.t0].any()
    assert shown[clip.times >= clip.t0].all()


@pytest.mark.parametrize("label", ANOMALIES)
def test_the_mask_covers_a_small_part_of_the_frame(label: str) -> None:
    for seed in range(30, 36):
        _, mask = make_scene(seed, label).frame(5.0)

        assert 0.003 < mask.mean() < 0.35


def test_a_normal_scene_has_no_mask_and_no_range() -> None:
    clip = render(make_scene(9, NORMAL, 2.0, 1.0), 5.0)

    assert not clip.masks.any()
    assert (clip.label, clip.t0, clip.t1) == (NORMAL, 0.0, 0.0)


def test_what_comes_before_the_event_is_a_normal_clip() -> None:
    clip = render(make_scene(10, "shooting", 3.0, 1.5), 10.0, end=1.5)

    assert clip.label == NORMAL
    assert not clip.masks.any()


def test_flames_are_bright_and_warm_where_the_mask_is() -> None:
    for seed in range(40, 46):
        scene = make_scene(seed, "fire")
        before, _ = scene.frame(2.9)
        frame, mask = scene.frame(5.0)

        redder = (frame[..., 2].astype(int) - frame[..., 0]) - (before[..., 2].astype(int) - before[..., 0])

        assert redder[mask].mean() > redder[~mask].mean() + 30


def test_a_fight_moves_more_than_everyday_life_does() -> None:
    def motion(label: str, seed: int) -> float:
        clip = render(make_scene(seed, label, 5.0, 2.0), 10.0, begin=2.5)
        steps = np.abs(np.diff(clip.frames.astype(int), axis=0)).mean(axis=3)
        return float((steps > 40).mean())

    fights = [motion("fight", seed) for seed in range(50, 56)]
    everyday = [motion(NORMAL, seed) for seed in range(50, 56)]

    assert np.median(fights) > np.median(everyday)


def test_an_unknown_class_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'flood' is none of normal, fight, fire, shooting"):
        make_scene(1, "flood")


def test_splits_never_share_a_scene(tmp_path) -> None:
    for seed in (0, 1, 89):
        demo = Plan(tmp_path, seed)
        seeds = [shoot.seed for split in ("train", "validation", "test") for shoot in demo.shoots(split)]

        assert len(set(seeds)) == len(seeds)
        assert max(seeds) < 900_000


def test_two_demos_of_other_seeds_share_no_scene(tmp_path) -> None:
    first, second = (
        {shoot.seed for split in ("train", "validation", "test") for shoot in Plan(tmp_path, seed).shoots(split)}
        for seed in (0, 1)
    )

    assert not first & second


def test_every_class_gets_as_many_scenes() -> None:
    labels = [shoot.label for shoot in plan("test", 0, 3, 6.0, (2.0, 3.0))]

    assert {name: labels.count(name) for name in CLASSES} == dict.fromkeys(CLASSES, 3)
