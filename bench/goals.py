"""What was set out to be reached, and whether the figures of the last run reach it.

Goals are ratios, or hold for 2 cores of the kind that the figures name. One that is missed is told, and nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Results = Mapping[str, Any]
MB = 1e6


@dataclass(frozen=True)
class Goal:
    """A goal: what was measured is compared by `>=` or `<=` with the bound."""

    figure: str
    unit: str
    at_least: float | None
    at_most: float | None
    keys: tuple[str, ...]
    """Where in the results the figures stand that it comes from."""
    value: Callable[[Results], float]

    def holds(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def bound(self) -> str:
        """The goal in words."""
        if self.at_least is not None:
            return f"at least {_shown(self.at_least, self.unit)}"
        return f"at most {_shown(self.at_most or 0.0, self.unit)}"


@dataclass(frozen=True)
class Verdict:
    """A goal, judged; `holds` is None where its figure was not measured."""

    figure: str
    goal: str
    measured: str
    holds: bool | None


def at_least(figure: str, bound: float, unit: str, keys: str, value: Callable[[Results], float]) -> Goal:
    """A goal that more is better for."""
    return Goal(figure, unit, bound, None, tuple(keys.split()), value)


def at_most(figure: str, bound: float, unit: str, keys: str, value: Callable[[Results], float]) -> Goal:
    """A goal that less is better for."""
    return Goal(figure, unit, None, bound, tuple(keys.split()), value)


def _growth(results: Results, axis: str, curve: str) -> float:
    """Cost at the last value over cost at the first, less one."""
    seconds = [point["median"] for point in results["growth"]["axes"][axis]["curves"][curve]["seconds"]]
    return float(seconds[-1] / seconds[0] - 1)


def _stage(results: Results, name: str) -> float:
    """Median seconds of a stage in INT8."""
    return float(results["stages"]["seconds"]["int8"][name]["median"])


def _grad_cam(results: Results, name: str, way: str) -> float:
    """Median seconds of a window's Grad-CAM."""
    return float(results["explanations"]["explanations"][name]["seconds"][way]["median"])


def _most_over_one_camera(results: Results, curve: str) -> float:
    seconds = [point["median"] for point in results["growth"]["axes"]["cameras"]["curves"][curve]["seconds"]]
    return float(max(seconds) / seconds[0] - 1)


