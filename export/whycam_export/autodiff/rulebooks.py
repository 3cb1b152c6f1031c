"""The rule books: for each a rule per operator. They differ in a few rules; the walk is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whycam_export.autodiff.rules import (
    convolution,
    elementwise,
    excitation,
    guided,
    layout,
    linear,
    lrp,
    normalization,
    pooling,
    reduction,
)

if TYPE_CHECKING:
    from whycam_export.autodiff.walk import Rule

GRADIENT: dict[str, Rule] = {
    **elementwise.RULES,
    **linear.RULES,
    **convolution.RULES,
    **pooling.RULES,
    **normalization.RULES,
    **reduction.RULES,
    **layout.RULES,
}

BOOKS: dict[str, dict[str, Rule]] = {
    "gradient": GRADIENT,
    "guided": {**GRADIENT, **guided.RULES},
    "excitation": {**GRADIENT, **excitation.RULES},
    "lrp": {**GRADIENT, **lrp.COMPOSITE_RULES},
    "lrp-epsilon": {**GRADIENT, **lrp.EPSILON_RULES},
    "lrp-z-plus": {**GRADIENT, **lrp.Z_PLUS_RULES},
}


def rulebook(name: str) -> dict[str, Rule]:
    """The rule book `name`; raises ValueError where there is none."""
    if name not in BOOKS:
        raise ValueError(f"no rule book '{name}'; there are {', '.join(BOOKS)}")
    return BOOKS[name]
