"""What a camera shows, in numbers that move for a reason of their own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from whycam.bundle import Manifest
from whycam.drift.signs import lean_of, look_of, novelty


@pytest.fixture
def scene() -> np.ndarray:
    """A picture with edges and textures, 112 x 112."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(
        rng.integers(40, 200, (14, 14, 3)).astype(np.uint8), (112, 112), interpolation=cv2.INTER_NEAREST
    )
    cv2.rectangle(picture, (60, 20), (100, 90), (230, 230, 230), -1)
    return np.asarray(picture)


def test_darkness_moves_brightness_and_leaves_the_edges_where_they_are(scene: np.ndarray) -> None:
    dark = (scene * 0.25).astype(np.uint8)
    before, after = look_of(scene), look_of(dark)
    assert after.tones[0] - before.tones[0] == pytest.approx(-2, abs=0.1)
    assert abs(after.tones[2] - before.tones[2]) < 0.3, "sharpness is seen against the contrast that is left"
    assert np.abs(after.edges - before.edges).max() < 0.2


def test_blur_moves_sharpness_most(scene: np.ndarray) -> None:
    before, after = look_of(scene), look_of(cv2.GaussianBlur(scene, (0, 0), 2))
    assert after.tones[2] - before.tones[2] < -2
    assert abs(after.tones[0] - before.tones[0]) < 0.05


def test_a_camera_that_moved_has_its_edges_elsewhere_and_its_tones_as_they_were(scene: np.ndarray) -> None:
    before, after = look_of(scene), look_of(np.roll(scene, 12, axis=1))
    assert np.abs(after.tones - before.tones).max() < 0.1
    assert np.abs(after.edges - before.edges).max() > 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (112, 112)])
@pytest.mark.parametrize("value", [0, 255])
def test_plain_pictures_of_any_size_have_finite_signs(shape: tuple[int, int], value: int) -> None:
    look = look_of(np.full((*shape, 3), value, np.uint8))
    assert np.isfinite(look.tones).all()
    assert look.edges == pytest.approx(1)


def test_what_is_far_out_in_a_few_places_counts_less_than_a_little_everywhere() -> None:
    usual, spread = np.zeros(100, np.float32), np.ones(100, np.float32)
    passer_by = usual.copy()
    passer_by[:5] = 50
    everywhere = usual + 3
    assert novelty(passer_by, usual, spread) < novelty(everywhere, usual, spread)
    assert novelty(usual, usual, spread) == 0


def test_temperature_does_not_change_which_way_the_model_leans(manifest: Manifest) -> None:
    logits = np.array([2.0, -1.0, 0.5])

    def scores(temperature: float) -> dict[str, float]:
        powers = np.exp(logits / temperature)
        return dict(zip(manifest.classes, powers / powers.sum(), strict=True))

    for temperature in (0.5, 1.0, 3.0):
        warmer = manifest.model_copy(update={"temperature": temperature})
        assert lean_of(scores(temperature), warmer) == pytest.approx(0.5 - 2.0)


def test_a_score_of_nought_is_no_infinity(manifest: Manifest) -> None:
    assert np.isfinite(lean_of(dict(zip(manifest.classes, (0.0, 0.0, 1.0), strict=True)), manifest))
