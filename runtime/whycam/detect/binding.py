"""A graph's run with its inputs and outputs in a device's memory: nothing else is copied than what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whycam.cuda.array import DeviceArray, Values

if TYPE_CHECKING:
    import onnxruntime


def run_bound(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    inputs: Mapping[str, Values],
    into: Mapping[str, DeviceArray],
    options: onnxruntime.RunOptions | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Write the outputs that `into` names there; return the others, on the host, by name: a run with `options`.

    Raises what ONNX Runtime raises.
    """
    if not _reaches(session, [*inputs.values(), *into.values()]):
        given = {name: np.asarray(value) for name, value in inputs.items()}
        made = dict(zip(outputs, session.run(list(outputs), given, options), strict=True))
        for name, place in into.items():
            place.write(made.pop(name))
        return made
    binding = session.io_binding()
    for name, value in inputs.items():
        if isinstance(value, DeviceArray):
            binding.bind_input(name, value.pool.device.name, 0, value.dtype.type, list(value.shape), value.address)
        else:
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
    for name in outputs:
        if name in into:
            place = into[name]
            binding.bind_output(name, place.pool.device.name, 0, place.dtype.type, list(place.shape), place.address)
        else:
            binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding, options)
    found = binding.get_outputs()
    return {name: found[index].numpy() for index, name in enumerate(outputs) if name not in into}


def _reaches(session: onnxruntime.InferenceSession, values: Sequence[Values]) -> bool:
    """Whether the graph runs where the memory of `values` is; one that the GPU does not take runs on the CPU."""
    on_cpu = session.get_providers() == ["CPUExecutionProvider"]
    return not on_cpu or all(value.pool.device.name == "cpu" for value in values if isinstance(value, DeviceArray))
