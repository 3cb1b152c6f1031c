"""All that was measured, and its JSON; docs/reference/bench.md names each key."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from whycam.bench.cameras import MARGIN, MOST, Capacity, Load
from whycam.bench.clip import Clip
from whycam.bench.cold_start import ColdStart
from whycam.bench.machine import Machine
from whycam.bench.question import Question
from whycam.bench.stages import FrameCost, StageCost
from whycam.bench.variants import LeftOut, Variant
from whycam.bundle import Manifest

SCHEMA = "whycam.bench/1"


@dataclass(frozen=True)
class Measured:
    """All figures of one variant."""

    variant: Variant
    file: str
    """The feature extractor that ran."""
    providers: tuple[str, ...]
    """ONNX Runtime's names of the execution providers that really ran the CNN, the largest share of its time first."""
    threads: int | None
    """Of the session on the CPU; None where ONNX Runtime chooses, which takes one for each core."""
    stages: StageCost
    cameras: Capacity
    cameras_explained: Capacity | None
    """With every decision's newest frame explained; None where the bundle cannot explain."""
    cold_start: ColdStart


@dataclass(frozen=True)
class Report:
    """What a bundle costs on this device."""

    time: str
    """RFC 3339, UTC."""
    whycam: str
    """The version."""
    machine: Machine
    manifest: Manifest
    clip: Clip
    fps: float
    rounds: int
    question: Question | None
    """The explanation that was timed."""
    frames: FrameCost
    measured: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...]

    def json(self) -> str:
        """The report as an indented JSON document."""
        return json.dumps(self.document(), indent=2, ensure_ascii=False)

    def document(self) -> dict[str, Any]:
        """The report as plain values: times in seconds, memory in bytes."""
        manifest = self.manifest
        return {
            "schema": SCHEMA,
            "time": self.time,
            "whycam": self.whycam,
            "machine": asdict(self.machine),
            "bundle": {
                "name": manifest.name,
                "version": manifest.version,
                "frames": manifest.window.frames,
                "frame_interval": manifest.window.frame_interval,
                "height": manifest.input.height,
                "width": manifest.input.width,
            },
            "video": {
                "source": None if self.clip.drawn else self.clip.source,
                "width": self.clip.size[0],
                "height": self.clip.size[1],
                "fps": self.clip.fps,
            },
            "explanation": None if self.question is None else asdict(self.question),
            "fps": self.fps,
            "margin": MARGIN,
            "most_cameras": MOST,
            "rounds": self.rounds,
            "frame": asdict(self.frames),
            "variants": [_measured(one) for one in self.measured],
            "left_out": [{**asdict(one.variant), "reason": one.reason} for one in self.left_out],
        }


def _measured(one: Measured) -> dict[str, Any]:
    return {
        **asdict(one.variant),
        "file": one.file,
        "execution_providers": list(one.providers),
        "threads": one.threads,
        "stages": asdict(one.stages),
        "share_of_bare_session": {"decision": one.stages.share_of_decision, "from_file": one.stages.share_of_file},
        "cameras": _capacity(one.cameras),
        "cameras_explained": None if one.cameras_explained is None else _capacity(one.cameras_explained),
        "cold_start": {
            "first_frame": asdict(one.cold_start.first_frame),
            "first_decision": asdict(one.cold_start.first_decision),
        },
        "memory": asdict(one.cold_start.memory),
    }


def _capacity(capacity: Capacity) -> dict[str, Any]:
    return {"held": capacity.cameras, "tried": [_load(load) for load in capacity.loads]}


def _load(load: Load) -> dict[str, Any]:
    return {
        "cameras": load.cameras,
        "seconds": asdict(load.seconds),
        "seconds_per_camera": load.seconds_per_camera,
        "share": load.share,
        "holds": load.holds,
    }
