"""The motion gate on generated scenes: what it holds, and that it misses no anomaly."""

from __future__ import annotations

import numpy as np
import pytest

from whycam.alerts.motion import MotionGate
from whycam.config.models import Motion
from whycam.detect.resize import resize
from whycam_export.demo.scenes import CLASSES, NORMAL, make_scene

ANOMALIES = [name for name in CLASSES if name != NORMAL]
INTERVAL, BEFORE, LASTS = 0.1, 1.0, 1.5


@pytest.mark.parametrize("label", ANOMALIES)
@pytest.mark.parametrize("seed", range(200_000, 200_003))
def test_an_anomaly_is_let_through_from_its_first_sample_on(label: str, seed: int) -> None:
    scene = make_scene(seed, label, duration=BEFORE + LASTS, onset=BEFORE)
    # Without the refresh, which would let pictures through in any case.
    gate = MotionGate(Motion().threshold, 1e9)
    times = np.arange(0, BEFORE + LASTS, INTERVAL) + 1e-6
    still = [gate.still(resize(scene.frame(time)[0], 112, 112), time) for time in times]

    event = still[round(BEFORE / INTERVAL) :]
    assert not event[0]
    longest = max(len(run) for run in "".join("-" if held else " " for held in event).split(" "))
    assert longest <= 3
    assert sum(event) < len(event) / 2


def test_a_scene_without_people_is_held() -> None:
    scene = make_scene(3, NORMAL, 2.0)
    gate = MotionGate(Motion().threshold, 1e9)
    bare = scene.backdrop.picture
    times = np.arange(0, 2, INTERVAL)
    still = [gate.still(resize(scene.lens.expose(bare, time), 112, 112), time) for time in times]

    # The camera's exposure wanders a little.
    assert still.count(False) <= 3
