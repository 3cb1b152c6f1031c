"""What is asked of a device whose memory is its own: room, copies, kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from whycam.cuda.array import DeviceArray


class Staging(Protocol):
    """Memory of the host that the device reads fast: pinned; on a Jetson, whose memory both share, the very same."""

    host: NDArray[np.uint8]
    """[size]"""
    address: int
    """Where the device finds the content of `host` once it was sent."""

    def send(self) -> None:
        """Let the device see what `host` holds; that must not change until `Device.finish` has returned."""


class Device(Protocol):
    """A device, used by several threads. What is asked of it is done in the order in which it was asked."""

    name: str
    """ONNX Runtime's name of its memory, such as `cuda`."""

    @property
    def stream(self) -> int | None:
        """CUDA's handle of the stream in which all is done, for ONNX Runtime to work in; None where there is none."""

    def reserve(self, size: int) -> int:
        """The address of `size` bytes, aligned to 256; raises DeviceMemoryError."""

    def release(self, address: int, size: int) -> None:
        """Let the next `reserve` of this size have this address; may be called in any thread."""

    def write(self, address: int, values: NDArray[Any]) -> None:
        """Copy the C-contiguous `values` to `address`; they may be changed when this returns."""

    def read(self, address: int, values: NDArray[Any]) -> None:
        """Copy from `address` into the C-contiguous `values`."""

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes within the device."""

    def launch(self, kernel: str, threads: int, *arguments: DeviceArray | np.int32 | np.float32 | None) -> None:
        """Run a kernel of `kernels.cu` in at least so many threads, in one row; None is a null pointer."""

    def staging(self, size: int) -> Staging:
        """Room for `size` bytes on their way to the device; raises DeviceMemoryError."""

    def finish(self) -> None:
        """Wait until all that was asked for is done."""

    def beside(self) -> Device:
        """The same memory, for work that need not wait for what this is asked for, nor this for it."""