GRAD_CAMS = (
    ("grad-cam-paper", "whycam", "the paper's layer"),
    ("grad-cam", "whycam-int8", "the default layer"),
)
"""What its graphs cost does not depend on the extractor's precision."""
GOALS = (
    *(
        at_least(
            f"decision against Keras's, {title}",
            bound,
            "x",
            f"decisions.peers.{name}.times_faster_than_keras",
            lambda results, name=name: results["decisions"]["peers"][name]["times_faster_than_keras"],
        )
        for name, title, bound in (("whycam", "fp32", 25), ("whycam-int8", "INT8", 100))
    ),
    *(
        at_least(
            f"rate from video file to decision, of the bare session's one by one, {precision}",
            0.95,
            "%",
            f"pipeline.share_of_bare.{precision}",
            lambda results, precision=precision: results["pipeline"]["share_of_bare"][precision],
        )
        for precision in ("fp32", "int8")
    ),
    *(
        at_least(
            f"sliding-window head against re-running the window, {title}",
            5,
            "x",
            f"heads.{pooling}.times_faster",
            lambda results, pooling=pooling: results["heads"][pooling]["times_faster"],
        )
        for pooling, title in (("flatten", "flattened features"), ("average", "averaged features"))
    ),
    at_least(
        "the same with its step in INT8, flattened features",
        5,
        "x",
        "heads.flatten.step_int8 heads.flatten.head",
        lambda results: (
            results["heads"]["flatten"]["head"]["median"] / results["heads"]["flatten"]["step_int8"]["median"]
        ),
    ),
    at_most(
        "largest difference of the fp32 step's scores from the window's",
        1e-5,
        "",
        "heads.flatten.largest_difference heads.average.largest_difference",
        lambda results: max(results["heads"][pooling]["largest_difference"] for pooling in ("flatten", "average")),
    ),
    *(
        at_most(
            f"growth of a decision's cost from the shortest to the longest window, {title}",
            0.2,
            "%",
            f"growth.axes.frames.curves.{curve}",
            lambda results, curve=curve: _growth(results, "frames", curve),
        )
        for curve, title in (("whycam", "fp32"), ("whycam-int8", "INT8"))
    ),
    *(
        at_most(
            f"Grad-CAM of the window, from the ring, in frames of the CNN in INT8, {title}",
            3,
            "frames",
            f"explanations.explanations.{name}.seconds.{way} stages.seconds.int8.features",
            lambda results, name=name, way=way: _grad_cam(results, name, way) / _stage(results, "features"),
        )
        for name, way, title in GRAD_CAMS
    ),
    *(
        at_least(
            f"decisions per second, each with the window's Grad-CAM, INT8, {title}",
            10,
            "per second",
            f"explanations.explanations.{name}.seconds.{way} stages.seconds.int8.decision",
            lambda results, name=name, way=way: 1 / (_grad_cam(results, name, way) + _stage(results, "decision")),
        )
        for name, way, title in GRAD_CAMS
    ),
    at_least(
        "decisions per second, each with the default explanation of its newest frame, INT8",
        10,
        "per second",
        "stages.seconds.int8.explanation_newest stages.seconds.int8.decision",
        lambda results: 1 / (_stage(results, "explanation_newest") + _stage(results, "decision")),
    ),
    *(
        at_least(
            f"still scene, cheaper with the motion gate, {precision}",
            10,
            "x",
            f"motion.times_cheaper.{precision}",
            lambda results, precision=precision: results["motion"]["times_cheaper"][precision],
        )
        for precision in ("fp32", "int8")
    ),
    at_most(
        "generated anomalies at whose begin the gate stays shut",
        0,
        "",
        "motion.missed",
        lambda results: float(len(results["motion"]["missed"])),
    ),
    *(
        at_most(
            f"cost per camera, most above one camera's, {title}",
            0.05,
            "%",
            f"growth.axes.cameras.curves.{curve}",
            lambda results, curve=curve: _most_over_one_camera(results, curve),
        )
        for curve, title in (("whycam", "fp32"), ("whycam-int8", "INT8"))
    ),
    at_most(
        "worst camera of the service below the mean, most cameras",
        0.1,
        "%",
        "service.cameras",
        lambda results: max(results["service"]["cameras"].items(), key=lambda item: int(item[0]))[1][
            "worst_below_mean"
        ],
    ),
    at_most(
        "cold start to first decision, INT8",
        1.5,
        "s",
        "start.peers.whycam-int8.seconds",
        lambda results: results["start"]["peers"]["whycam-int8"]["seconds"]["median"],
    ),
    at_least(
        "cold start against Keras's, INT8",
        8,
        "x",
        "start.peers.whycam-int8.seconds start.peers.keras.seconds",
        lambda results: (
            results["start"]["peers"]["keras"]["seconds"]["median"]
            / results["start"]["peers"]["whycam-int8"]["seconds"]["median"]
        ),
    ),
    at_most(
        "resident memory of the service that has explained nothing yet, one camera, INT8",
        350 * MB,
        "MB",
        "service.cameras.1.resident_bytes",
        lambda results: results["service"]["cameras"]["1"]["resident_bytes"],
    ),
    *(
        at_most(
            f"install of {title} on disk",
            350 * MB,
            "MB",
            f"sizes.environments.{name}.bytes",
            lambda results, name=name: results["sizes"]["environments"][name]["bytes"],
        )
        for name, title in (("whycam", "whycam alone"), ("whycam-cpu", "whycam[cpu]"))
    ),
    at_most(
        "whycam --help",
        0.3,
        "s",
        "start.help_seconds",
        lambda results: results["start"]["help_seconds"]["median"],
    ),
    *(
        at_least(
            f"rate from video file, of the rate from frames in memory, {precision}",
            0.95,
            "%",
            f"pipeline.share_of_memory.{precision}",
            lambda results, precision=precision: results["pipeline"]["share_of_memory"][precision],
        )
        for precision in ("fp32", "int8")
    ),
)


def judge(results: Results) -> list[Verdict]:
    """Each goal, judged by what was measured."""
    return [_verdict(goal, results) for goal in GOALS]


def _verdict(goal: Goal, results: Results) -> Verdict:
    try:
        value = float(goal.value(results))
    except KeyError:
        return Verdict(goal.figure, goal.bound, "not measured", None)
    return Verdict(goal.figure, goal.bound, _shown(value, goal.unit), goal.holds(value))


def as_json(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """The verdicts, to be written down."""
    return [asdict(verdict) for verdict in verdicts]


def _shown(value: float, unit: str) -> str:
    match unit:
        case "%":
            return f"{value * 100:.1f} %"
        case "MB":
            return f"{value / MB:.0f} MB"
        case "x":
            return f"{value:.1f} x"
        case "s":
            return f"{value:.2f} s"
        case "":
            return f"{value:.1e}" if 0 < value < 0.01 else f"{value:g}"
    return f"{value:.1f} {unit}"
