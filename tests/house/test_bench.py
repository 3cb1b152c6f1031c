"""The figures of the last run of `make bench`, held against what the documents and the goals name."""

from __future__ import annotations

import json
import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from bench.goals import GOALS, judge
from bench.pictures import PICTURES


@pytest.fixture(scope="module")
def results(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "bench" / "results.json").read_text(encoding="utf-8"))
    return found


def test_the_figures_are_those_of_the_full_network(results: dict[str, Any]) -> None:
    assert results["quick"] is False


def test_the_figures_that_the_readme_names_are_there(repository: Path, results: dict[str, Any]) -> None:
    text = (repository / "bench" / "README.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\|.*\| ((?:`[\w.-]+` ?)+) \|$", text, flags=re.MULTILINE)
    named = [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]

    assert len(named) >= len(cells) > 0
    assert [key for key in named if not there(results, key)] == []


def test_the_figures_that_goals_come_from_are_there(results: dict[str, Any]) -> None:
    assert [key for goal in GOALS for key in goal.keys if not there(results, key)] == []


def test_the_goals_are_judged_as_they_are_written_down(results: dict[str, Any]) -> None:
    verdicts = {verdict.figure: verdict for verdict in judge(results)}

    assert [verdict.figure for verdict in verdicts.values() if verdict.holds is None] == []
    assert {each["figure"]: each["holds"] for each in results["goals"]} == {
        figure: verdict.holds for figure, verdict in verdicts.items()
    }


def test_the_pictures_are_there(repository: Path) -> None:
    assert [name for name in PICTURES if not (repository / "bench" / f"{name}.png").is_file()] == []


def there(results: dict[str, Any], key: str) -> bool:
    try:
        reduce(lambda found, name: found[name], key.split("."), results)
    except (KeyError, TypeError):
        return False
    return True
