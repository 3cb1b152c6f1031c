"""The rule books: for each a rule per operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whycam_export.autodiff.rules import convolution, elementwise, layout, linear, normalization, pooling, reduction

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

BOOKS = {"gradient": GRADIENT}


def rulebook(name: str) -> dict[str, Rule]:
    """The rule book `name`; raises ValueError where there is none."""
    if name not in BOOKS:
        raise ValueError(f"no rule book '{name}'; there are {', '.join(BOOKS)}")
    return BOOKS[name]
