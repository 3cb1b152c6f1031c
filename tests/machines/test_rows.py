"""The judge of the power cuts: it must see what a machine had accepted and nobody received."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.subscriber import Arrival
from tests.chaos.verdict import Accepted
from tests.machines import report
from tests.machines.rows import Row, accepted_in, count

ONE, TWO = "01a20bd1-c2a2-71d9-a867-b0fa038adb33", "01a20bd1-c2a2-71d9-a867-b0fa038adb34"
PHASES = ("raised", "updated", "cleared")


def alert(sequence: int, id_: str = ONE, score: float = 1.0) -> Arrival:
    body = {
        "id": id_,
        "event_id": f"{id_}/{sequence}",
        "sequence": sequence,
        "phase": PHASES[sequence],
        "score": score,
    }
    return Arrival("whycam/machine/gate/alert", json.dumps(body).encode(), False, 0.0, body)


def entry(phase: str, id_: str = ONE) -> dict[str, str]:
    return {"MESSAGE": f"fight {phase}: threshold 1.000", "WHYCAM_ALERT": id_}


def test_the_journal_tells_what_was_accepted_once_each() -> None:
    journal = [
        entry("raised"),
        {},
        {"MESSAGE": "fight raised: threshold 1.000"},
        {"MESSAGE": "no explanation: the window is gone", "WHYCAM_ALERT": ONE},
        entry("raised"),
        entry("cleared"),
        entry("raised", TWO),
    ]
    assert accepted_in(journal) == [Accepted(ONE, "raised"), Accepted(ONE, "cleared"), Accepted(TWO, "raised")]


def test_all_that_was_accepted_and_arrived_is_not_lost() -> None:
    accepted = [Accepted(ONE, "raised"), Accepted(ONE, "cleared")]
    counted = count(accepted, [ONE], [alert(0), alert(1), alert(1), alert(2)])
    assert (counted.accepted, counted.lost, counted.doubled, counted.problems) == (1, (), (), [])


@pytest.mark.parametrize(
    ("accepted", "evidence", "arrivals", "lost"),
    [
        ([Accepted(ONE, "raised")], [], [], f"{ONE} raised"),
        ([Accepted(ONE, "raised"), Accepted(ONE, "cleared")], [], [alert(0)], f"{ONE} cleared"),
        ([Accepted(ONE, "raised")], [TWO], [alert(0)], f"{TWO} (has evidence)"),
        ([Accepted(ONE, "raised")], [], [alert(0), alert(2)], f"{ONE} number 1"),
    ],
    ids=["an alert", "its end", "one with evidence", "a number"],
)
def test_what_did_not_arrive_is_lost(
    accepted: list[Accepted], evidence: list[str], arrivals: list[Arrival], lost: str
) -> None:
    counted = count(accepted, evidence, arrivals)
    assert counted.lost == (lost,)
    assert counted.problems == [f"lost: {lost}"]


def test_an_event_that_comes_again_with_another_content_is_told() -> None:
    counted = count([Accepted(ONE, "raised")], [], [alert(0), alert(0, score=0.5)])
    assert len(counted.doubled) == len(counted.problems) == 1


def test_a_run_in_which_nothing_was_accepted_proves_nothing() -> None:
    assert count([], [], []).problems


def test_a_run_replaces_its_own_section_alone(tmp_path: Path) -> None:
    page = tmp_path / "machines.md"
    marks = "<!-- {0}: written by the run -->\nold {0}\n<!-- {0}: end -->\n"
    page.write_text(f"# Machines\n\n{marks.format('vm')}\n{marks.format('arm64')}")
    rows = [
        Row("service", "starts", measured=["4.0 s", "a | b"]),
        Row("kit", "uninstalls", problems=["left: /opt"]),
        Row("kit", "undoes", skipped="no kit"),
    ]

    report.write(page, "vm", report.table(rows))

    text = page.read_text()
    assert "old vm" not in text and "old arm64" in text
    assert "| service | starts | 1 | 4.0 s; a \\| b | passed |" in text
    assert "| kit | undoes | 1 | no kit | skipped |" in text
    assert "- kit, uninstalls: left: /opt" in text
    with pytest.raises(ValueError, match="no place"):
        report.write(page, "riscv", "")


def test_the_section_names_parts_that_have_not_run_on_these_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not every machine that runs this test has it.
    monkeypatch.setattr(report, "qemu_version", lambda *_: "qemu")
    report.keep_part(tmp_path, "service", report.Result("sources", 60, [Row("service", "starts", measured=["4 s"])]))
    report.keep_part(tmp_path, "kit", report.Result("older sources", 60, [Row("kit", "installs")]))
    parts = {name: report.read_part(tmp_path, name, "sources") for name in ("service", "kit", "alerts")}

    text = report.vm_section(parts, ())

    assert "| service | starts | 1 | 4 s | passed |" in text
    assert "| kit |" not in text
    assert "Not run on these sources: kit, alerts." in text
