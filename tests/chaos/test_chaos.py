"""The worst faults, once or twice each: the short version of `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import jobs, run_all
from tests.chaos.verdict import Row
from tests.runtime.mqtt.broker import missing
from tests.runtime.scripted_camera import missing_camera

QUICK = list(dict.fromkeys(job.fault.key for job in jobs((), quick=True)))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """All at once, on two stacks: what waits for recovery takes no cores."""
    if reason := missing() or missing_camera():
        pytest.skip(reason)
    chosen = jobs((), quick=True)
    found = run_all(chosen, tmp_path_factory.mktemp("chaos"), stacks=3)
    return {key: row for key in QUICK for row in found if (row.part, row.fault) == _name(key)}


def _name(key: str) -> tuple[str, str]:
    return next((job.fault.part, job.fault.name) for job in jobs((key,), quick=True))


@pytest.mark.parametrize("key", QUICK)
def test_no_alert_is_lost_or_doubled(key: str, rows: dict[str, Row]) -> None:
    row = rows[key]
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.injected, row
    assert row.received == row.expected, row
    assert (row.lost, row.wrong_order, row.duplicates) == (0, 0, 0), row
    assert not row.problems, row
    # That it came back, not how soon: a busy machine may take its time.
    assert None not in row.recovery, row
