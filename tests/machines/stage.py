"""What a part of the run is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.machines.device import Device
from tests.machines.image import Image
from tests.machines.machine import Machine
from tests.machines.prepared import configure, mounted
from tests.machines.rows import Row


@dataclass(frozen=True)
class Stage:
    """Folders, the image, and whom to tell what is being done."""

    folder: Path
    """Of this part: logs, and the disk while it runs."""
    image: Image
    how: tuple[str, ...]
    """qemu's options: KVM or emulation."""
    cargo: Path
    """The disk with kits and bundles."""
    installed: Path
    """The disk of a machine with whycam installed and its service enabled."""
    tell: Callable[[str], None]
    random: Random
    quick: bool = False
    """Each kind of power cut twice."""

    @contextmanager
    def device(self, *, bare: bool = False) -> Iterator[Device]:
        """A machine of its own, off; whycam is on it, configured for its broker, unless it is `bare`."""
        disk = self.image.disk if bare else self.installed
        with Device(Machine(self.folder, self.image, disk, self.how, self.cargo)) as device:
            with mounted(device.machine.disk_path) as root:
                configure(root, device.broker.port)
            _RUNNING.append(device)
            try:
                yield device
            finally:
                _RUNNING.remove(device)


_RUNNING: list[Device] = []


def end_all() -> None:
    """End every machine at once, whatever its part is at."""
    for device in tuple(_RUNNING):
        device.close()


Part = Callable[[Stage], list[Row]]
