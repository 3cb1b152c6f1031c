"""The page on differentiating a model: its example runs, and it names each book and each operator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from whycam_export.autodiff.rulebooks import BOOKS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "howto" / "differentiate.md").read_text(encoding="utf-8")


def test_the_example_runs_and_its_gradient_is_right() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(example[1], names)
    first, second = (names["weights"][name] for name in ("w1", "w2"))
    hidden = names["x"] @ first
    np.testing.assert_allclose(names["by_r"], second[:, 1][None], rtol=1e-5)
    np.testing.assert_allclose(names["by_x"], (second[:, 1] * (hidden > 0)) @ first.T, rtol=1e-4)


def test_each_book_is_in_the_table() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", PAGE, flags=re.MULTILINE) == list(BOOKS)


def test_each_operator_is_named() -> None:
    section = PAGE.partition("## Operators")[2].partition("##")[0]
    assert sorted(re.findall(r"\b[A-Z]\w+", section)) == sorted(BOOKS["gradient"].rules)
