from __future__ import annotations

import numpy as np

from whycam_export.training.augmentation import BRIGHTNESS, Change, augmented

DIGEST = "3f" * 32


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_copy_0_is_the_clip_itself() -> None:
    windows = noise(2, 3, 32, 32, 3)

    assert augmented(windows, DIGEST, 0) is windows


def test_all_frames_of_a_window_change_alike() -> None:
    still = np.repeat(noise(2, 1, 32, 32, 3), 5, axis=1)

    changed = augmented(still, DIGEST, 1)

    assert (changed == changed[:, :1]).all()
    assert (changed != still).any()


def test_the_same_copy_of_the_same_clip_is_always_the_same() -> None:
    windows = noise(2, 3, 32, 32, 3)

    assert (augmented(windows, DIGEST, 1) == augmented(windows, DIGEST, 1)).all()
    assert (augmented(windows, DIGEST, 1) != augmented(windows, DIGEST, 2)).any()
    assert (augmented(windows, DIGEST, 1) != augmented(windows, "4e" * 32, 1)).any()


def test_a_flip_mirrors_left_and_right() -> None:
    window = noise(3, 32, 32, 3)

    changed = Change(brightness=1.0, flip=True, zoom=1.0, x=0.5, y=0.5).apply(window)

    assert (changed == window[:, :, ::-1]).all()


def test_brightness_multiplies_and_does_not_wrap_around() -> None:
    window = np.full((2, 32, 32, 3), 230, np.uint8)

    changed = Change(brightness=max(BRIGHTNESS), flip=False, zoom=1.0, x=0.0, y=0.0).apply(window)

    assert (changed == 255).all()


def test_zoom_enlarges_the_part_it_is_pointed_at() -> None:
    window = np.zeros((1, 40, 40, 3), np.uint8)
    window[:, :20, :20] = 200

    changed = Change(brightness=1.0, flip=False, zoom=2.0, x=0.0, y=0.0).apply(window)

    assert changed.shape == window.shape
    assert (changed == 200).all()
