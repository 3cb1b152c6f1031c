"""A camera's states, and what may follow each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycam.service.states import LEGAL, State, StateMachine


@given(st.lists(st.tuples(st.sampled_from(State), st.none() | st.sampled_from(["a", "b"])), max_size=30))
def test_only_legal_changes_happen_and_only_changes_are_told(steps: list[tuple[State, str | None]]) -> None:
    machine = StateMachine(0.0)
    for now, (state, reason) in enumerate(steps, start=1):
        before = machine.current
        if state is not before.state and state not in LEGAL[before.state]:
            with pytest.raises(RuntimeError, match=f"cannot become {state.value}"):
                machine.to(state, reason, float(now))
            assert machine.current == before
            continue
        changed = machine.to(state, reason, float(now))
        assert changed == ((state, reason) != (before.state, before.reason))
        assert (machine.current.state, machine.current.reason) == (state, reason)
        # A new reason for the same state does not begin it anew.
        assert machine.current.since == (before.since if state is before.state else float(now))


def test_no_score_before_the_window_has_filled_and_a_way_out_of_every_state() -> None:
    assert all(State.RUNNING not in LEGAL[state] for state in State if state is not State.COLD)
    reached = {State.CONNECTING}
    for _ in State:
        reached |= {after for state in reached for after in LEGAL[state]}
    assert reached == set(State)
    assert all(LEGAL[state] for state in State)
