"""The examination itself: whatever a check does, each has its finding, and there is an end."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.runtime.doctor.conftest import Installation
from whycam.doctor import asking, examine, probe
from whycam.doctor.catalogue import CHECKS, SECTIONS, section_of
from whycam.doctor.examine import LAST, PLATFORM, WITH_CONFIG, Check
from whycam.doctor.machine import Machine
from whycam.doctor.report import Finding, Report, Status, failure, ok, skipped, warning
from whycam.doctor.screen import show
from whycam.doctor.users import this_user

NAMES = ("broker.name", "broker.tcp", "broker.tls")


class Acting(Check):
    """A check that does what a test wants."""

    act: Callable[[], Iterator[Finding]]

    def run(self, installation: Installation) -> Iterator[Finding]:
        return type(self).act()


def acting(act: Callable[[], Iterator[Finding]]) -> Check:
    kind = type("One", (Acting,), {"act": staticmethod(act)})
    return kind(NAMES, "", "")


def examined(*acts: Callable[[], Iterator[Finding]], seconds: float = 5) -> Report:
    installation = Installation(Machine(), None, seconds)
    return examine.examine(installation, lambda *_: None, [[acting(act) for act in acts]])


def raises() -> Iterator[Finding]:
    yield ok("broker.name", "known")
    raise RuntimeError("something\nunheard of")


def test_a_check_that_raises_is_a_failure_of_that_check_in_one_line() -> None:
    first, second = examined(raises).findings

    assert first.status is Status.OK
    assert (second.check, second.status) == ("broker.tcp", Status.FAILURE)
    assert second.found == "the check itself has failed: RuntimeError: something unheard of"


def test_a_check_that_exits_or_is_not_there_is_a_failure_too() -> None:
    def exits() -> Iterator[Finding]:
        sys.exit(3)
        yield

    assert examined(exits).findings[0].status is Status.FAILURE
    installation = Installation(Machine(), None, 5)
    report = examine.examine(installation, lambda *_: None, [[Check(("broker.name",), "no_such", "check")]])
    assert "ModuleNotFoundError" in report.findings[0].found


def test_a_check_that_hangs_ends_with_the_others() -> None:
    def hangs() -> Iterator[Finding]:
        yield ok("broker.name", "known")
        time.sleep(60)

    began = time.monotonic()
    report = examined(hangs, raises, seconds=1.5)

    assert time.monotonic() - began < 30
    assert ("broker.tcp", Status.FAILURE) in [(one.check, one.status) for one in report.findings]
    assert any("has not ended after 1.5 s" in one.found for one in report.findings)


def test_each_check_is_in_the_catalogue_and_is_done() -> None:
    done = [name for check in (*PLATFORM, *WITH_CONFIG, *LAST) for name in check.names]

    assert sorted(done) == sorted(CHECKS)
    assert {section_of(name) for name in CHECKS} == set(SECTIONS)


def test_the_reference_names_each_check_in_this_order() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reference" / "doctor.md").read_text(encoding="utf-8")
    table = text.partition("## `--json`")[0]

    assert re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", table, re.MULTILINE) == list(CHECKS)


def test_progress_is_told_for_each_section() -> None:
    told: list[tuple[str, int, int]] = []
    installation = Installation(Machine(), None, 5)
    examine.examine(installation, lambda *one: told.append(one), [[acting(raises), acting(raises)]])

    assert told == [("broker", 0, 2), ("broker", 1, 2), ("broker", 2, 2)]


@pytest.fixture
def a_probe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Iterator[dict[str, Any]]]:
    """Runs a line of Python as a probe, in the process that would answer."""

    def ask(code: str, seconds: float = 20) -> Iterator[dict[str, Any]]:
        start = (
            "import sys, os, time; from whycam.doctor import probe\n"
            f"def act(question):\n    yield {{'n': 1}}\n    {code}\n"
            "probe.PROBES['it'] = act\nsys.argv[1:] = ['it']\nprobe.main()"
        )
        monkeypatch.setattr(asking, "COMMAND", [sys.executable, "-c", start])
        return asking.ask("it", {}, this_user(), time.monotonic() + seconds)

    return ask


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os.kill(os.getpid(), 4)", "crashes with SIGILL"),
        ("os.kill(os.getpid(), 11)", "crashes with SIGSEGV"),
        ("raise ImportError('no such\\nthing')", "ImportError: no such thing"),
        ("os._exit(7)", "ends with status 7"),
    ],
)
def test_a_process_that_dies_is_told_by_how_it_did(a_probe: Any, code: str, told: str) -> None:
    answers = a_probe(code)

    assert next(answers) == {"n": 1}
    with pytest.raises(asking.NoAnswerError, match=told):
        next(answers)


def test_a_process_that_hangs_is_ended(a_probe: Any) -> None:
    answers = a_probe("time.sleep(100)", 6)
    next(answers)

    with pytest.raises(asking.NoAnswerError, match="no answer in time"):
        next(answers)
    assert not asking._running


def test_what_a_library_prints_is_no_answer(a_probe: Any) -> None:
    answers = list(a_probe("print('hello'); os.system('echo hello'); yield {'n': 2}"))

    assert answers == [{"n": 1}, {"n": 2}]


def test_every_probe_is_known_by_its_name() -> None:
    assert set(probe.PROBES) == {"numpy", "onnxruntime", "kernels", "opencv", "cameras", "models", "write"}


FINDINGS = (
    ok(
        "platform.device",
        "a board whose name is long enough to need more than one line of a narrow screen, 50 °C",
    ),
    warning("system.clock", "it drifts", "sudo timedatectl set-ntp true"),
    failure(
        "software.cuda",
        "holds sm_89: none for this GPU, sm_87",
        "pip uninstall -y onnxruntime-gpu && pip install onnxruntime-gpu --index-url https://an.index.example/with/a/long/path/jp6",
    ),
    failure("system.secrets", "no line loads it", "sudo systemctl edit whycam    # [Service]\nLoadCredential=a:/etc/b"),
    skipped("broker.tls", "not reached"),
    ok("camera.open", "640 x 480", camera="gate"),
)


def report(*findings: Finding) -> Report:
    return Report("2026-11-26T05:00:00Z", "0.1.0", None, None, 2.5, findings or FINDINGS)


def screen(width: int, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, highlight=False, color_system=None)
    show(report(), console)
    file.flush()
    file.seek(0)
    return file.read()


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_is_as_wide_as_the_terminal_but_for_fixes_which_are_copied_whole(width: int) -> None:
    lines = screen(width).splitlines()
    fixes = [line for finding in FINDINGS for line in (finding.fix or "").splitlines()]

    for fix in fixes:
        assert f"     {fix}" in lines
    assert all(len(line.rstrip()) <= width for line in lines if line.strip() not in fixes)
    assert all(title in lines for title in ("Platform", "Software", "System", "Broker", "Cameras"))


def test_the_screen_tells_the_outcome_last() -> None:
    lines = screen(120).splitlines()

    assert "2 failures, 1 warning, 2 ok, 1 skipped  in 2.5 s" in lines
    assert any(line.split() == ["✗", "CUDA", "code", *FINDINGS[2].found.split()] for line in lines)
    assert any("gate  640 x 480" in line for line in lines)


def test_a_terminal_that_knows_ascii_alone_gets_ascii() -> None:
    text = screen(100, "ascii")

    assert "XX CUDA code" in text
    assert "!! Clock" in text


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [((Status.OK, Status.SKIPPED), "ok"), ((Status.WARNING, Status.OK), "warning"), ((Status.FAILURE,), "failure")],
)
def test_the_document_tells_the_worst(statuses: tuple[Status, ...], worst: str) -> None:
    told = json.loads(report(*(Finding("broker.tcp", one, "x", "y") for one in statuses)).json())

    assert told["status"] == worst
    assert told["schema"] == "whycam.doctor/1"
    assert sum(told["counts"].values()) == len(statuses)


def test_processes_are_not_left_behind() -> None:
    began = time.monotonic()
    answers = asking.ask("cameras", {"cameras": [], "seconds": 1}, this_user(), began + 20)
    assert list(answers) == []
    assert os.getpid() and not asking._running
