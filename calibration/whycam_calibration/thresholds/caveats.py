"""What must not be overlooked of thresholds that were found: what is not promised, not known or not read."""

from __future__ import annotations

from whycam_calibration.thresholds.rates import hours_to_promise
from whycam_calibration.thresholds.run import Calibration
from whycam_calibration.thresholds.units import hours_text, number_text, rate_text


def caveats_of(made: Calibration) -> list[str]:
    """A line for each, the promise first."""
    return [*_promise(made), *_classes(made), *_temperature(made), *_clips(made)]


def _promise(made: Calibration) -> list[str]:
    checked, target = made.checked_all, made.options.target
    asked = rate_text(target)
    if made.verdict == "promised":
        return []
    counted = f"{checked.alarms} in {hours_text(checked.hours)}"
    if made.verdict == "broken":
        return [
            f"{asked} is broken: the held-back footage raised {counted}, at least {number_text(checked.interval[0])} "
            "per hour. It shows what the rest does not: give more footage, from all times of day"
        ]
    needed = hours_to_promise(target, checked.alarms)
    takes = (
        f"It takes {hours_text(needed)} held back {'with no more alarms' if checked.alarms else 'without an alarm'}, "
        f"{hours_text(needed / made.options.held_back)} of normal footage in all"
    )
    if not checked.hours:
        return [f"{asked} is not promised: there was nothing left to check on. {takes}"]
    return [
        f"{asked} is not promised: the held-back footage raised {counted}, so it may be up to "
        f"{number_text(checked.interval[1])} per hour. {takes}"
    ]


def _classes(made: Calibration) -> list[str]:
    told = []
    for point in made.points:
        if point.chosen.detection is None:
            told.append(
                f"there is no clip of '{point.label}': its threshold keeps false alarms down, and whether it is ever "
                "reached by what it is for is not known"
            )
        if not point.chosen.kept:
            told.append(
                f"normal footage scores {point.chosen.highest or 0:.6f} for '{point.label}': no threshold keeps it "
                "from alarming; train the model on such footage"
            )
        if point.chosen.detection is not None and point.chosen.detection.rate < 0.5:
            found = point.chosen.detection
            told.append(
                f"of {found.events} events of '{point.label}' {len(found.delays)} are detected: where false alarms "
                "stay so few, this model hardly tells them from normal footage; allow more, or train it on such "
                "footage"
            )
    return told


def _temperature(made: Calibration) -> list[str]:
    manifest = made.bundle.manifest
    # A clip of one decision or so shows its class or shows nothing; in a longer one the event may begin late.
    long = [
        clip
        for clip in made.material.clips
        if clip.label != manifest.normal and clip.events is None and clip.warm.sum() > manifest.window.frames
    ]
    if made.temperature.fitted is None or made.temperature.reason is not None or not long:
        return []
    return [
        f"of {len(long)} clips it is not known when the event lasts, so each of their windows was taken to show it: "
        f"where it begins later, the temperature of {made.temperature.value:g} is too high, and so is the calibration "
        "error; give ranges.csv"
    ]


def _clips(made: Calibration) -> list[str]:
    told = []
    material = made.material
    if material.unread:
        names = ", ".join(list(material.unread)[:5]) + (", ..." if len(material.unread) > 5 else "")
        read = len(material.clips) + len(material.footage)
        told.append(f"{len(material.unread)} of {len(material.unread) + read} videos could not be read: {names}")
    if material.trained_on:
        told.append(f"{material.trained_on} clips were left out: their manifest gives them to training")
    for point in made.points:
        found = point.chosen.detection
        if found is not None and found.held:
            told.append(
                f"{found.held} of {len(material.of(point.label))} clips of '{point.label}' are shorter than a window "
                f"and the {point.chosen.rules.minimum_seconds:g} s that a score must hold: what they show was taken "
                "to go on"
            )
    return told
