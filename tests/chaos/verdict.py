"""What was lost, doubled or out of order: the script of anomalies against what arrived."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.subscriber import Arrival, seconds_of

TOLERANCE_SECONDS = 1.0
"""Between what the camera was told to show and when the service says it saw it."""


@dataclass(frozen=True)
class Anomaly:
    """Something the camera showed, seconds since the epoch."""

    camera: str
    label: str
    start: float
    end: float
    sure: bool = True
    """Whether the service must have seen it; else only what it accepted must arrive."""

    def holds(self, onset: float) -> bool:
        """Whether an episode that began at `onset` is this one."""
        return self.start - TOLERANCE_SECONDS / 2 <= onset <= self.end + TOLERANCE_SECONDS


@dataclass(frozen=True)
class Accepted:
    """A line of the service's log: this phase of this episode is in the outbox."""

    id: str
    phase: str


@dataclass
class Row:
    """A line of the table."""

    fault: str
    part: str
    injected: int = 0
    expected: int = 0
    received: int = 0
    lost: int = 0
    wrong_order: int = 0
    duplicates: int = 0
    recovery: list[float | None] = field(default_factory=list)
    """Seconds after each fault; None where it did not come back."""
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What must not be, beside the counts."""
    skipped: str | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled or out of order, and all was back within 10 s."""
        back = all(seconds is not None and seconds < RECOVERY_SECONDS for seconds in self.recovery)
        return not (self.lost or self.duplicates or self.wrong_order or self.problems) and back

    def add(self, other: Row) -> Row:
        """This row and another run of the same fault."""
        counts = ("injected", "expected", "received", "lost", "wrong_order", "duplicates", "seconds")
        sums = {name: getattr(self, name) + getattr(other, name) for name in counts}
        return Row(
            self.fault,
            self.part,
            **sums,
            recovery=self.recovery + other.recovery,
            notes=[*self.notes, *(note for note in other.notes if note not in self.notes)],
            problems=self.problems + other.problems,
            skipped=self.skipped or other.skipped,
        )


RECOVERY_SECONDS = 10.0
"""A fault that is over must be forgotten after so long."""


def judge(
    row: Row,
    anomalies: Sequence[Anomaly],
    arrivals: Iterable[Arrival],
    accepted: Sequence[Accepted] = (),
    *,
    may_split: frozenset[str] = frozenset(),
    destroyed: frozenset[str] = frozenset(),
    clock_set: bool = False,
) -> Row:
    """Fill in the counts of `row`.

    An anomaly is received when an episode of its label that began within it is raised at least once. Of every episode
    all messages must arrive, in the order of their times: sequence numbers without a gap, from `raised` to `cleared`.
    Repetitions are told by `event_id`. An episode that is raised twice is a duplicate; so is an episode too many in an
    anomaly, unless the one before was cleared for a reason in `may_split`. The ids in `destroyed` were
    in a file that the fault itself destroyed, and may be missing. With `clock_set`, episodes are told by label and
    arrival, as the times in them are of a clock that was set.
    """
    episodes: dict[str, list[Arrival]] = defaultdict(list)
    seen: dict[str, bytes] = {}
    for arrival in arrivals:
        if arrival.kind != "alert" or not arrival.body:
            continue
        key = arrival.body["event_id"]
        if key in seen:
            if seen[key] != arrival.payload:
                row.duplicates += 1
                row.notes.append(f"event {key}: two messages of different content")
            continue
        seen[key] = arrival.payload
        episodes[arrival.body["id"]].append(arrival)

    held: dict[int, list[list[Arrival]]] = defaultdict(list)
    for id_, messages in episodes.items():
        order = [one.body["sequence"] if clock_set else one.sent for one in messages]
        row.wrong_order += sum(later < earlier for earlier, later in pairwise(order))
        numbers = {message.body["sequence"] for message in messages}
        phases = [message.body["phase"] for message in messages]
        if phases.count("raised") > 1:
            row.duplicates += phases.count("raised") - 1
            row.notes.append(f"{id_}: raised {phases.count('raised')} times")
        if phases.count("cleared") > 1:
            row.notes.append(f"{id_}: cleared {phases.count('cleared')} times")
        missing = set(range(max(numbers) + 1)) - numbers
        if id_ not in destroyed:
            if missing:
                row.lost += len(missing)
                row.notes.append(f"{id_}: sequence {sorted(missing)} missing")
            if "cleared" not in phases:
                row.lost += 1
                row.notes.append(f"{id_} ({messages[0].body['label']}): never cleared")
        first = messages[0].body
        place = _place(anomalies, messages[0], clock_set=clock_set)
        if place is None and id_ not in destroyed:
            row.problems.append(
                f"{first['label']} {id_} raised where there was no such anomaly (onset {first['onset']})"
            )
        elif place is not None:
            held[place].append(messages)

    for place, anomaly in enumerate(anomalies):
        found = held[place]
        if not found and not anomaly.sure:
            continue
        row.expected += 1
        if not found:
            row.lost += 1
            row.notes.append(f"{anomaly.label} of {anomaly.end - anomaly.start:.1f} s never raised")
            continue
        row.received += 1
        for before, after in pairwise(found):
            reason = before[-1].body["reason"]
            if before[-1].body["phase"] != "cleared" or reason not in may_split:
                row.duplicates += 1
                row.notes.append(
                    f"{anomaly.label}: {after[0].body['id']} raised beside {before[0].body['id']} "
                    f"({before[-1].body['phase']}: {reason})"
                )

    for id_ in dict.fromkeys(line.id for line in accepted):
        if id_ not in episodes and id_ not in destroyed:
            row.lost += 1
            row.notes.append(f"{id_}: accepted, never arrived")
    return row


def _place(anomalies: Sequence[Anomaly], raised: Arrival, *, clock_set: bool) -> int | None:
    """The anomaly that an episode belongs to, by its onset; by its arrival where the clock was set."""
    alert = raised.body
    alike = [
        place for place, one in enumerate(anomalies) if (one.camera, one.label) == (alert["camera"], alert["label"])
    ]
    if clock_set:
        return max((place for place in alike if anomalies[place].start <= raised.came), default=None)
    onset = seconds_of(alert["onset"])
    return next((place for place in alike if anomalies[place].holds(onset)), None)
