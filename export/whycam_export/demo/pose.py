"""Poses of a jointed figure seen from the side, and the joints they put where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]

# Lengths of the body's parts in body heights.
TORSO, NECK, HEAD = 0.31, 0.045, 0.072
UPPER_ARM, FOREARM, GUN = 0.17, 0.165, 0.13
THIGH, SHIN = 0.25, 0.24


@dataclass(frozen=True)
class Limb:
    """A limb's two angles in radians: 0 hangs down, positive points forward; `bend` is the elbow's or the knee's."""

    swing: float = 0.0
    bend: float = 0.0


@dataclass(frozen=True)
class Pose:
    """The angles of the whole figure in radians; `lean` is forward, `roll` turns the body about its feet (a fall)."""

    lean: float = 0.0
    near_arm: Limb = Limb()
    far_arm: Limb = Limb()
    near_leg: Limb = Limb()
    far_leg: Limb = Limb()
    roll: float = 0.0


@dataclass(frozen=True)
class Joints:
    """Points in pixels, x to the right and y down."""

    head: Point
    neck: Point
    pelvis: Point
    near_arm: tuple[Point, Point, Point]
    far_arm: tuple[Point, Point, Point]
    near_leg: tuple[Point, Point, Point]
    far_leg: tuple[Point, Point, Point]


def blend(first: Pose, second: Pose, weight: float) -> Pose:
    """The pose between `first` (weight 0) and `second` (weight 1)."""

    def mix(a: float, b: float) -> float:
        return a + (b - a) * weight

    def between(one: Limb, two: Limb) -> Limb:
        return Limb(mix(one.swing, two.swing), mix(one.bend, two.bend))

    return Pose(
        mix(first.lean, second.lean),
        between(first.near_arm, second.near_arm),
        between(first.far_arm, second.far_arm),
        between(first.near_leg, second.near_leg),
        between(first.far_leg, second.far_leg),
        mix(first.roll, second.roll),
    )


def joints(pose: Pose, x: float, y: float, height: float, facing: int) -> Joints:
    """Where the joints are of a figure `height` pixels tall that touches the ground at (x, y).

    `facing` is +1 to the right, -1 to the left. The lowest joint is put on the ground: bent knees lower the body.
    """
    pelvis = np.zeros(2)
    neck = pelvis + TORSO * _up(pose.lean)
    head = neck + (NECK + HEAD) * _up(pose.lean * 0.6)
    shoulder = pelvis + 0.94 * (neck - pelvis)
    parts = [head, neck, pelvis]
    for limb in (pose.near_arm, pose.far_arm):
        elbow = shoulder + UPPER_ARM * _down(limb.swing)
        parts += [shoulder, elbow, elbow + FOREARM * _down(limb.swing + limb.bend)]
    for limb in (pose.near_leg, pose.far_leg):
        knee = pelvis + THIGH * _down(limb.swing)
        parts += [pelvis, knee, knee + SHIN * _down(limb.swing - limb.bend)]
    points = np.stack(parts)
    if pose.roll:
        cosine, sine = math.cos(pose.roll), math.sin(pose.roll)
        points = points @ np.array([[cosine, sine], [-sine, cosine]])
    points[:, 1] -= max(points[:, 1].max(), points[0, 1] + HEAD)
    points = points * (height * facing, height) + (x, y)
    limbs = [(points[i], points[i + 1], points[i + 2]) for i in (3, 6, 9, 12)]
    return Joints(points[0], points[1], points[2], *limbs)


def _down(angle: float) -> Point:
    return np.array([math.sin(angle), math.cos(angle)])


def _up(angle: float) -> Point:
    return np.array([math.sin(angle), -math.cos(angle)])


def stand(sway: float = 0.0) -> Pose:
    """Upright, arms hanging; `sway` in radians."""
    return Pose(0.02 + sway, Limb(0.06, 0.12), Limb(-0.06, 0.12), Limb(0.06, 0.02), Limb(-0.06, 0.02))


def walk(phase: float) -> Pose:
    """A walking step; `phase` in radians, one turn for two steps."""
    s, c = math.sin(phase), math.cos(phase)
    return Pose(
        0.06,
        Limb(-0.42 * s, 0.25),
        Limb(0.42 * s, 0.25),
        Limb(0.42 * s, 0.08 + 0.5 * max(0.0, c)),
        Limb(-0.42 * s, 0.08 + 0.5 * max(0.0, -c)),
    )


