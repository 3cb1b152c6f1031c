"""Who uses the GPU beside whom: all share, and who records a CUDA graph is alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import gpu_stub
import numpy as np
import pytest
from gpu_stub import CPU, CUDA
from tiny_bundle import SIZE

from whycam.bundle import Bundle
from whycam.cuda.turns import TURNS, Turns
from whycam.detect import sessions
from whycam.detect.graphs import features_spec
from whycam.detect.opening import open_graph
from whycam.detect.placement import recorded_as
from whycam.detect.sessions import Graph

LONG = 30
"""Seconds that nothing here takes, but for what waits for ever."""


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


@contextmanager
def turn_elsewhere(turns: Turns) -> Iterator[None]:
    """Another thread has a turn that it shares."""
    held, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.shared():
            held.set()
            ended.wait(LONG)

    thread = in_thread(hold)
    assert held.wait(LONG)
    yield
    ended.set()
    thread.join(LONG)
    assert not thread.is_alive()


def alone(turns: Turns) -> bool:
    with turns.alone() as granted, turns.shared():
        return granted


def test_nobody_is_alone_beside_others_nor_waits_for_them() -> None:
    turns = Turns()
    with turn_elsewhere(turns), turn_elsewhere(turns):
        assert not alone(turns)
        with turns.shared():
            pass
    assert alone(turns)


def test_others_wait_for_who_is_alone() -> None:
    turns = Turns()
    order: list[str] = []

    def share() -> None:
        with turns.shared():
            order.append("shared")

    def ask() -> None:
        with turns.alone() as granted:
            order.append(f"alone: {granted}")

    with turns.alone() as granted:
        assert granted
        threads = [in_thread(share), in_thread(ask)]
        for thread in threads:
            thread.join(0.3)
        order.append("left")
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert order[0] == "left"
    assert sorted(order[1:]) == ["alone: False", "shared"]


def test_what_a_garbage_collection_ends_while_a_turn_is_taken_or_left_may_share() -> None:
    turns = Turns()

    def collect(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_name != "alone":
            return None
        if event == "line":
            with turns.shared():
                pass
        return collect

    def ask() -> None:
        sys.settrace(collect)
        with turns.alone():
            pass
        sys.settrace(None)

    thread = in_thread(ask)
    thread.join(LONG)
    assert not thread.is_alive()


def test_a_turn_that_failed_is_over() -> None:
    turns = Turns()
    for turn in (turns.shared, turns.alone):
        with pytest.raises(KeyError), turn():
            raise KeyError
    assert alone(turns)


@pytest.fixture
def graph(built_bundle: Path, gpu: gpu_stub.Device) -> Graph:
    """One that is recorded, as the step is."""
    bundle = Bundle.open(built_bundle)
    return open_graph(bundle, features_spec(bundle.manifest, "features.onnx"), [CUDA, CPU], fixed_addresses=True)


def test_a_run_is_recorded_while_nobody_else_uses_the_gpu_once_in_each_thread(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[int | None] = []

    def noted(number: int | None) -> object:
        recorded.append(number)
        return recorded_as(number)

    monkeypatch.setattr(sessions, "recorded_as", noted)

    def run(number: int | None) -> int | None:
        graph.fill({}, {"frames": np.zeros((1, SIZE, SIZE, 3), np.uint8)}, number)
        return recorded[-1]

    def run_elsewhere(number: int) -> int | None:
        thread = in_thread(lambda: run(number))
        thread.join(LONG)
        return recorded[-1]

    assert run(None) is None
    with turn_elsewhere(TURNS):
        assert run(1) is None
    assert run(1) == 1
    with turn_elsewhere(TURNS):
        # It is replayed: nothing is recorded any more.
        assert run(1) == 1
        assert run(2) is None
        assert run_elsewhere(1) is None
    assert run_elsewhere(1) == 1
