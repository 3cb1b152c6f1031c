"""A fresh process from nothing to its first decision, which says how far it is: `cold_start` runs it."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import asdict

import whycam
from whycam.bench.memory import memory

FIRST_FRAME, FIRST_DECISION = "first frame", "first decision"


def main(bundle: str, precision: str, provider: str, video: str, threads: str | None = None) -> None:
    """Load, score until the window is full, explain once if the bundle can; then print the memory as JSON."""
    detector = whycam.load(bundle, precision, [provider], None if threads is None else int(threads))
    # A video that is shorter than the window is watched again.
    frames = itertools.chain.from_iterable(whycam.open_source(video) for _ in itertools.count())
    for index, frame in enumerate(frames):
        decision = detector.push(frame.image)
        if index == 0:
            print(FIRST_FRAME, flush=True)
        if decision is not None and decision.warm:
            break
    print(FIRST_DECISION, flush=True)

    from whycam.bench.question import default_question

    question = default_question(detector.manifest)
    if question is not None:
        question.ask(detector.model, detector.snapshot(), "all")
    print(json.dumps(asdict(memory())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
