"""The judge itself: it must see what is lost, doubled and out of order."""

from __future__ import annotations

import json

import pytest

from tests.chaos.subscriber import Arrival, seconds_of
from tests.chaos.verdict import Accepted, Anomaly, Row, judge

START = seconds_of("2026-11-23T18:00:00.000Z")
FIGHT = Anomaly("gate", "fight", START, START + 4)
PHASES = ("raised", "updated", "cleared")


def alert(id_: str, sequence: int, onset: float = 0.2, label: str = "fight", reason: str = "interval") -> Arrival:
    body = {
        "id": id_,
        "event_id": f"{id_}/{sequence}",
        "sequence": sequence,
        "phase": PHASES[min(sequence, 2)],
        "label": label,
        "camera": "gate",
        "reason": reason,
        "onset": f"2026-11-23T18:00:{onset:06.3f}Z",
        "time": f"2026-11-23T18:00:{9 + sequence:02}.000Z",
    }
    return Arrival("whycam/chaos/gate/alert", json.dumps(body).encode(), False, 0.0, body)


def verdict(*messages: Arrival, anomalies: tuple[Anomaly, ...] = (FIGHT,), **more: object) -> Row:
    return judge(Row("fault", "part"), anomalies, messages, **more)


WHOLE = (alert("a", 0), alert("a", 1), alert("a", 2))


def test_an_anomaly_whose_messages_all_arrive_is_received() -> None:
    row = verdict(*WHOLE)
    assert (row.expected, row.received, row.lost, row.duplicates, row.wrong_order) == (1, 1, 0, 0, 0)
    assert row.passed


def test_a_message_that_comes_again_is_no_duplicate() -> None:
    assert verdict(WHOLE[0], *WHOLE, WHOLE[0]).passed


@pytest.mark.parametrize(
    "messages",
    [(), (WHOLE[0], WHOLE[2]), WHOLE[:2], WHOLE[1:]],
    ids=["nothing", "a gap", "never cleared", "never raised"],
)
def test_what_is_missing_is_lost(messages: tuple[Arrival, ...]) -> None:
    row = verdict(*messages)
    assert row.lost == 1
    assert not row.passed


def test_what_the_log_says_was_accepted_must_arrive() -> None:
    assert verdict(*WHOLE, accepted=[Accepted("a", "raised"), Accepted("b", "raised")]).lost == 1


def test_what_the_fault_destroyed_may_be_missing() -> None:
    assert verdict(*WHOLE, accepted=[Accepted("b", "raised")], destroyed=frozenset({"b"})).passed


def test_a_later_message_first_is_wrong_order() -> None:
    assert verdict(WHOLE[1], WHOLE[0], WHOLE[2]).wrong_order == 1


def test_two_episodes_for_one_anomaly_are_a_duplicate() -> None:
    second = (alert("b", 0, onset=3), alert("b", 1, onset=3), alert("b", 2, onset=3))
    assert verdict(*WHOLE, *second).duplicates == 1


def test_an_episode_after_a_lost_signal_is_no_duplicate_where_that_is_allowed() -> None:
    lost = (*WHOLE[:2], alert("a", 2, reason="signal-lost"))
    second = (alert("b", 0, onset=3), alert("b", 1, onset=3), alert("b", 2, onset=3))
    assert verdict(*lost, *second).duplicates == 1
    assert verdict(*lost, *second, may_split=frozenset({"signal-lost"})).passed


def test_one_number_for_two_messages_is_a_duplicate() -> None:
    assert verdict(*WHOLE, alert("a", 1, reason="peak")).duplicates == 1


def test_an_alert_without_an_anomaly_is_a_problem() -> None:
    row = verdict(*WHOLE, *(alert("b", number, onset=30) for number in range(3)))
    assert row.problems
    assert not row.passed


def test_an_anomaly_that_was_perhaps_not_seen_is_expected_only_where_it_arrives() -> None:
    perhaps = Anomaly("gate", "fight", START, START + 4, sure=False)
    assert verdict(anomalies=(perhaps,)).passed
    assert verdict(*WHOLE, anomalies=(perhaps,)).expected == 1


@pytest.mark.parametrize(("recovery", "passed"), [([9.9], True), ([10.0], False), ([1.0, None], False)])
def test_recovery_must_come_in_time(recovery: list[float | None], passed: bool) -> None:
    row = verdict(*WHOLE)
    row.recovery = recovery
    assert row.passed is passed


def test_rows_of_one_fault_add_up() -> None:
    row = verdict(*WHOLE).add(verdict())
    assert (row.expected, row.received, row.lost) == (2, 1, 1)
