"""A graph of a bundle in a session of ONNX Runtime, and which of the bundle's files a precision means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.graphs import GraphSpec
from whycam.detect.placement import Placement
from whycam.detect.providers import CPU
from whycam.errors import BundleError, InputError

if TYPE_CHECKING:
    import onnxruntime

CPU_FORM = "-cpu"
"""Behind a precision's name: its form for the CPU, where another is better elsewhere."""


class Graph:
    """A graph of a bundle, ready to run."""

    def __init__(
        self, session: onnxruntime.InferenceSession, spec: GraphSpec, placement: Placement | None = None
    ) -> None:
        self._session = session
        self._file = spec.file
        self._outputs = list(spec.outputs)
        self.placement = placement
        """Which provider runs what of it; None on the CPU, which runs all."""

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
    def runs_on(self) -> str:
        """ONNX Runtime's name of the execution provider that takes most of the time."""
        return self.providers[0]

    @property
    def threads(self) -> int | None:
        """Threads that a run takes on the CPU; None where ONNX Runtime chooses."""
        return int(self._session.get_session_options().intra_op_num_threads) or None

    def __call__(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """The graph's outputs by name, for `inputs` by name; raises BundleError where it cannot be run."""
        try:
            made = self._session.run(self._outputs, inputs)
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise BundleError(f"{self._file}: ONNX Runtime cannot run it here ({brief(error)})") from error
        return dict(zip(self._outputs, made, strict=True))


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
    """What ONNX Runtime says of an error, in one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "…"
