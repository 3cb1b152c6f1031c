"""What the documents say, held against what is there: links, commands, options and names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import whycam
from tests.house.conftest import Environment

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "bench", "deploy", "runtime", "export", "calibration")
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(path for name in FOLDERS for path in (REPOSITORY / name).rglob("*.md"))]
)
REFERENCE = REPOSITORY / "docs" / "reference"

GROUPS = ("bundle", "calibrate", "config")
"""Subcommands that have subcommands of their own."""

OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z0-9-]*")


def name_of(document: Path) -> str:
    return document.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_inside_the_repository_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))

    assert [target for target in targets if "://" not in target and not leads_somewhere(document, target)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_use_options_that_exist(document: Path, workstation: Environment) -> None:
    unknown = []
    for line in command_lines(document.read_text(encoding="utf-8")):
        # What follows a pipe is another program's.
        subcommand, *arguments = line.partition(" | ")[0].split()[1:]
        if subcommand.startswith("-"):
            continue
        if subcommand in GROUPS:
            subcommand = f"{subcommand} {arguments.pop(0)}"
        known = options_of(workstation, subcommand)
        unknown += [f"{line}: {word}" for word in arguments if word.startswith("-") and word.split("=")[0] not in known]

    assert unknown == []


@pytest.mark.parametrize(
    "subcommand",
    [
        *("train", "export", "evaluate", "demo", "score", "explain", "run", "replay", "watch", "bench", "doctor"),
        *("calibrate precision", "calibrate thresholds", "calibrate drift", "calibrate report"),
        *("bundle keygen", "bundle pack", "bundle inspect", "bundle verify", "bundle sign"),
        *("bundle install", "bundle promote", "bundle list", "bundle rollback", "bundle wait"),
    ],
)
def test_the_reference_names_each_option(subcommand: str, workstation: Environment) -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    section = re.search(rf"^## `whycam {subcommand}\b.*?(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = [line for line in section[0].splitlines() if line.startswith("| `-")]

    documented = {option for row in rows for option in OPTION.findall(row.split(" | ")[0])}

    assert documented == options_of(workstation, subcommand) - {"-h", "--help"}


def test_the_reference_of_the_library_names_each_public_name() -> None:
    text = (REFERENCE / "python.md").read_text(encoding="utf-8")

    assert [name for name in whycam.__all__ if not re.search(rf"`(whycam\.)?{name}\b", text)] == []


def test_examples_in_python_are_python() -> None:
    examples = [
        (document, code)
        for document in DOCUMENTS
        for code in re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]

    assert examples
    for document, code in examples:
        compile(code, name_of(document), "exec")
        assert set(re.findall(r"\bwhycam\.([A-Za-z_]+)\(", code)) <= set(whycam.__all__)


def leads_somewhere(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(document: Path) -> set[str]:
    """The anchors that headings get: lower case, no punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(text: str) -> list[str]:
    """The `whycam` command lines in a document's indented and fenced code, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    fenced = re.findall(r"^ *```(?:console)?\n(.*?)^ *```", joined, flags=re.MULTILINE | re.DOTALL)
    prompted = [line for block in fenced for line in re.findall(r"^ *\$ (whycam .*)$", block, flags=re.MULTILINE)]
    return prompted + re.findall(r"^ {4,}(whycam .*)$", joined, flags=re.MULTILINE)


@cache
def options_of(environment: Environment, subcommand: str) -> set[str]:
    done = environment.run("whycam", *subcommand.split(), "--help")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.match(r"│ +\*? *-", line)]
    return {option for row in rows for option in OPTION.findall(re.split(r" {2,}(?=[A-Z<\[])", row.strip("│* "))[0])}
