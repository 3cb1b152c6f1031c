"""Opens models as the service does, lets them score, and times them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from whycam.bench.cameras import decide_together
from whycam.bench.stages import warm_detector
from whycam.bench.timing import Spread
from whycam.bundle import Bundle
from whycam.deployment.self_test import self_test
from whycam.detect import Model
from whycam.errors import WhycamError

_HEIGHT, _WIDTH = 720, 1280
"""Of the pictures that are scored: a usual camera's."""
_ROUNDS = 20
_ROUND_SHARE = 0.15


def try_models(
    models: Sequence[dict[str, Any]], threads: int | None, seconds: float, *, alone: bool
) -> Iterator[dict[str, Any]]:
    """Whether each of `models` (`bundle`, `precision`, `providers`, `cameras`) computes what it should.

    And where no service runs beside it (`alone`): the seconds in which a frame of each of its cameras is scored.
    """
    if not alone:
        os.nice(10)
    share = seconds / max(len(models), 1)
    for index, wanted in enumerate(models):
        try:
            tested = self_test(Bundle.open(wanted["bundle"]), wanted["precision"], wanted["providers"], threads)
            told = {"problem": None, "test": tested.as_dict(), "told": ", ".join(tested.problems)}
        except WhycamError as error:
            told = {"problem": " ".join(str(error).split())}
        yield {"model": index, "kind": "self_test", **told}
        if alone and wanted["cameras"] and (told["problem"] is None or "so that nothing tells" in str(told["problem"])):
            yield {"model": index, "kind": "speed", **_timed(wanted, threads, share)}


def _timed(wanted: dict[str, Any], threads: int | None, seconds: float) -> dict[str, Any]:
    model = Model(Bundle.open(wanted["bundle"]), wanted["precision"], wanted["providers"], threads)
    return {"providers": list(model.providers), "seconds": _round(model, int(wanted["cameras"]), seconds)}


def _round(model: Model, cameras: int, seconds: float) -> float:
    """The median of the seconds in which a frame of each of the cameras is resized and scored."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8) for _ in range(4)]
    frames = itertools.cycle(pictures)
    detectors = [warm_detector(model, frames, computed=0) for _ in range(cameras)]
    decide_together(detectors, list(itertools.islice(frames, cameras)))
    taken: list[float] = []
    until = time.monotonic() + _ROUND_SHARE * seconds
    while len(taken) < 3 or (len(taken) < _ROUNDS and time.monotonic() < until):
        images = list(itertools.islice(frames, cameras))
        start = time.perf_counter()
        decide_together(detectors, images)
        taken.append(time.perf_counter() - start)
        if time.monotonic() > until + 2 * _ROUND_SHARE * seconds:
            break
    return Spread.of(taken).median
