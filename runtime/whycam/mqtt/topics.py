"""The topics of a device: where each payload is published, and where it listens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whycam.errors import InputError

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a device or a camera may be called: one level of a topic, without wildcards."""
_ROOT = re.compile(r"[^\x00-\x1f\x7f+#$/][^\x00-\x1f\x7f+#]{0,127}")


@dataclass(frozen=True)
class Topics:
    """The topics under `ROOT/DEVICE`."""

    root: str
    device: str

    def __post_init__(self) -> None:
        check_root(self.root)
        if not NAME.fullmatch(self.device):
            raise InputError(f"device '{self.device}': must be 1 to 64 letters, digits, '_' or '-'")

    @property
    def base(self) -> str:
        """What all of the device's topics begin with, without the last slash."""
        return f"{self.root}/{self.device}"

    @property
    def availability(self) -> str:
        """`online` or `offline`, retained; the last will."""
        return f"{self.base}/availability"

    @property
    def telemetry(self) -> str:
        """How the device is doing."""
        return f"{self.base}/telemetry"

    @property
    def bundles(self) -> str:
        """Which bundles are installed, retained."""
        return f"{self.base}/bundles"

    def state(self, camera: str) -> str:
        """How a camera is doing, retained."""
        return f"{self.base}/{camera}/state"

    def drift(self, camera: str) -> str:
        """Whether a camera shows something else than its bundle was calibrated on, retained."""
        return f"{self.base}/{camera}/drift"

    def score(self, camera: str) -> str:
        """The model's scores."""
        return f"{self.base}/{camera}/score"

    def shadow(self, camera: str) -> str:
        """How the candidate beside a camera's bundle compares with it."""
        return f"{self.base}/{camera}/shadow"

    def disagreement(self, camera: str) -> str:
        """Episodes that only one of the two raises."""
        return f"{self.base}/{camera}/shadow/disagreement"

    def alert(self, camera: str) -> str:
        """The phases of a camera's episodes."""
        return f"{self.base}/{camera}/alert"

    def heatmap(self, camera: str, episode: str) -> str:
        """Where an episode points, as JPEG."""
        return f"{self.base}/{camera}/alert/{episode}/heatmap"

    def set(self, camera: str) -> str:
        """Where commands come in."""
        return f"{self.base}/{camera}/set"

    def set_response(self, camera: str) -> str:
        """Where a command is answered that names no response topic."""
        return f"{self.base}/{camera}/set/response"

    def explain(self, camera: str) -> str:
        """Where requests to explain come in."""
        return f"{self.base}/{camera}/explain"

    def explain_response(self, camera: str) -> str:
        """Where a request is answered that names no response topic."""
        return f"{self.base}/{camera}/explain/response"

    @property
    def install(self) -> str:
        """Where bundles are sent for."""
        return f"{self.base}/bundles/install"

    @property
    def install_response(self) -> str:
        """Where that is answered where it names no response topic."""
        return f"{self.install}/response"

    def source(self, camera: str | None = None) -> str:
        """The CloudEvents source: the device, or one of its cameras."""
        return f"/{self.base}/{camera}" if camera else f"/{self.base}"


def check_root(root: str) -> None:
    """Raise InputError where `root` cannot begin a topic."""
    if not _ROOT.fullmatch(root) or root.endswith("/") or "//" in root:
        raise InputError(
            f"root '{root}': must be levels of a topic such as 'whycam' or 'site/whycam', without '+', '#', a leading "
            "'$', a slash at either end, or more than 128 characters"
        )
