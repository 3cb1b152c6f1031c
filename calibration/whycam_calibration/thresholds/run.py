"""From footage to operating points: what `whycam calibrate thresholds` does, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whycam.alerts.episodes import EpisodeRules
from whycam.bundle import Bundle, check_writable
from whycam.bundle.manifest import AlertRule
from whycam.detect import Model
from whycam_calibration.errors import CalibrationError
from whycam_calibration.thresholds.alarms import Alarm, alarms_of
from whycam_calibration.thresholds.choice import Footage, Point, choose_point
from whycam_calibration.thresholds.examples import Examples, examples_of
from whycam_calibration.thresholds.material import Material, Progress, find_material, watch
from whycam_calibration.thresholds.rates import Rate
from whycam_calibration.thresholds.split import Parts, hold_back
from whycam_calibration.thresholds.temperature import Temperature, calibrated_temperature
from whycam_calibration.thresholds.timeline import Timeline
from whycam_calibration.thresholds.tradeoff import Step, tradeoff


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    target: float
    """False alarms per hour of one camera, all classes together."""
    held_back: float = 1 / 3
    """The part of the normal footage that is not used to choose."""
    precision: str = "fp32"
    providers: Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was found."""

    bundle: Bundle
    options: Options
    material: Material
    examples: Examples | None
    temperature: Temperature
    parts: Parts
    points: tuple[Point, ...]
    tradeoffs: dict[str, tuple[Step, ...]]
    chosen_on: Rate
    """All classes together, on the footage that the points were chosen on."""
    checked: dict[str, Rate]
    """Of each class, on the footage that was held back."""
    checked_all: Rate

    @property
    def rules(self) -> dict[str, EpisodeRules]:
        """Of each class."""
        return {point.label: point.chosen.rules for point in self.points}

    @property
    def verdict(self) -> str:
        """`promised` or `broken` where the held-back footage says so for sure, else `open`: it is too short."""
        if self.checked_all.promises(self.options.target):
            return "promised"
        return "broken" if self.checked_all.breaks(self.options.target) else "open"

    def alarms(self, timeline: Timeline) -> list[Alarm]:
        """What `timeline` raises by the rules found."""
        return raised(timeline, self.rules, self.temperature.value, self.bundle.manifest.classes)

    def changes(self) -> dict[str, Any]:
        """What changes in the bundle's manifest, as `whycam.bundle.revise` takes it."""
        return {
            "temperature": self.temperature.value,
            "thresholds": {name: rules.raise_at for name, rules in self.rules.items()},
            "alert_rules": {
                name: AlertRule(clear=rules.clear_at, minimum_seconds=rules.minimum_seconds)
                for name, rules in self.rules.items()
            },
        }


def check_options(options: Options) -> None:
    """Raise CalibrationError for what cannot be asked."""
    if not 0 < options.target < float("inf"):
        raise CalibrationError(f"{options.target:g} false alarms cannot be kept to; give a number above 0")
    if not 0.1 <= options.held_back <= 0.9:
        raise CalibrationError(f"--held-back {options.held_back:g}: give a share of the footage from 0.1 to 0.9")


def calibrate(
    bundle: Path,
    footage: Path | None,
    normal: Sequence[Path],
    options: Options,
    progress: Progress,
    told: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Watch the footage and find temperature, thresholds and rules; nothing is written.

    `told` hears of each step. Raises BundleError, InputError or CalibrationError for what it cannot work with.
    """
    check_options(options)
    opened = Bundle.open(bundle)
    check_writable(opened)
    manifest = opened.manifest
    # Found at the temperature of the graph, so that calibrating again begins where the first time did.
    plain = Bundle(opened.path, manifest.model_copy(update={"temperature": 1.0}))
    videos, trained_on = find_material(footage, normal, manifest)
    model = Model(plain, options.precision, options.providers)
    material = watch(model, videos, trained_on, progress)

    told("fitting the temperature")
    examples = examples_of(material, manifest)
    temperature = calibrated_temperature(examples, manifest.temperature)
    parts = hold_back(material.normal, options.held_back, manifest.window.frames)
    window_seconds = manifest.window.frames * manifest.window.frame_interval
    points, tradeoffs = [], {}
    for label in manifest.anomalies:
        told(f"choosing the threshold of {label}")
        column, clips = manifest.classes.index(label), material.of(label)
        scored = Footage(parts.choose, label, column, temperature.value)
        share = options.target / len(manifest.anomalies)
        point = choose_point(scored, clips, column, temperature.value, share, window_seconds)
        points.append(point)
        tradeoffs[label] = tradeoff(point, scored, clips, column, temperature.value, window_seconds)

    rules = {point.label: point.chosen.rules for point in points}
    counted = [
        [alarm.label for one in part for alarm in raised(one, rules, temperature.value, manifest.classes)]
        for part in (parts.choose, parts.check)
    ]
    hours = [sum(one.hours for one in part) for part in (parts.choose, parts.check)]
    return Calibration(
        opened,
        options,
        material,
        examples,
        temperature,
        parts,
        tuple(points),
        tradeoffs,
        Rate(len(counted[0]), hours[0]),
        {label: Rate(counted[1].count(label), hours[1]) for label in rules},
        Rate(len(counted[1]), hours[1]),
    )


def raised(
    timeline: Timeline, rules: dict[str, EpisodeRules], temperature: float, classes: Sequence[str]
) -> list[Alarm]:
    """The alarms of all classes; what is too short for the longest minimum duration is taken to go on."""
    shown = timeline.held(max(rule.minimum_seconds for rule in rules.values()))
    scores = shown.scores(temperature)
    return alarms_of(shown.times, {name: scores[:, classes.index(name)] for name in rules}, rules)
