"""The self-test in a process of its own: a graph that takes ONNX Runtime down takes nothing else along."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from whycam.bundle import Bundle
from whycam.deployment.self_test import Comparison, SelfTest, self_test
from whycam.errors import BundleError, InputError, WhycamError

SELF_TEST_SECONDS = 1800.0
"""TensorRT builds engines for minutes."""
_MOST_WORDS = 300


def self_test_apart(
    path: Path,
    precision: str = "fp32",
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    *,
    seconds: float = SELF_TEST_SECONDS,
) -> SelfTest:
    """`self_test` of the bundle at `path`, in another process.

    Raises what `self_test` raises, and BundleError where the process dies, or has no result after `seconds`.
    """
    given = providers and list(providers)
    asked = json.dumps({"path": str(path.absolute()), "precision": precision, "providers": given, "threads": threads})
    command = (
        [sys.executable, "-P", "-m", __name__] if sys.version_info >= (3, 11) else [sys.executable, "-m", __name__]
    )
    try:
        done = subprocess.run(
            command,
            input=asked,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            # Python 3.10 would import what lies in the folder where the user happens to be.
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"{path}: the self-test in {precision} did not end within {seconds:.0f} s") from None
    except OSError as error:
        raise InputError(f"the self-test cannot be started ({error.strerror})") from error
    try:
        told = json.loads(done.stdout)
        if "refused" in told:
            raise InputError(told["refused"]) if told["input"] else BundleError(told["refused"])
        return _from_dict(told)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, WhycamError):
            raise
        raise BundleError(
            f"{path}: the self-test in {precision} {_end_of(done)}: ONNX Runtime cannot run this bundle here"
        ) from None


def _end_of(done: subprocess.CompletedProcess[str]) -> str:
    last = " ".join(done.stderr.split())[-_MOST_WORDS:]
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        return f"was ended by {name}"
    return f"ended with status {done.returncode}" + (f" ({last})" if last else "")


def _from_dict(values: dict[str, object]) -> SelfTest:
    comparisons = tuple(
        Comparison(one["what"], one["against"], float("nan") if one["found"] is None else one["found"], one["limit"])
        for one in values["comparisons"]  # type: ignore[attr-defined]
    )
    rest = {name: values[name] for name in ("precision", "load_seconds", "frame_seconds", "seconds")}
    return SelfTest(comparisons=comparisons, providers=tuple(values["providers"]), **rest)  # type: ignore[arg-type]


def _main() -> None:
    # Where memory runs out, this process is to end, not the service beside it.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    asked = json.load(sys.stdin)
    path = Path(asked.pop("path"))
    try:
        told = self_test(Bundle.open(path), **asked).as_dict()
    except WhycamError as error:
        told = {"refused": str(error), "input": not isinstance(error, BundleError)}
    print(json.dumps(told))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _main()
