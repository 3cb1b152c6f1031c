"""What is counted: a row per check, and whether an alert that a machine accepted before its power was cut arrived."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.chaos.subscriber import Arrival
from tests.chaos.verdict import Accepted

_TOLD = re.compile(r"^\S+ (?P<phase>raised|updated|cleared): ")


@dataclass
class Row:
    """A line of the table."""

    part: str
    check: str
    times: int = 1
    measured: list[str] = field(default_factory=list)
    """What is put into the table, in order."""
    problems: list[str] = field(default_factory=list)
    """Why it failed."""
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        return not self.problems and self.skipped is None

    @property
    def outcome(self) -> str:
        return "skipped" if self.skipped else "passed" if self.passed else "FAILED"

    def must(self, condition: object, otherwise: str) -> bool:
        """Note a problem where the condition does not hold."""
        if not condition:
            self.problems.append(otherwise)
        return bool(condition)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def accepted_in(journal: Iterable[Mapping[str, Any]]) -> list[Accepted]:
    """The alerts that a machine's journal says were put into the outbox, each phase once."""
    found = {}
    for entry in journal:
        told = _TOLD.match(str(entry.get("MESSAGE", "")))
        if told and entry.get("WHYCAM_ALERT"):
            one = Accepted(str(entry["WHYCAM_ALERT"]), told["phase"])
            found[one] = None
    return list(found)


@dataclass(frozen=True)
class Count:
    """How the alerts of a machine fared."""

    accepted: int
    """Episodes that it accepted."""
    lost: tuple[str, ...]
    """What it accepted, or kept evidence of, and the subscriber never got."""
    doubled: tuple[str, ...]
    """Events that came with two contents."""

    @property
    def told(self) -> str:
        """For the table."""
        return f"{self.accepted} alerts accepted, {len(self.lost)} messages lost"

    @property
    def problems(self) -> list[str]:
        """For a row."""
        lost, doubled = [f"lost: {one}" for one in self.lost], [f"doubled: {one}" for one in self.doubled]
        return [*lost, *doubled, *([] if self.accepted else ["no alert was accepted: nothing was tried"])]


def count(accepted: Sequence[Accepted], evidence: Iterable[str], arrivals: Iterable[Arrival]) -> Count:
    """Judge what arrived by what the machine said it had accepted, and by the ids that it keeps evidence of.

    Of each episode every phase that was accepted must arrive, and all sequence numbers below the highest; a message
    that comes again is known by its `event_id`.
    """
    events: dict[str, bytes] = {}
    doubled = []
    phases: dict[str, set[str]] = {}
    numbers: dict[str, set[int]] = {}
    for arrival in arrivals:
        if arrival.kind != "alert" or not arrival.body:
            continue
        id_, event = arrival.body["id"], arrival.body["event_id"]
        if events.setdefault(event, arrival.payload) != arrival.payload:
            doubled.append(f"{event} ({id_})")
        phases.setdefault(id_, set()).add(arrival.body["phase"])
        numbers.setdefault(id_, set()).add(arrival.body["sequence"])
    lost = [f"{one.id} {one.phase}" for one in accepted if one.phase not in phases.get(one.id, ())]
    lost += [f"{id_} (has evidence)" for id_ in sorted(set(evidence)) if id_ not in phases]
    for id_, seen in numbers.items():
        lost += [f"{id_} number {number}" for number in range(max(seen)) if number not in seen]
    return Count(len({one.id for one in accepted}), tuple(lost), tuple(doubled))


def spread(seconds: Sequence[float]) -> str:
    """As in `median 4.1 s, at most 9.0 s`."""
    if not seconds:
        return "never"
    return (
        f"median {median(seconds):.1f} s, at most {max(seconds):.1f} s" if len(seconds) > 1 else f"{seconds[0]:.1f} s"
    )
