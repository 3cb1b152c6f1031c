"""Blocks one after the other: when a drift begins, when it ends, and what does not count."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tests.runtime.drift.usual import BLUE, SECONDS, baseline
from whycam.bundle import Manifest
from whycam.detect.ring import Sample
from whycam.drift import BlockMeans, DriftMonitor, DriftReport

SCORES = {"normal": 0.9998, "fight": 0.0001, "fire": 0.0001}
USUAL = {"mean": np.array([math.log2(0.114 * 255 + 1), 0, 0, 0, 0, math.log(0.0001 / 0.9998)])}
INTERVAL = 0.1


class Stream:
    """Pushes samples of plain pictures, a tenth of a second apart."""

    def __init__(self, manifest: Manifest, monitor: DriftMonitor | None = None) -> None:
        self.monitor = DriftMonitor(baseline(**USUAL), manifest) if monitor is None else monitor
        self.time = 0.0

    def sample(self, blue: int) -> Sample:
        self.time += INTERVAL
        image = np.full_like(BLUE, (blue, 0, 0))
        return Sample(np.array([(blue / 255) ** 2, 0, 0], np.float32), (), image, self.time)

    def show(self, blue: int, blocks: float) -> list[DriftReport]:
        """The reports of so many blocks of this blue."""
        pushed = [self.monitor.push(self.sample(blue), SCORES) for _ in range(round(blocks * SECONDS / INTERVAL))]
        return [report for report in pushed if report is not None]


def test_blocks_in_a_row_make_a_drift_and_blocks_in_a_row_end_it(manifest: Manifest) -> None:
    stream = Stream(manifest)
    usual = stream.show(255, 3)
    assert [report.drifted for report in usual] == [None, False, False]
    assert [report.changed for report in usual] == [False, True, False]
    assert all(report.statistic < 0.1 and not report.signs for report in usual)

    dark = stream.show(60, 3)
    assert [report.drifted for report in dark] == [False, True, True]
    assert [report.changed for report in dark] == [False, True, False]
    assert dark[1].since == pytest.approx(usual[-1].time + INTERVAL), "since the first block of the row"
    assert dark[1].statistic > 1
    assert dark[1].signs[0].says == "darker"
    assert dark[1].signs[0].deviation < -dark[1].signs[0].limit

    again = stream.show(255, 2)
    assert [report.drifted for report in again] == [True, False]
    assert again[1].since is None


def test_what_comes_and_goes_is_no_drift(manifest: Manifest) -> None:
    stream = Stream(manifest)
    stream.show(255, 2)
    assert not any(report.drifted for blue in (60, 255, 60, 255) for report in stream.show(blue, 1))


def test_the_signs_that_are_farthest_out_come_first(manifest: Manifest) -> None:
    report = Stream(manifest).show(10, 2)[-1]
    shares = [abs(sign.deviation) / sign.limit for sign in report.signs]
    assert shares == sorted(shares, reverse=True)
    assert {"darker", "another scene"} <= {sign.says for sign in report.signs}


def test_a_picture_nearer_to_the_usual_than_usual_is_no_drift(manifest: Manifest) -> None:
    far = baseline(mean=np.array([*USUAL["mean"][:3], 5.0, 5.0, USUAL["mean"][5]]))
    assert Stream(manifest, DriftMonitor(far, manifest)).show(255, 2)[-1].drifted is False


def test_a_gap_cuts_a_block(manifest: Manifest) -> None:
    stream = Stream(manifest)
    assert stream.show(255, 0.75) == []
    stream.time += 10
    assert stream.show(255, 0.75) == [], "the three samples before the gap are forgotten"
    assert len(stream.show(255, 0.25)) == 1


def test_a_cold_window_cuts_a_block(manifest: Manifest) -> None:
    stream = Stream(manifest)
    stream.show(255, 0.75)
    stream.monitor.cut()
    assert stream.show(255, 0.75) == []


def test_a_model_that_gives_no_numbers_says_nothing(manifest: Manifest) -> None:
    stream = Stream(manifest)
    for _ in range(8):
        broken = replace(stream.sample(255), features=np.full(3, np.nan, np.float32))
        assert stream.monitor.push(broken, SCORES) is None


def test_held_features_count_for_their_time_but_a_block_waits_for_computed_ones(manifest: Manifest) -> None:
    means = BlockMeans(1.0, manifest)
    stream = Stream(manifest)
    held = stream.sample(255)
    blocks = []
    for index in range(24):
        # The gate computes anew at every third sample, and the scene is another for the last of them.
        fresh = stream.sample(0 if index >= 12 else 255)
        held = fresh if index % 3 == 0 else replace(held, image=fresh.image, time=fresh.time)
        blocks.append(means.push(held, SCORES))
    ended = [index for index, block in enumerate(blocks) if block is not None]
    assert ended == [21], "eight computed samples"
    block = blocks[21]
    assert block is not None
    assert block.features[0] == pytest.approx(12 / 22, abs=0.01), "the mean is over time, not over what was computed"
    assert (block.start, block.end) == (pytest.approx(0.2), pytest.approx(2.3))


def test_memory_does_not_grow(manifest: Manifest) -> None:
    stream = Stream(manifest)
    stream.show(255, 5)
    tracemalloc.start()
    stream.show(255, 5)
    before = tracemalloc.get_traced_memory()[0]
    stream.show(255, 200)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000, "800 samples that were kept would be 400 kB"
