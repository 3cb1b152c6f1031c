"""A graph of a bundle in a session of ONNX Runtime, and which of the bundle's files a precision means."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.cuda.array import DeviceArray, Values
from whycam.cuda.turns import TURNS
from whycam.detect.binding import run_bound
from whycam.detect.graphs import GraphSpec
from whycam.detect.placement import Placement, recorded_as
from whycam.detect.providers import CPU
from whycam.errors import BundleError, InputError, WhycamError

if TYPE_CHECKING:
    import onnxruntime

CPU_FORM = "-cpu"
"""Behind a precision's name: its form for the CPU, where another is better elsewhere."""


class Graph:
    """A graph of a bundle, ready to run."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        spec: GraphSpec,
        placement: Placement | None = None,
        *,
        captured: bool = False,
    ) -> None:
        self._session = session
        self.spec = spec
        self.placement = placement
        """Which provider runs what of it; None on the CPU, which runs all."""
        self.captured = captured
        """Whether its runs are recorded as CUDA graphs and replayed."""
        # In a stream that it was given, ONNX Runtime has one handle of cuDNN and of cuBLAS for all runs of a session;
        # neither may be used by two threads at once.
        self._running = threading.Lock()
        self._recorded = threading.local()

    def __del__(self) -> None:
        # The session frees the GPU's memory.
        if self.placement is not None:
            with self._turn(None):
                del self._session

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """ONNX Runtime's session."""
        return self._session

    @property
    def opened_on(self) -> str:
        """ONNX Runtime's name of the execution provider that it was opened on."""
        return str(self._session.get_providers()[0])

    @property
    def shares(self) -> Mapping[str, float]:
        """Of the time of a run, what each execution provider takes, 0 to 1, by ONNX Runtime's name, the most first."""
        if self.placement is None:
            return {self.opened_on: 1.0}
        return {provider: part.share for provider, part in self.placement.parts.items()}

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's names of the execution providers that really run it, the one that takes most of it first."""
        return tuple(self.shares)

    @property
    def threads(self) -> int | None:
        """Threads that a run takes on the CPU; None where ONNX Runtime chooses."""
        return int(self._session.get_session_options().intra_op_num_threads) or None

    def __call__(self, inputs: Mapping[str, Values]) -> dict[str, NDArray[np.float32]]:
        """The graph's outputs by name, for `inputs` by name.

        Raises BundleError where it cannot be run, DeviceError where what it takes or gives cannot be copied.
        """
        return self.fill({}, inputs)

    def fill(
        self, into: Mapping[str, DeviceArray], inputs: Mapping[str, Values], recording: int | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """As a call, but the outputs that `into` names are written there, and not returned.

        Runs with the same number of a `recording` have all inputs and outputs at the same places of a device's memory:
        a graph that was opened for that is then replayed, not launched kernel by kernel.
        """
        try:
            if self.placement is None:
                return self._run(into, inputs)
            with self._turn(recording if self.captured else None) as number:
                return self._run(into, inputs, recorded_as(number) if self.captured else None)
        except WhycamError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise BundleError(f"{self.spec.file}: ONNX Runtime cannot run it here ({brief(error)})") from error

    def _run(
        self,
        into: Mapping[str, DeviceArray],
        inputs: Mapping[str, Values],
        options: onnxruntime.RunOptions | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        outputs = list(self.spec.outputs)
        if into or any(isinstance(value, DeviceArray) for value in inputs.values()):
            return run_bound(self._session, outputs, inputs, into, options)
        return dict(zip(outputs, self._session.run(outputs, dict(inputs), options), strict=True))

    @contextmanager
    def _turn(self, recording: int | None) -> Iterator[int | None]:
        """A run on the GPU, one at a time. Gives the number to record or replay it as; None where it is only run.

        So it is where others use the GPU, and its recording, of which each thread needs its own, is not there yet.
        """
        known = self._recorded.__dict__.setdefault("numbers", set())
        if recording is None or recording in known:
            with TURNS.shared(), self._running:
                yield recording
            return
        with TURNS.alone() as alone, self._running:
            yield recording if alone else None
        if alone:
            known.add(recording)


def form_of(manifest: Manifest, precision: str, providers: Sequence[str] = ()) -> str:
    """The bundle's precision that is meant; raises InputError, naming those there are, where it has none.

    Where `providers` (ONNX Runtime's names) are the CPU's alone, it is the form for the CPU, if there is one.
    """
    wanted = f"{precision}{CPU_FORM}" if list(providers) == [CPU] else precision
    if wanted in manifest.precisions:
        return wanted
    if precision in manifest.precisions:
        return precision
    there = ", ".join(name for name in manifest.precisions if not name.endswith(CPU_FORM))
    raise InputError(f"precision '{precision}': bundle '{manifest.name}' has {there}")


def feature_file(manifest: Manifest, precision: str, providers: Sequence[str] = ()) -> str:
    """The file of the feature extractor that `form_of` means."""
    return manifest.precisions[form_of(manifest, precision, providers)]


def step_file(manifest: Manifest, precision: str, providers: Sequence[str] = ()) -> str:
    """The file of the step graph beside it."""
    return manifest.steps.get(form_of(manifest, precision, providers), "step.onnx")


def brief(error: Exception) -> str:
    """What ONNX Runtime says of an error, in one line, without its own name and number for it."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return text if len(text) <= 200 else text[:199] + "…"
