"""Which windows are measured on; T is 4, one frame each 0.1 s."""

from pathlib import Path

import numpy as np
import pytest

from tests.export.evaluation.fire_clips import GREEN, Scene, write
from tests.runtime import tiny_bundle
from whycam.bundle import Bundle
from whycam.detect.model import Model
from whycam_export.evaluation.cases import ClipCases, choose_cases, move_event, spread
from whycam_export.evaluation.footage import read_footage
from whycam_export.evaluation.network import Network
from whycam_export.evaluation.truth import find_truths

T = tiny_bundle.T


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return Network(Model(Bundle.open(tiny_bundle.build(tmp_path_factory.mktemp("bundle") / "colours.whycam"))))


def cases_of(
    scene: Scene, folder: Path, network: Network, count: int = 2, truth: bool = True, memory: int = 0
) -> ClipCases:
    clips = write(folder, scene, truth=truth)
    path = clips / scene.label / f"{scene.name}.mp4"
    footage = read_footage(path, network.model.manifest)
    return choose_cases(
        scene.name, scene.label, footage, find_truths(clips).of(path, footage.all_times), network, count, memory
    )


def test_windows_are_spread_over_those_there_are() -> None:
    windows = np.arange(10)[:, None]
    assert spread(windows, 2)[:, 0].tolist() == [2, 7]
    assert spread(windows, 1)[:, 0].tolist() == [5]
    assert spread(windows[:1], 3)[:, 0].tolist() == [0]
    assert spread(windows[:0], 3).tolist() == []


def test_windows_shown_have_the_anomaly_through_their_newer_half(tmp_path: Path, network: Network) -> None:
    found = cases_of(Scene("one"), tmp_path, network, count=100)
    assert len(found.shown) == 11
    for case in found.shown:
        assert case.inside is not None
        assert case.inside[T // 2 :].all()
        assert case.masks is not None
        assert case.masks.any(axis=(1, 2)).tolist() == case.inside.tolist()


def test_mixed_windows_have_frames_of_both_kinds(tmp_path: Path, network: Network) -> None:
    found = cases_of(Scene("one"), tmp_path, network, count=100)
    assert [case.inside.sum() for case in found.mixed if case.inside is not None] == [1, 2, 3]


def test_windows_that_are_decided_wrongly_do_not_count(tmp_path: Path, network: Network) -> None:
    assert cases_of(Scene("a fight in truth", colour=GREEN), tmp_path, network) == ClipCases()


def test_without_truth_every_window_labelled_as_the_clip_is_shows_the_anomaly(tmp_path: Path, network: Network) -> None:
    found = cases_of(Scene("one"), tmp_path, network, count=100, truth=False)
    assert len(found.shown) == 12
    assert all(case.inside is None and case.masks is None for case in found.shown)
    assert (found.mixed, found.moved) == ((), ())


def test_frames_before_a_window_are_kept_as_far_as_asked(tmp_path: Path, network: Network) -> None:
    cases = cases_of(Scene("one", onset=2), tmp_path, network, count=100, memory=5).shown
    starts = [round(float(case.times[0]) * 10) for case in cases]
    assert starts[:3] == [0, 1, 2]
    assert [len(case.before) for case in cases] == [min(start, 5) for start in starts]
    assert (cases[-1].before[-1] != cases[-1].images[0]).mean() < 0.1


def test_an_event_is_moved_through_the_calm_before_it() -> None:
    inside = np.arange(24) >= 12
    start, middle, end = move_event(inside, np.arange(14, 20), frames=6)
    assert start.tolist() == [18, 19, 8, 9, 10, 11]
    assert middle.tolist() == [8, 9, 18, 19, 10, 11]
    assert end.tolist() == [8, 9, 10, 11, 18, 19]


def test_an_event_without_calm_before_it_is_not_moved() -> None:
    assert move_event(np.arange(24) >= 3, np.arange(14, 20), frames=6) == []


def test_a_clip_shorter_than_a_window_holds_its_last_frame(tmp_path: Path, network: Network) -> None:
    found = cases_of(Scene("short", onset=0, frames=2), tmp_path, network, truth=False)
    assert [case.times.tolist() for case in found.shown] == [[0.0, 0.1, 0.1, 0.1]]
