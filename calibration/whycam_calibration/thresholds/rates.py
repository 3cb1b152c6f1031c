"""False alarms per hour, with the interval that a count allows."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import chi2

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """Alarms in so many hours."""

    alarms: int
    hours: float

    @property
    def per_hour(self) -> float:
        """The estimate; 0 where there were no hours."""
        return self.alarms / self.hours if self.hours > 0 else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Per hour, the exact 95 % interval of a Poisson count (Garwood 1936), by its relation to chi-squared."""
        if self.hours <= 0:
            return 0.0, float("inf")
        tail = (1 - CONFIDENCE) / 2
        low = chi2.ppf(tail, 2 * self.alarms) / 2 if self.alarms else 0.0
        high = chi2.ppf(1 - tail, 2 * (self.alarms + 1)) / 2
        return float(low) / self.hours, float(high) / self.hours

    def promises(self, target: float) -> bool:
        """Whether the whole interval is at or below `target` alarms per hour."""
        return self.interval[1] <= target

    def breaks(self, target: float) -> bool:
        """Whether the whole interval is above `target` alarms per hour."""
        return self.interval[0] > target


def hours_to_promise(target: float, alarms: int = 0) -> float:
    """Hours with so many alarms in them that promise `target` alarms per hour: with none, 3.69 / target."""
    return Rate(alarms, 1.0).interval[1] / target


def most_alarms(target: float, hours: float) -> int | None:
    """The most alarms in `hours` that still promise `target` per hour; None where even none would not."""
    if not Rate(0, hours).promises(target):
        return None
    # The bound grows with the count and lies above it, so the count is below the hours' target.
    low, high = 0, int(target * hours) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if Rate(middle, hours).promises(target):
            low = middle
        else:
            high = middle
    return low
