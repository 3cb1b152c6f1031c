"""The states of a camera, and which may follow which."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a camera is doing."""

    CONNECTING = "connecting"
    """The source is being opened, for the first time or again."""
    COLD = "cold"
    """Frames come; the window is not full."""
    RUNNING = "running"
    """Frames come and are scored."""
    STALLED = "stalled"
    """It was open, and gives no frames, or none that show anything: `no frames`, `frozen`, `black`."""
    FAILED = "failed"
    """Given up, or given up for now: the reason says which."""


LEGAL: dict[State, frozenset[State]] = {
    State.CONNECTING: frozenset({State.COLD, State.FAILED}),
    State.COLD: frozenset({State.RUNNING, State.STALLED, State.CONNECTING, State.FAILED}),
    State.RUNNING: frozenset({State.COLD, State.STALLED, State.CONNECTING, State.FAILED}),
    State.STALLED: frozenset({State.CONNECTING, State.COLD, State.FAILED}),
    State.FAILED: frozenset({State.CONNECTING}),
}
"""What may follow each state. A camera that opens is cold first: no score without a full window."""


@dataclass(frozen=True)
class CameraState:
    """A state, why, and since when (service time, seconds)."""

    state: State
    reason: str | None
    since: float


class StateMachine:
    """Holds a camera's state; only legal transitions."""

    def __init__(self, now: float) -> None:
        """Connecting, since `now`."""
        self.current = CameraState(State.CONNECTING, None, now)

    def to(self, state: State, reason: str | None, now: float) -> bool:
        """Change to `state`; whether state or reason are other than before.

        Raises RuntimeError for a transition that is not legal: a fault of the program.
        """
        if state is self.current.state:
            changed = reason != self.current.reason
            if changed:
                self.current = CameraState(state, reason, self.current.since)
            return changed
        if state not in LEGAL[self.current.state]:
            raise RuntimeError(f"a camera that is {self.current.state.value} cannot become {state.value}")
        self.current = CameraState(state, reason, now)
        return True
