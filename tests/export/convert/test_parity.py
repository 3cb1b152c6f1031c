"""What the proof takes for rounding, and what not."""

from __future__ import annotations

import math

import pytest

from whycam.bundle.manifest import Parity
from whycam_export.convert import parity
from whycam_export.errors import ModelError

EXACT = Parity(frames=4, features=1e-6, scores=1e-6, heatmaps=1e-5)


def found(**figures: float) -> Parity:
    return EXACT.model_copy(update=figures)


def test_graphs_that_agree_pass() -> None:
    parity.check(EXACT)


@pytest.mark.parametrize(
    ("name", "error"), [("features", 2e-4), ("scores", 2e-4), ("heatmaps", 2e-3), ("pixels", 2e-2)]
)
def test_graphs_that_disagree_are_refused_by_the_figure(name: str, error: float) -> None:
    with pytest.raises(ModelError, match=f"{name} by 2.0e-0"):
        parity.check(found(**{name: error}))


def test_a_network_that_amplifies_rounding_is_measured_by_how_far_keras_itself_moves() -> None:
    parity.check(found(heatmaps=1.3e-2, heatmaps_rounding=1.3e-2, features=2e-4, features_rounding=7e-5))


def test_more_than_rounding_explains_is_refused() -> None:
    with pytest.raises(ModelError, match=r"heatmaps by 1.3e-02, tolerated is 4e-03"):
        parity.check(found(heatmaps=1.3e-2, heatmaps_rounding=1e-3))


def test_no_rounding_excuses_maps_that_are_another_picture() -> None:
    with pytest.raises(ModelError, match=r"heatmaps by 1.0e-01, tolerated is 5e-02"):
        parity.check(found(heatmaps=0.1, heatmaps_rounding=0.5))


def test_only_figures_that_are_no_numbers_ask_after_the_weights() -> None:
    with pytest.raises(ModelError, match=r"Are the model's weights finite\?"):
        parity.check(found(features=math.nan))
    with pytest.raises(ModelError, match=r"nothing was written$"):
        parity.check(found(features=1.0))
