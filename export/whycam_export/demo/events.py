"""What happens in a scene: who does what, where and when, for each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam_export.demo import motion
from whycam_export.demo import pose as poses
from whycam_export.demo.backdrop import Backdrop
from whycam_export.demo.effects import Car, Fire, Flag, Screen, draw_flash, tileable_noise
from whycam_export.demo.figure import Person, draw_person, draw_shadow, muzzle, random_person
from whycam_export.demo.motion import Act, Script, script

CLASSES = ("normal", "fight", "fire", "shooting")
NORMAL = "normal"


@dataclass(frozen=True)
class Actor:
    """A person with a script; part of the anomaly from `involved` seconds on (never, where None)."""

    person: Person
    script: Script
    height: float
    y: float
    involved: float | None = None

    def draw(self, canvas: NDArray[np.uint8], mask: NDArray[np.uint8], time: float) -> None:
        """Draw the person at `time`; the mask gains the person where involved, else loses what the person hides."""
        stance = self.script.at(time)
        if not -self.height < stance.x < canvas.shape[1]:
            return
        at = poses.joints(stance.pose, stance.x, stance.y, self.height, stance.facing)
        outline = np.zeros_like(mask)
        draw_shadow(canvas, stance.x, stance.y, self.height)
        draw_person(canvas, outline, self.person, at, self.height, stance.gun)
        if self.involved is not None and time >= self.involved:
            np.maximum(mask, outline, out=mask)
        else:
            mask[outline > 0] = 0
        if stance.flash:
            draw_flash(canvas, mask, muzzle(at, self.height), self.height, stance.facing, 40 * time)


@dataclass(frozen=True)
class Place:
    """The room for an event, in pixels of the frame, and the time it takes."""

    width: float
    height: float
    backdrop: Backdrop
    duration: float
    onset: float

    def depth(self, rng: np.random.Generator, low: float = 0.35, high: float = 0.95) -> float:
        """A row on the ground, from far (0) to near (1)."""
        top = self.backdrop.ground_top
        return float(top + (self.height - top) * rng.uniform(low, high))

    def tall(self, y: float) -> float:
        """The height in pixels of a person who stands at row `y`."""
        return 0.84 * (y - self.backdrop.horizon)

    def across(self, rng: np.random.Generator, margin: float = 0.2) -> float:
        """A column away from the edges by `margin` widths."""
        return float(self.width * rng.uniform(margin, 1 - margin))


def stage(
    rng: np.random.Generator, label: str, backdrop: Backdrop, width: int, height: int, duration: float, onset: float
) -> list[Actor | Fire | Car | Flag | Screen]:
    """All that moves in a scene of `label`: its event, passers-by, and harmless things."""
    place = Place(width, height, backdrop, duration, onset)
    events: dict[str, Callable[[np.random.Generator, Place], list[Actor | Fire]]] = {
        "normal": _everyday,
        "fight": _fight,
        "fire": _fire,
        "shooting": _shooting,
    }
    things: list[Actor | Fire | Car | Flag | Screen] = list(events[label](rng, place))
    things += [_passer_by(rng, place) for _ in range(int(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2])))]
    things += _harmless(rng, place)
    return things


def _actor(rng: np.random.Generator, place: Place, y: float, acts: Script, involved: float | None = None) -> Actor:
    height = place.tall(y) * float(rng.uniform(0.95, 1.05))
    return Actor(random_person(rng), acts, height, y, involved)


def _passer_by(rng: np.random.Generator, place: Place) -> Actor:
    y = place.depth(rng, 0.15, 0.95)
    tall = place.tall(y)
    direction = int(rng.choice([-1, 1]))
    x = rng.uniform(-0.2, 1.0) * place.width if direction > 0 else rng.uniform(0.0, 1.2) * place.width
    if rng.random() < 0.2:
        act = motion.running(x, y, direction * tall * rng.uniform(1.2, 1.7), tall, rng.uniform(0, 6.3))
    else:
        act = motion.walking(x, y, direction * tall * rng.uniform(0.35, 0.7), tall, rng.uniform(0, 6.3))
    return _actor(rng, place, y, script((0.0, act)))


def _meeting(
    rng: np.random.Generator, place: Place, gap: float
) -> tuple[float, float, float, list[tuple[float, Act]], list[tuple[float, Act]]]:
    """Two people who come together, or talk, until the onset: (x, y, height), the acts of the left and the right."""
    y = place.depth(rng)
    tall = place.tall(y)
    x = place.across(rng, 0.25)
    left, right = x - gap * tall / 2, x + gap * tall / 2
    if rng.random() < 0.5:
        pace = tall * rng.uniform(0.4, 0.65)
        acts = (
            motion.walking(left, y, pace, tall, rng.uniform(0, 6.3), since=place.onset),
            motion.walking(right, y, -pace, tall, rng.uniform(0, 6.3), since=place.onset),
        )
    else:
        acts = (motion.talking(left, y, 1, rng), motion.talking(right, y, -1, rng))
    return x, y, tall, [(0.0, acts[0])], [(0.0, acts[1])]


def _everyday(rng: np.random.Generator, place: Place) -> list[Actor | Fire]:
    kind = rng.random()
    if kind < 0.55:
        gap = float(rng.uniform(0.35, 0.6))
        x, y, tall, one, two = _meeting(rng, place, gap)
        ends = (x - gap * tall / 2, x + gap * tall / 2)
        manner = rng.random()
        for acts, where, facing in ((one, ends[0], 1), (two, ends[1], -1)):
            if manner < 0.3:
                acts.append((place.onset, motion.holding(where, y, facing, poses.SHAKE_HANDS, rng)))
                acts.append((place.onset + 1.2, motion.talking(where, y, facing, rng)))
            elif manner < 0.5:
                near = x - facing * 0.13 * tall
                acts.append((place.onset, motion.holding(near, y, facing, poses.EMBRACE, rng)))
                acts.append((place.onset + 1.6, motion.talking(where, y, facing, rng)))
            elif manner < 0.75:
                acts.append((place.onset, motion.talking(where, y, facing, rng)))
            else:
                pace = facing * tall * rng.uniform(0.4, 0.65)
                acts.append((place.onset, motion.walking(where, y, pace, tall, since=place.onset)))
        return [_actor(rng, place, y, script(*one)), _actor(rng, place, y + 0.5, script(*two))]
    y = place.depth(rng)
    tall = place.tall(y)
    x, facing = place.across(rng), int(rng.choice([-1, 1]))
    walk = motion.walking(x, y, facing * tall * 0.5, tall, rng.uniform(0, 6.3), since=place.onset)
    still = {
        0: motion.waving(x, y, facing, rng),
        1: motion.holding(x, y, facing, poses.PHONE, rng),
        2: motion.holding(x, y, facing, poses.TIE_SHOES, rng),
        3: motion.running(x, y, facing * tall * 1.4, tall, since=place.onset),
        4: motion.holding(x, y, facing, poses.stand(), rng),
    }[int(rng.integers(5))]
    return [_actor(rng, place, y, script((0.0, walk), (place.onset, still)))]


def _fight(rng: np.random.Generator, place: Place) -> list[Actor | Fire]:
    x, y, tall, one, two = _meeting(rng, place, 0.46)
    left, right = motion.fighting(x, y, tall, place.onset, place.duration, rng)
    return [
        _actor(rng, place, y, script(*one, *left), place.onset),
        _actor(rng, place, y + 0.5, script(*two, *right), place.onset),
    ]


def _fire(rng: np.random.Generator, place: Place) -> list[Actor | Fire]:
    y = place.depth(rng, 0.1, 0.9)
    size = float((y - place.backdrop.horizon) * rng.uniform(0.4, 0.85))
    x = place.across(rng, 0.14)
    fire = Fire(x, y, size, place.onset, float(rng.uniform(0.35, 0.85)), tileable_noise(rng))
    if rng.random() < 0.5:
        return [fire]
    ground = place.depth(rng)
    tall = place.tall(ground)
    side = -1 if x > place.width / 2 else 1
    from_x = x + side * place.width * rng.uniform(0.2, 0.45)
    flee = motion.running(from_x, ground, side * tall * 1.3, tall, since=place.onset + 0.6)
    before = motion.holding(from_x, ground, -side, poses.stand(), rng)
    return [fire, _actor(rng, place, ground, script((0.0, before), (place.onset + 0.6, flee)))]


def _shooting(rng: np.random.Generator, place: Place) -> list[Actor | Fire]:
    y = place.depth(rng)
    tall = place.tall(y)
    facing = int(rng.choice([-1, 1]))
    x = place.width * (0.5 - facing * rng.uniform(0.05, 0.3))
    arrival = place.onset - rng.uniform(0.2, 1.0)
    pace = facing * tall * rng.uniform(0.4, 0.6)
    first = place.onset + rng.uniform(0.12, 0.3)
    shots = list(first + np.cumsum(np.concatenate([[0.0], rng.uniform(0.25, 0.55, 40)])))
    aim = motion.shooting(x, y, facing, shots, bool(rng.random() < 0.4), 0.1)
    gunman = script(
        (0.0, motion.walking(x, y, pace, tall, rng.uniform(0, 6.3), since=arrival)),
        (arrival, motion.holding(x, y, facing, poses.stand(), rng)),
        (place.onset, aim),
    )
    people: list[Actor | Fire] = [_actor(rng, place, y, gunman, place.onset)]
    hits = rng.random() < 0.6
    return people + [_target(rng, place, x, facing, first, hits and not k) for k in range(int(rng.integers(1, 4)))]


def _target(rng: np.random.Generator, place: Place, gunman: float, facing: int, first: float, hit: bool) -> Actor:
    y = place.depth(rng)
    tall = place.tall(y)
    x = gunman + facing * place.width * rng.uniform(0.22, 0.5)
    look = int(rng.choice([-1, 1]))
    before = motion.talking(x, y, look, rng) if rng.random() < 0.5 else motion.holding(x, y, look, poses.stand(), rng)
    reacts = first + rng.uniform(0.1, 0.5)
    if hit:
        lies = motion.holding(x, y, look, poses.LIE, rng)
        stagger = motion.holding(x, y, look, poses.STAGGER, rng)
        return _actor(rng, place, y, script((0.0, before), (reacts, stagger), (reacts + 0.25, lies)), reacts)
    if rng.random() < 0.5:
        after = motion.holding(x, y, look, poses.DUCK, rng)
    else:
        after = motion.running(x, y, facing * tall * rng.uniform(1.2, 1.6), tall, since=reacts)
    return _actor(rng, place, y, script((0.0, before), (reacts, after)))


def _harmless(rng: np.random.Generator, place: Place) -> list[Actor | Fire | Car | Flag | Screen]:
    things: list[Actor | Fire | Car | Flag | Screen] = []
    warm = ((30, 60, 215), (30, 130, 240), (60, 200, 240), (40, 40, 160), (200, 120, 40), (220, 220, 220))

    def colour() -> tuple[float, float, float]:
        b, g, r = warm[int(rng.integers(len(warm)))]
        return float(b), float(g), float(r)

    if place.backdrop.place != "corridor" and rng.random() < 0.35:
        y = place.depth(rng, 0.08, 0.3)
        direction = int(rng.choice([-1, 1]))
        x = place.width * (rng.uniform(-0.8, 0.3) if direction > 0 else rng.uniform(0.7, 1.8))
        long = 2.4 * place.tall(y)
        body = colour() if rng.random() < 0.5 else (float(rng.uniform(30, 220)),) * 3
        things.append(Car(x, y, direction * long * rng.uniform(0.25, 0.7), long, body, bool(rng.random() < 0.5)))
    if rng.random() < 0.22:
        y = place.depth(rng, 0.0, 0.3)
        size = place.tall(y) * rng.uniform(0.4, 0.65)
        things.append(
            Flag(place.across(rng, 0.05), y, size, (colour(), colour()), rng.uniform(6, 11), rng.uniform(0, 6))
        )
    if rng.random() < 0.18:
        size = place.width * rng.uniform(0.1, 0.18)
        shown = tuple(colour() for _ in range(4))
        things.append(
            Screen(place.across(rng, 0.08), place.backdrop.ground_top - 6, size, shown, rng.uniform(0.7, 3.0))
        )
    return things
