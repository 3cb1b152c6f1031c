"""A share of what `python -m tests.runtime.bundle.fuzz` does."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.runtime.bundle.fuzz import DEVICES, INTACT, OTHER, Fuzzer, Tally, fast_folder
from tests.runtime.bundle.mutations import MUTATIONS


def test_mutated_bundles_are_refused_with_one_line_or_harmless() -> None:
    tally, each = Tally(), 40
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        for _ in Fuzzer(Path(folder)).run(0, each * len(MUTATIONS), tally):
            pass

    assert tally.failures == []
    for device in DEVICES:
        for kind in MUTATIONS:
            assert (
                sum(count for (one, where, _), count in tally.outcomes.items() if (one, where) == (kind, device))
                == each
            )
    outcomes = {(device, outcome) for _, device, outcome in tally.outcomes}
    # The mutations reach as far as they are meant to.
    assert {(DEVICES[0], INTACT), (DEVICES[1], OTHER), (DEVICES[1], "UnsafeGraphError")} <= outcomes
    assert (DEVICES[0], OTHER) not in outcomes
