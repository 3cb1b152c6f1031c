"""What a store remembers of one bundle's versions: one JSON file, replaced whole, beside the link that decides.

The link `current` is the truth; the record says where versions come from, which is on trial, and what has happened. It
is written before the link is switched, so a power cut between the two leaves a record that tells more than is so:
`settled` takes that back.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

EventName = Literal["installed", "confirmed", "rolled-back", "failed"]
MOST_EVENTS = 50


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Version(_Part):
    """An installed version of a bundle."""

    version: str = Field(description="the manifest's")
    installed: float = Field(description="when, in seconds since the epoch")
    order: int = Field(ge=0, description="higher than that of all installed before it, whatever clock was set")
    previous: str | None = Field(default=None, description="the id of the version whose place it took")
    candidate: bool = Field(default=False, description="it was never current, so that there is no going back to it")
    signed_by: str | None = Field(default=None, description="the trusted key's name; None where none was asked for")


class Trial(_Part):
    """That a version has yet to prove itself."""

    id: str
    previous: str | None = Field(description="the last version that held, which takes its place where it fails")
    began: float = Field(description="when, in seconds since the epoch")
    starts: int = Field(default=0, ge=0, description="how often a service began to run it and did not end in order")
    failed: str | None = Field(default=None, description="why it failed where there was nothing to go back to")


class Return(_Part):
    """That the link is to go back: written before that, so that it is done after a power cut."""

    from_id: str
    to_id: str
    reason: str
    time: float


class Event(_Part):
    """Something that happened to a version."""

    event: EventName
    id: str
    version: str
    previous: str | None = Field(default=None, description="installed: what it replaced; rolled-back: what is back")
    time: float
    reason: str | None = None


class Record(_Part):
    """All of it."""

    versions: dict[str, Version] = Field(default_factory=dict)
    trial: Trial | None = None
    going_back: Return | None = None
    events: tuple[Event, ...] = Field(default=(), description="the newest last")

    @property
    def event(self) -> Event | None:
        """The newest event."""
        return self.events[-1] if self.events else None

    @property
    def next_order(self) -> int:
        """The `order` of a version that is installed now."""
        return 1 + max((one.order for one in self.versions.values()), default=0)

    def before(self, id: str) -> str | None:
        """The version to go back to from `id`: whose place it took, else the one installed before it; None: none."""
        own = self.versions.get(id)
        if own is None:
            return None
        if own.previous in self.versions and own.previous != id:
            return own.previous
        tried = {one: version for one, version in self.versions.items() if not version.candidate}
        older = [one for one, version in tried.items() if version.order < own.order]
        return max(older, key=lambda one: self.versions[one].order, default=None)

    def was_rolled_back(self, id: str) -> bool:
        """Whether the last that happened to `id` is that it was taken back."""
        last = next((one for one in reversed(self.events) if one.id == id), None)
        return last is not None and last.event == "rolled-back"

    def with_event(self, event: EventName, id: str, time: float, *, previous: str | None, reason: str | None) -> Record:
        """With one more event of the version `id`."""
        version = self.versions[id].version if id in self.versions else ""
        one = Event(event=event, id=id, version=version, previous=previous, time=time, reason=reason)
        return self.model_copy(update={"events": (*self.events, one)[-MOST_EVENTS:]})


def settled(record: Record, current: str | None, candidate: str | None = None) -> Record:
    """`record` as it is true where the links are `current` and `candidate`: without what was announced and not done."""
    back = record.going_back
    if back is not None:
        record = record.model_copy(update={"going_back": None})
        if current == back.to_id:
            record = record.model_copy(update={"trial": None})
            record = record.with_event("rolled-back", back.from_id, back.time, previous=back.to_id, reason=back.reason)
    trial = record.trial
    if trial is not None and trial.id != current:
        # The power was cut before the switch, or somebody has switched by hand.
        record = record.model_copy(update={"trial": None})
        last = record.event
        if last is not None and last.event == "installed" and last.id == trial.id:
            record = record.model_copy(update={"events": record.events[:-1]})
        if all(one.id != trial.id for one in record.events):
            record = _as_candidate(record, trial.id)
    gone = {id for id, one in record.versions.items() if one.candidate and id not in (current, candidate)}
    if gone:
        versions = {id: one for id, one in record.versions.items() if id not in gone}
        record = record.model_copy(update={"versions": versions})
    return record


def _as_candidate(record: Record, id: str) -> Record:
    """With the version `id` as one that was never current."""
    if id not in record.versions:
        return record
    entry = record.versions[id].model_copy(update={"candidate": True, "previous": None})
    return record.model_copy(update={"versions": {**record.versions, id: entry}})
