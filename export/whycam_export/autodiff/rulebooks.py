"""The rule books: for each a rule per operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    resize,
)

if TYPE_CHECKING:
    from whycam_export.autodiff.walk import Rule


@dataclass(frozen=True)
class RuleBook:
    """A rule per operator.

    With `top` the linear layers that the outputs are read off have rules of their own, and the nodes above them keep
    those of `above`; a book that `needs_top` says nothing without such a layer.
    """

    rules: Mapping[str, Rule]
    top: Mapping[str, Rule] = field(default_factory=dict)
    above: Mapping[str, Rule] = field(default_factory=dict)
    needs_top: bool = False


GRADIENT: dict[str, Rule] = {
    **elementwise.RULES,
    **linear.RULES,
    **convolution.RULES,
    **pooling.RULES,
    **normalization.RULES,
    **reduction.RULES,
    **layout.RULES,
    **resize.RULES,
}

EXCITATION: dict[str, Rule] = {**GRADIENT, **excitation.rules(GRADIENT)}

BOOKS = {
    "gradient": RuleBook(GRADIENT),
    "guided": RuleBook({**GRADIENT, **guided.rules(GRADIENT)}),
    "excitation": RuleBook(EXCITATION, excitation.top(GRADIENT), GRADIENT),
    "contrastive-excitation": RuleBook(
        EXCITATION, excitation.top(GRADIENT, contrastive=True), GRADIENT, needs_top=True
    ),
    "lrp": RuleBook({**EXCITATION, **lrp.composite(GRADIENT)}),
    "lrp-epsilon": RuleBook({**EXCITATION, **lrp.epsilon(GRADIENT)}),
    "lrp-z-plus": RuleBook(EXCITATION),
}


def rulebook(name: str) -> RuleBook:
    """The rule book `name`; raises ValueError where there is none."""
    if name not in BOOKS:
        raise ValueError(f"no rule book '{name}'; there are {', '.join(BOOKS)}")
    return BOOKS[name]
