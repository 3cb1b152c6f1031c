"""A million frames through the service as fast as it goes: does it keep its size?

`whycam run` as a process, a tiny model, a video that repeats without end and holds a fight and a fire in each turn, a
real Mosquitto. Every second the process's resident memory, open files and threads are sampled. After the warm-up, a
fifth of the frames, a line is fitted to the memory; its slope is given in bytes per 1000 frames. Writes the samples as
JSON and draws them; exit status 1 where memory grows by more than SLOPE_BYTES per 1000 frames, or open files or
threads by more than SPARE.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from tests.chaos.processes import Footprint, Supervisor, footprint
from tests.chaos.subscriber import Subscriber
from tests.runtime import tiny_bundle
from tests.runtime.mqtt.broker import Broker

SLOPE_BYTES = 4096
"""Per 1000 frames: 4 MiB in a million, which is the allocator's breathing."""
SPARE = 3
WARM_UP = 0.2
QUIET, ANOMALY = 460, 40
"""Frames of a scene."""

screen = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Sample:
    """The service at one moment."""

    seconds: float
    frames: int
    rss_bytes: int
    open_files: int
    threads: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("-o", "--output", type=Path, default=Path("bench/soak.json"))
    parser.add_argument("--plot", type=Path, default=Path("bench/soak.png"))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        samples, alerts = run(Path(folder), wanted.frames)
    result = figures(samples, alerts)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps({**result, "samples": [asdict(one) for one in thinned(samples)]}) + "\n")
    draw(samples, result, wanted.plot)
    print(json.dumps(result, indent=1))
    grown = abs(result["open_files_grown"]) > SPARE or abs(result["threads_grown"]) > SPARE
    return int(result["memory_slope_bytes_per_1000_frames"] > SLOPE_BYTES or grown)


def run(folder: Path, frames: int) -> tuple[list[Sample], dict[str, int]]:
    """Soak until `frames` are scored; the samples, and how many alerts of each phase arrived."""
    bundle = tiny_bundle.build(folder / "colours.whycam")
    video = write_video(folder / "scenes.mp4")
    samples: list[Sample] = []
    with Broker(folder / "broker") as broker:
        config = folder / "whycam.toml"
        config.write_text(CONFIG.format(folder=folder, port=broker.port, bundle=bundle, video=video))
        subscriber = Subscriber("127.0.0.1", broker.port)
        subscriber.start()
        command = [sys.executable, "-m", "whycam", "run", "-c", config]
        service = Supervisor(command, folder / "service.log", {"PYTHONUNBUFFERED": "1"})
        try:
            service.start()
            samples = watch(service, subscriber, frames)
        except BaseException:
            screen.print(service.log[-3000:], markup=False)
            raise
        finally:
            service.stop()
            subscriber.stop()
    phases = [one.body["phase"] for one in subscriber.arrivals if one.kind == "alert"]
    return samples, {phase: phases.count(phase) for phase in ("raised", "updated", "cleared")}


def watch(service: Supervisor, subscriber: Subscriber, frames: int) -> list[Sample]:
    samples: list[Sample] = []
    pid, began, seen = service.pid, time.monotonic(), 0
    with Progress(console=screen) as progress:
        bar = progress.add_task("soaking", total=frames)
        while True:
            told = subscriber.wait_for(lambda one: one.kind == "telemetry", 60, seen)
            taken = footprint(pid or 0)
            if told is None or taken is None or service.crashes:
                raise RuntimeError("the service has stopped telling how it is doing")
            seen = len(subscriber.arrivals)
            scored = told.body["cameras"]["gate"]["scored"]
            samples.append(sample(began, scored, taken))
            progress.update(bar, completed=min(scored, frames))
            if scored >= frames:
                return samples


def sample(began: float, scored: int, taken: Footprint) -> Sample:
    return Sample(round(time.monotonic() - began, 2), scored, taken.rss_bytes, taken.open_files, taken.threads)


def write_video(path: Path) -> Path:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    blue, green, red = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    for colour, count in ((blue, QUIET), (green, ANOMALY), (blue, QUIET), (red, ANOMALY)):
        for _ in range(count):
            writer.write(np.full((48, 64, 3), colour, np.uint8))
    writer.release()
    return path


CONFIG = """
device = "soak"
state_directory = "{folder}/state"

[broker]
host = "127.0.0.1"
port = {port}
telemetry_seconds = 1

[metrics]
port = 0

[evidence]
max_bytes = 67108864
min_free_bytes = 0

[[camera]]
name = "gate"
source = "{video}"
bundle = "{bundle}"
playback = "fast"
repeat = true
frozen_seconds = 0
black_seconds = 0
"""


def figures(samples: list[Sample], alerts: dict[str, int]) -> dict[str, float | int | dict[str, int]]:
    """What the samples come to."""
    last = samples[-1]
    settled = [one for one in samples if one.frames >= last.frames * WARM_UP]
    thousands = np.array([one.frames / 1000 for one in settled])
    memory = np.array([one.rss_bytes for one in settled], dtype=float)
    slope, _ = np.polyfit(thousands, memory, 1)
    return {
        "frames": last.frames,
        "seconds": last.seconds,
        "frames_per_second": round(last.frames / last.seconds),
        "alerts": alerts,
        "memory_slope_bytes_per_1000_frames": round(float(slope), 1),
        "memory_mib_after_warm_up": round(float(np.median(memory[: max(len(memory) // 10, 1)])) / 2**20, 1),
        "memory_mib_at_end": round(float(np.median(memory[-max(len(memory) // 10, 1) :])) / 2**20, 1),
        "open_files_after_warm_up": settled[0].open_files,
        "open_files_grown": last.open_files - settled[0].open_files,
        "threads_grown": last.threads - settled[0].threads,
        "cores": os.cpu_count() or 0,
    }


def thinned(samples: list[Sample], most: int = 300) -> list[Sample]:
    """At most `most` of them, evenly."""
    return samples[:: max(-(-len(samples) // most), 1)]


def draw(samples: list[Sample], result: dict[str, float | int | dict[str, int]], path: Path) -> None:
    """Memory with its fitted line, and open files and threads, over frames."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    frames = np.array([one.frames for one in samples]) / 1e6
    memory = np.array([one.rss_bytes for one in samples]) / 2**20
    above.plot(frames, memory, color="#4c72b0", linewidth=1, label="resident memory")
    settled = frames >= frames[-1] * WARM_UP
    line = np.polyval(np.polyfit(frames[settled], memory[settled], 1), frames[settled])
    slope = result["memory_slope_bytes_per_1000_frames"]
    above.plot(
        frames[settled], line, color="#c44e52", linewidth=1.5, label=f"fit after warm-up: {slope} bytes per 1000 frames"
    )
    above.set_ylim(0, max(memory) * 1.25)
    above.set_ylabel("MiB")
    above.legend(loc="lower right", frameon=False)
    above.set_title(
        f"{result['frames']:,} frames at {result['frames_per_second']:,} per second", loc="left", fontsize=10
    )
    below.plot(frames, [one.open_files for one in samples], color="#4c72b0", label="open files")
    below.plot(frames, [one.threads for one in samples], color="#8c8c8c", label="threads")
    below.set_ylim(bottom=0)
    below.set_xlabel("million frames")
    below.legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
