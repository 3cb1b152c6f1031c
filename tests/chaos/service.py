"""What befalls the service itself."""

from __future__ import annotations

import signal
import threading
import time

from tests.chaos.faults import Stage, fault
from tests.chaos.stack import Stack

PART = "service"
CLEARED_AS_LOST = frozenset({"signal-lost"})
"""A service that was stopped for longer than `signal_lost_seconds` has not seen the camera: that ends an episode."""
PATIENT: dict[str, object] = {"camera.alert.signal_lost_seconds": 30}
"""Rules that no restart is too slow for, on a busy machine either."""


@fault(PART, "killed (SIGKILL) at random moments", times=25, quick=3, runs=2)
def killed(stage: Stage, times: int) -> None:
    """Before, in and after an anomaly, while starting too: wherever the kill comes to fall."""
    with stage.stack(config=PATIENT) as stack:
        for turn in range(times):
            label = ("fight", "fire")[turn % 2]
            when = stack.random.uniform(0, 4)
            killer = threading.Timer(when, _kill, (stack,))
            killer.start()
            stack.quiet(stack.random.uniform(0, 0.5))
            # A third of the anomalies end with the kill, seen or not: what had been accepted of them must arrive.
            sure = stack.random.random() < 0.67
            with stack.anomaly(label, sure=sure):
                killer.join()
                if sure:
                    stack.recover(stack.last_kill)
            if not sure:
                stack.recover(stack.last_kill)
            if stack.random.random() < 0.3:
                # Once more, as the episode ends.
                stack.quiet(stack.random.uniform(0, 1.5))
                _kill(stack)
                stack.recover(stack.last_kill)
            stack.settle()


def _kill(stack: Stack) -> None:
    while not stack.service.kill():
        time.sleep(0.01)
    stack.last_kill = time.monotonic()
    stack.injected()


@fault(PART, "killed while starting", times=5)
def killed_while_starting(stage: Stage, times: int) -> None:
    with stage.stack(config=PATIENT) as stack:
        for _ in range(times):
            with stack.anomaly("fight"):
                stack.quiet(1)
                _kill(stack)
                stack.quiet(stack.random.uniform(0.2, 2.5))
                _kill(stack)
                stack.recover(stack.last_kill)
            stack.settle()


@fault(PART, "killed between raise and PUBACK", times=6, quick=1)
def killed_before_puback(stage: Stage, times: int) -> None:
    with stage.stack(config=PATIENT) as stack:
        for turn in range(times):
            with stack.anomaly(("fight", "fire")[turn % 2]):
                # A frozen broker never acknowledges; the alert is accepted, held or sent, and not settled.
                stack.broker.pause()
                known = len(stack.accepted())
                stack.wait_accepted("raised", known)
                stack.quiet((0, 0.2, 1)[turn % 3])
                _kill(stack)
                stack.broker.resume()
                stack.recover()
            stack.settle()


@fault(PART, "killed with alerts waiting, broker away", times=3)
def killed_with_backlog(stage: Stage, times: int) -> None:
    with stage.stack(config=PATIENT) as stack:
        for _ in range(times):
            stack.broker.stop()
            stack.play("fight", 3)
            stack.quiet(3)
            with stack.anomaly("fire"):
                stack.quiet(2)
                _kill(stack)
                stack.service.wait_ready()
                stack.quiet(stack.random.uniform(0, 1))
                _kill(stack)
                stack.broker.start()
                stack.recover()
            stack.settle()


@fault(PART, "frozen (SIGSTOP) for 3 to 9 s", times=4)
def frozen(stage: Stage, times: int) -> None:
    with stage.stack(may_split=CLEARED_AS_LOST) as stack:
        for turn in range(times):
            with stack.anomaly(("fight", "fire")[turn % 2]):
                stack.quiet(stack.random.uniform(0, 1.5))
                stack.service.signal(signal.SIGSTOP)
                stack.injected()
                stack.quiet((3, 9)[turn // 2 % 2])
                stack.service.signal(signal.SIGCONT)
                stack.recover()
            stack.settle()


@fault(PART, "restarted (SIGTERM) within an episode", times=5, quick=1)
def restarted(stage: Stage, times: int) -> None:
    with stage.stack(config=PATIENT) as stack:
        for turn in range(times):
            with stack.anomaly(("fight", "fire")[turn % 2]):
                stack.quiet(stack.random.uniform(0, 2))
                asked = time.monotonic()
                stack.service.terminate()
                took = time.monotonic() - asked
                stack.injected()
                stack.recover()
                end = stack.service.deaths[-1].status
                if end != 0 or took > STOP_SECONDS:
                    stack.row.problems.append(f"SIGTERM: status {end} after {took:.1f} s")
            stack.settle()


STOP_SECONDS = 8.0
"""It promises 5; a busy machine may take a little longer."""


@fault(PART, "SIGHUP: a camera added, then removed", times=2)
def reloaded(stage: Stage, times: int) -> None:
    with stage.stack() as stack:
        for _ in range(times):
            pid, before = stack.service.pid, stack.state_of("gate")
            with stack.anomaly("fight"):
                stack.wait_seen("fight")
                index = len(stack.subscriber.arrivals)
                stack.write_config(cameras=("gate", "yard"))
                stack.service.signal(signal.SIGHUP)
                stack.injected()
                added = time.monotonic()
                fresh = stack.wait_score(added, camera="yard")
                stack.row.recovery.append(None if fresh is None else round(fresh.arrived - added, 2))
            gaps = stack.score_gaps("gate", index)
            if max(gaps, default=0) > GAP_SECONDS:
                stack.row.problems.append(f"the first camera was not scored for {max(gaps):.1f} s of the reload")
            # The second camera began to look in the middle of that anomaly, and may have told of it.
            stack.also_seen("yard")
            stack.settle()
            stack.cameras = ("gate", "yard")
            stack.play("fire")
            stack.settle()
            stack.write_config()
            stack.service.signal(signal.SIGHUP)
            stack.injected()
            stack.cameras = ("gate",)
            gone = stack.subscriber.wait_for(
                lambda one, since=added: one.topic.endswith("/yard/state") and not one.payload and one.arrived > since,
                20,
            )
            if gone is None:
                stack.row.problems.append("the removed camera's retained state is still there")
            stack.play("fight")
            stack.settle()
            after = stack.state_of("gate")
            if (
                stack.service.pid != pid
                or before["since"] != after["since"]
                or before["reconnects"] != after["reconnects"]
            ):
                stack.row.problems.append(f"the reload disturbed the first camera: {before} {after}")


GAP_SECONDS = 3.0
"""A reload may load a model, which takes the machine's cores for a moment."""