def run(phase: float) -> Pose:
    """A running step; `phase` as in `walk`."""
    s, c = math.sin(phase), math.cos(phase)
    return Pose(
        0.24,
        Limb(-0.75 * s, 1.4),
        Limb(0.75 * s, 1.4),
        Limb(0.8 * s + 0.15, 0.25 + 1.1 * max(0.0, c)),
        Limb(-0.8 * s + 0.15, 0.25 + 1.1 * max(0.0, -c)),
    )


def talk(beat: float) -> Pose:
    """Standing and gesturing with a forearm; `beat` in radians."""
    return Pose(
        0.03,
        Limb(0.2, 0.9 + 0.35 * math.sin(beat)),
        Limb(0.05, 0.3),
        Limb(0.07, 0.02),
        Limb(-0.07, 0.02),
    )


WAVE = Pose(0.0, Limb(2.7, 0.3), Limb(0.0, 0.1), Limb(0.05, 0.0), Limb(-0.05, 0.0))
SHAKE_HANDS = Pose(0.08, Limb(0.55, 0.55), Limb(0.0, 0.12), Limb(0.12, 0.04), Limb(-0.08, 0.02))
EMBRACE = Pose(0.06, Limb(0.9, 0.75), Limb(0.7, 0.9), Limb(0.05, 0.02), Limb(-0.06, 0.02))
PHONE = Pose(0.12, Limb(0.35, 1.7), Limb(0.05, 0.15), Limb(0.05, 0.02), Limb(-0.05, 0.02))
TIE_SHOES = Pose(1.25, Limb(0.6, 0.2), Limb(0.5, 0.3), Limb(0.9, 1.3), Limb(0.2, 0.9))
GUARD = Pose(0.16, Limb(0.75, 1.9), Limb(0.95, 1.6), Limb(0.42, 0.35), Limb(-0.42, 0.3))
PUNCH = Pose(0.42, Limb(1.62, 0.04), Limb(0.3, 1.9), Limb(0.62, 0.55), Limb(-0.62, 0.12))
HAYMAKER = Pose(0.3, Limb(2.1, 0.25), Limb(-0.9, 0.9), Limb(0.5, 0.5), Limb(-0.6, 0.2))
WIND_UP = Pose(-0.12, Limb(-1.2, 1.5), Limb(1.0, 1.2), Limb(0.35, 0.3), Limb(-0.45, 0.4))
KICK = Pose(-0.35, Limb(0.9, 1.4), Limb(-0.8, 0.9), Limb(1.45, 0.12), Limb(-0.12, 0.12))
GRAPPLE = Pose(0.68, Limb(1.75, 0.15), Limb(1.5, 0.3), Limb(0.55, 0.7), Limb(-0.75, 0.2))
STAGGER = Pose(-0.5, Limb(1.3, 0.5), Limb(-1.1, 0.4), Limb(0.65, 0.2), Limb(-0.2, 0.6))
STOMP = Pose(0.5, Limb(0.9, 1.3), Limb(-0.9, 0.6), Limb(1.0, 1.2), Limb(-0.2, 0.15))
BEAT_DOWN = Pose(0.95, Limb(1.1, 0.1), Limb(2.4, 0.6), Limb(0.75, 1.0), Limb(-0.45, 0.5))
LIE = Pose(0.1, Limb(0.7, 0.9), Limb(-0.4, 0.4), Limb(0.5, 0.9), Limb(0.1, 0.2), roll=-1.42)
CURL_UP = Pose(0.5, Limb(1.7, 1.5), Limb(1.4, 1.6), Limb(1.3, 1.6), Limb(0.9, 1.4), roll=-1.3)
AIM = Pose(0.06, Limb(1.55, 0.02), Limb(1.4, 0.2), Limb(0.26, 0.12), Limb(-0.32, 0.06))
AIM_ONE_HAND = Pose(-0.02, Limb(1.57, 0.02), Limb(-0.1, 0.25), Limb(0.2, 0.05), Limb(-0.3, 0.05))
DUCK = Pose(1.0, Limb(2.5, 1.6), Limb(2.2, 1.7), Limb(1.5, 2.3), Limb(0.9, 2.2))
