"""How people move: scripts of what somebody does from when on, readable at any time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whycam_export.demo import pose as poses
from whycam_export.demo.pose import Pose

# Seconds in which one movement passes into the next.
CROSSFADE = 0.16


@dataclass(frozen=True)
class Stance:
    """Where somebody is at a time and in which pose; x and y in pixels, `facing` +1 to the right."""

    x: float
    y: float
    facing: int
    pose: Pose
    gun: bool = False
    flash: bool = False


Act = Callable[[float], Stance]


@dataclass(frozen=True)
class Script:
    """Acts and the seconds at which they begin, in order; an act before the first one's beginning is the first."""

    starts: tuple[float, ...]
    acts: tuple[Act, ...]

    def at(self, time: float) -> Stance:
        """The stance at `time`, in seconds; one act fades into the next over `CROSSFADE`."""
        index = max(0, bisect_right(self.starts, time) - 1)
        stance = self.acts[index](time)
        passed = (time - self.starts[index]) / CROSSFADE
        if index == 0 or passed >= 1:
            return stance
        before = self.acts[index - 1](self.starts[index])
        weight = passed * passed * (3 - 2 * passed)
        x = before.x + (stance.x - before.x) * weight
        y = before.y + (stance.y - before.y) * weight
        return replace(stance, x=x, y=y, pose=poses.blend(before.pose, stance.pose, weight))


def script(*acts: tuple[float, Act]) -> Script:
    """A script of (start in seconds, act) pairs in order."""
    return Script(tuple(start for start, _ in acts), tuple(act for _, act in acts))


def walking(x: float, y: float, speed: float, height: float, phase: float = 0.0, since: float = 0.0) -> Act:
    """Walk along the picture at `speed` pixels a second (its sign is the direction), from `x` at the time `since`."""
    turn = 2 * math.pi * abs(speed) / (0.86 * height)

    def act(time: float) -> Stance:
        there = x + speed * (time - since)
        return Stance(there, y, 1 if speed >= 0 else -1, poses.walk(phase + turn * time))

    return act


def running(x: float, y: float, speed: float, height: float, phase: float = 0.0, since: float = 0.0) -> Act:
    """Run; as `walking`."""
    turn = 2 * math.pi * abs(speed) / (1.5 * height)

    def act(time: float) -> Stance:
        there = x + speed * (time - since)
        return Stance(there, y, 1 if speed >= 0 else -1, poses.run(phase + turn * time))

    return act


def holding(x: float, y: float, facing: int, pose: Pose, rng: np.random.Generator, gun: bool = False) -> Act:
    """Stay in `pose`, as still as people are."""
    rate, phase = rng.uniform(1.0, 2.0), rng.uniform(0, 6.3)

    def act(time: float) -> Stance:
        sway = 0.025 * math.sin(rate * time + phase)
        return Stance(x, y, facing, replace(pose, lean=pose.lean + sway), gun)

    return act


def talking(x: float, y: float, facing: int, rng: np.random.Generator) -> Act:
    """Stand and talk with a hand."""
    rate, phase = rng.uniform(3.0, 6.0), rng.uniform(0, 6.3)
    return lambda time: Stance(x, y, facing, poses.talk(rate * time + phase))


def waving(x: float, y: float, facing: int, rng: np.random.Generator) -> Act:
    """Greet with a raised arm."""
    rate, phase = rng.uniform(6.0, 9.0), rng.uniform(0, 6.3)

    def act(time: float) -> Stance:
        arm = poses.Limb(2.7 + 0.25 * math.sin(rate * time + phase), 0.3)
        return Stance(x, y, facing, replace(poses.WAVE, near_arm=arm))

    return act


def shooting(x: float, y: float, facing: int, shots: Sequence[float], one_hand: bool, flash: float) -> Act:
    """Aim with outstretched arms and fire at the times `shots`; a muzzle flash lasts `flash` seconds."""
    aim = poses.AIM_ONE_HAND if one_hand else poses.AIM

    def act(time: float) -> Stance:
        since = min((time - shot for shot in shots if time >= shot), default=9.0)
        recoil = 0.22 * math.exp(-since / 0.08)
        arm = poses.Limb(aim.near_arm.swing + recoil + 0.03 * math.sin(2.1 * time), aim.near_arm.bend)
        return Stance(x, y, facing, replace(aim, near_arm=arm), gun=True, flash=since < flash)

    return act


_BLOWS = (poses.PUNCH, poses.HAYMAKER, poses.KICK, poses.GRAPPLE, poses.PUNCH)
_ANSWERS = (poses.STAGGER, poses.GUARD, poses.GRAPPLE, poses.PUNCH, poses.HAYMAKER, poses.STAGGER)
_BETWEEN = (poses.GUARD, poses.WIND_UP, poses.GUARD)


def fighting(
    x: float, y: float, height: float, begin: float, end: float, rng: np.random.Generator
) -> tuple[list[tuple[float, Act]], list[tuple[float, Act]]]:
    """The acts of two fighters around (x, y) from `begin` to `end`: the left one's, the right one's.

    Blows alternate with guards every 0.15 to 0.35 s at arm's length; often one falls, and the other goes on beating.
    """
    left: list[tuple[float, Act]] = []
    right: list[tuple[float, Act]] = []
    falls = begin + rng.uniform(1.2, 3.0) if rng.random() < 0.55 else math.inf
    faller = int(rng.integers(2))
    time, gap, drift = begin, 0.46, 0.0
    while time < end:
        down = time >= falls
        striker = 1 - faller if down else int(rng.integers(2))
        gap = float(np.clip(gap + rng.normal(0, 0.07), 0.32, 0.6))
        drift = float(np.clip(drift + rng.normal(0, 0.06), -0.35, 0.35))
        if down:
            chosen = [poses.CURL_UP if rng.random() < 0.5 else poses.LIE] * 2
            chosen[striker] = (poses.STOMP, poses.BEAT_DOWN, poses.KICK)[int(rng.integers(3))]
        else:
            chosen = [_ANSWERS[int(rng.integers(len(_ANSWERS)))]] * 2
            chosen[striker] = _BLOWS[int(rng.integers(len(_BLOWS)))]
        _beat(left, right, time, x + drift * height, y, gap * height, chosen, rng)
        time += rng.uniform(0.18, 0.32)
        ready = [_BETWEEN[int(rng.integers(3))], _BETWEEN[int(rng.integers(3))]]
        if down:
            ready[faller] = chosen[faller]
        _beat(left, right, time, x + drift * height, y, (gap + 0.06) * height, ready, rng)
        time += rng.uniform(0.12, 0.25)
    return left, right


def _beat(
    left: list[tuple[float, Act]],
    right: list[tuple[float, Act]],
    time: float,
    x: float,
    y: float,
    gap: float,
    chosen: list[Pose],
    rng: np.random.Generator,
) -> None:
    for acts, pose, side in ((left, chosen[0], -1), (right, chosen[1], 1)):
        jitter = replace(pose, lean=pose.lean + rng.normal(0, 0.08))
        acts.append((time, holding(x + side * gap / 2, y, -side, jitter, rng)))
