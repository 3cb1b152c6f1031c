"""Rates and times in the units that people use."""

from __future__ import annotations

import math


def rate_text(per_hour: float) -> str:
    """`1 false alarm per day`."""
    number, unit = (per_hour, "hour") if per_hour >= 1 else (per_hour * 24, "day")
    count = f"{number:.3g}"
    return f"{count} false alarm{'' if count == '1' else 's'} per {unit}"


def hours_text(hours: float) -> str:
    """`12.5 h`, or in minutes or seconds what is shorter, in days what is longer."""
    if hours >= 72:
        return f"{hours / 24:.3g} days"
    return f"{hours:.3g} h" if hours >= 2 else f"{hours * 60:.3g} min" if hours >= 1 / 30 else f"{hours * 3600:.3g} s"


def number_text(value: float) -> str:
    """Three digits, without powers of ten."""
    if math.isnan(value) or math.isinf(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
