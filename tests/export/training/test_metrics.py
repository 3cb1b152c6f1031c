from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whycam.clips import Clip
from whycam_export.training.features import Example
from whycam_export.training.metrics import ClipScores, summary

CLASSES = ("fight", "fire", "normal")


def scored(rows: list[tuple[str, int, tuple[float, float, float]]]) -> ClipScores:
    """Windows as (clip, label, scores)."""
    examples = [Example(np.zeros(1), label, Clip(Path(name), CLASSES[label], name)) for name, label, _ in rows]
    return ClipScores.of(examples, np.array([scores for _, _, scores in rows], dtype=np.float32))


def test_a_clips_score_is_the_mean_over_its_windows() -> None:
    result = scored([("a", 0, (0.9, 0.1, 0.0)), ("b", 2, (0.0, 0.0, 1.0)), ("a", 0, (0.1, 0.1, 0.8))])

    assert [clip.path.name for clip in result.clips] == ["a", "b"]
    assert result.scores == pytest.approx(np.array([[0.5, 0.1, 0.4], [0.0, 0.0, 1.0]]), abs=1e-6)
    assert result.windows == 3


def test_figures_are_by_clip() -> None:
    figures = summary(
        scored(
            [
                ("a", 0, (0.9, 0.1, 0.0)),
                ("b", 0, (0.2, 0.1, 0.7)),
                ("c", 1, (0.6, 0.3, 0.1)),
                ("d", 2, (0.1, 0.1, 0.8)),
            ]
        ),
        CLASSES,
        "normal",
    )

    assert figures["clips"] == 4
    assert figures["accuracy"] == 0.5
    assert figures["recall"] == {"fight": 0.5, "fire": 0.0, "normal": 1.0}
    assert figures["confusion"] == [[1, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert figures["anomaly_auc"] == 1.0
    assert figures["auc"]["fight"] == 0.75


def test_a_class_without_clips_has_no_figures() -> None:
    figures = summary(scored([("a", 0, (0.9, 0.1, 0.0)), ("d", 2, (0.1, 0.1, 0.8))]), CLASSES, "normal")

    assert figures["recall"]["fire"] is None
    assert figures["auc"]["fire"] is None
