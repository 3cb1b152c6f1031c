"""The motion gate: what a still scene costs with and without it, and whether it stays shut where an anomaly begins.

Costs are those of the service's own judge on a film of a scene in which nothing moves, with the sensor's noise, over
the time after which the gate lets a picture through in any case; before it, so much has been seen. The anomalies are
those of generated scenes, whose truth is known: one is missed where the gate does not let a picture through within a
second of its begin, for what is not let through cannot be detected.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.network import CLASSES, FRAME_INTERVAL, Network
from bench.video import write_video
from bench.workers import Worker, in_process, spread

WITHIN_SECONDS = 1.0
ANOMALIES = tuple(name for name in CLASSES if name != "normal")


class Gated:
    """The service's judge with and without the gate, in two precisions, on a film."""

    def __init__(self, bundle: Path, film: Path) -> None:
        import whycam
        from whycam.bundle import Bundle
        from whycam.detect import Model

        self._frames = [frame.image for frame in whycam.open_source(str(film))]
        self._bundle = bundle
        self._models = {
            precision: Model(Bundle.open(bundle), precision, providers=["cpu"]) for precision in ("fp32", "int8")
        }

    def run(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of a decision, of passes over the film, in turn."""
        import time

        seconds: dict[str, list[float]] = {}
        for index in range(rounds + 1):
            for precision, model in self._models.items():
                for gate in (True, False):
                    judge = self._judge(model, gate)
                    count = len(self._frames)
                    # What has been seen before: without the gate, a window's worth is enough.
                    for moment in range(0 if gate else count - model.manifest.window.frames, count):
                        judge.push(self._frames[moment], moment * FRAME_INTERVAL)
                    start = time.perf_counter()
                    for moment in range(count, 2 * count):
                        judge.push(self._frames[moment - count], moment * FRAME_INTERVAL)
                    taken = (time.perf_counter() - start) / count
                    if index:
                        seconds.setdefault(f"{precision} {'gated' if gate else 'plain'}", []).append(taken)
        return seconds

    def _judge(self, model: Any, gate: bool) -> Any:
        from whycam.alerts.judge import FrameJudge
        from whycam.config.models import Camera

        config = Camera.model_validate(
            {"name": "gate", "source": "film.mp4", "bundle": str(self._bundle), "motion": {"enabled": gate}}
        )
        return FrameJudge(model, config)


def measure(network: Network, rounds: int, scenes: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time a still film; look for `scenes` anomalies of each class."""
    from whycam.config.models import Motion

    frames = round(Motion().refresh_seconds / FRAME_INTERVAL)
    film = write_video(network.folder / "still.mp4", frames, moving=False)
    tell(f"{rounds} passes over a still film")
    with Worker("motion", Gated, network.bundle, film) as worker:
        figures = {name: spread(values) for name, values in worker.ask("run", rounds).items()}
    tell(f"{scenes} scenes of each anomaly")
    seen = in_process(let_through, scenes, network.shape.side)
    return {
        "frames": frames,
        "rounds": rounds,
        "seconds_per_decision": figures,
        "times_cheaper": {
            precision: figures[f"{precision} plain"]["median"] / figures[f"{precision} gated"]["median"]
            for precision in ("fp32", "int8")
        },
        "anomalies": len(seen),
        "missed": sorted(name for name, good in seen.items() if not good),
    }


def let_through(scenes: int, side: int) -> dict[str, bool]:
    """Whether the gate lets a picture through within a second of the begin of each anomaly, by class and seed.

    It looks at pictures of the model's size, `side` by `side`, as in the service."""
    from whycam.alerts.motion import MotionGate
    from whycam.config.models import Motion
    from whycam.detect.resize import resize
    from whycam_export.demo.scenes import make_scene

    found = {}
    for label in ANOMALIES:
        for seed in range(scenes):
            scene = make_scene(seed, label)
            # Without the refresh, which would let a picture through by chance.
            gate = MotionGate(Motion().threshold, 3600)
            times = [index * FRAME_INTERVAL for index in range(int(scene.duration / FRAME_INTERVAL))]
            moved = [time for time in times if not gate.still(resize(scene.frame(time)[0], side, side), time)]
            found[f"{label} {seed}"] = any(0 <= time - scene.onset <= WITHIN_SECONDS for time in moved)
    return found
