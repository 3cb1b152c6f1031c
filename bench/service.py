"""The service itself, `whycam run` with a broker: its resident memory with one camera, and how fair it is to many.

The cameras are films of 640 x 360 at 10 frames a second, at their own pace, on the network in INT8. With more cameras
than the machine can hold, the newest frames win; fair is that each camera gets as many decisions as the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.network import Network
from bench.video import write_video

SETTLED = 0.5
"""Share of the time after which the service counts as settled."""
Told = tuple[float, dict[str, int]]
"""When it came, and how many frames of each camera were scored until then."""
CONFIG = """
device = "bench"
state_directory = "{folder}/state"

[broker]
host = "127.0.0.1"
port = {port}
telemetry_seconds = 1

[metrics]
port = 0

[evidence]
min_free_bytes = 0
"""
CAMERA = """
[[camera]]
name = "camera-{index}"
source = "{film}"
bundle = "{bundle}"
precision = "int8"
providers = ["cpu"]
repeat = true
"""


def measure(network: Network, cameras: tuple[int, ...], seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the service with each number of `cameras` for `seconds`."""
    from tests.runtime.mqtt.broker import missing

    reason = missing()
    if reason is not None:
        return {"unavailable": reason}
    film = write_video(network.folder / "cameras.mp4", 100, moving=True)
    found = {}
    for count in cameras:
        tell(f"whycam run with {count} cameras for {seconds:g} s")
        folder = network.folder / f"service-{count}"
        folder.mkdir()
        found[str(count)] = _run(folder, network.bundle, film, count, seconds)
    return {"seconds": seconds, "cameras": found}


def _run(folder: Path, bundle: Path, film: Path, cameras: int, seconds: float) -> dict[str, Any]:
    from tests.chaos.processes import Supervisor, footprint
    from tests.chaos.subscriber import Subscriber
    from tests.runtime.mqtt.broker import Broker

    with Broker(folder / "broker") as broker:
        config = folder / "whycam.toml"
        tables = [CAMERA.format(index=index, film=film, bundle=bundle) for index in range(cameras)]
        config.write_text(CONFIG.format(folder=folder, port=broker.port) + "".join(tables))
        subscriber = Subscriber("127.0.0.1", broker.port)
        subscriber.start()
        service = Supervisor([sys.executable, "-m", "whycam", "run", "-c", config], folder / "service.log", {})
        told: list[Told] = []
        resident: list[int] = []
        try:
            service.start()
            while not told or told[-1][0] - told[0][0] < seconds or len(_settled(told, seconds)) < 2:
                seen = len(subscriber.arrivals)
                one = subscriber.wait_for(lambda arrival: arrival.kind == "telemetry", 30, seen)
                taken = footprint(service.pid or 0)
                if one is None or taken is None:
                    raise RuntimeError(f"the service has stopped telling how it is doing:\n{service.log[-2000:]}")
                scored = {name: each["scored"] for name, each in one.body["cameras"].items()}
                if len(scored) == cameras and all(scored.values()):
                    told.append((one.arrived, scored))
                    resident.append(taken.rss_bytes)
        finally:
            service.stop()
            subscriber.stop()
    settled = _settled(told, seconds)
    (began, first), (ended, last) = settled[0], settled[-1]
    rates = [(last[name] - first[name]) / (ended - began) for name in last]
    mean = sum(rates) / cameras
    if not mean:
        raise RuntimeError(f"the service has decided nothing in {ended - began:.0f} s with {cameras} cameras")
    return {
        "resident_bytes": max(resident[-len(settled) :]),
        "decisions_per_second": sum(rates),
        "decisions_per_second_and_camera": mean,
        "worst_below_mean": 1 - min(rates) / mean,
    }


def _settled(told: list[Told], seconds: float) -> list[Told]:
    return [one for one in told if one[0] - told[0][0] >= SETTLED * seconds]
