"""What the tests of `whycam doctor` share: recorded machines, and installations made of parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.mqtt.conftest import start_broker
from whycam.config.models import Config
from whycam.doctor.installation import Installation
from whycam.doctor.machine import Machine
from whycam.doctor.report import Finding, Status

__all__ = ["start_broker"]

TREES = Path(__file__).parent / "trees"


def recorded(name: str, **found: Any) -> Installation:
    """The recorded machine `name`, with what libraries there would have said."""
    machine = Machine(TREES / name, "x86_64" if name == "desktop" else "aarch64")
    installation = Installation(machine, None)
    for library, answer in found.items():
        installation.once(library, lambda answer=answer: answer)
    return installation


def only(findings: Any) -> Finding:
    """The one finding, which says how to mend what has failed."""
    (finding,) = findings
    return checked(finding)


def checked(finding: Finding) -> Finding:
    assert "\n" not in finding.found
    assert finding.fix or finding.status is not Status.FAILURE
    return finding


@pytest.fixture
def configured(tmp_path: Path, built_bundle: Path) -> Callable[..., Installation]:
    """An installation on this machine: a camera `gate` and these tables."""

    def make(seconds: float = 20, cameras: Any = None, **tables: Any) -> Installation:
        camera = {"name": "gate", "source": str(tmp_path / "video.mp4"), "bundle": built_bundle}
        values = {
            "device": "entrance",
            "state_directory": tmp_path / "state",
            "metrics": {"enabled": False},
            **tables,
            "cameras": [{**camera, **one} for one in (cameras or [{}])],
        }
        installation = Installation(Machine(), tmp_path / "whycam.toml", seconds, Config.model_validate(values))
        for library in ("numpy", "opencv", "onnxruntime"):
            # They are there, as this test has them; what they say is tested elsewhere.
            installation.once(library, dict)
        return installation

    return make
