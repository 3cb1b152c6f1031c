"""What whycam raises for bad input: one line that names the thing, what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class WhycamError(Exception):
    """The base of all errors that are the input's fault; the command line prints them and exits with status 2."""


class BundleError(WhycamError, ValueError):
    """A bundle that is missing, damaged or of another schema."""


class UnsignedBundleError(BundleError):
    """A bundle that nobody has signed, where a signature is asked for."""


class UntrustedBundleError(BundleError):
    """A bundle that none of the trusted keys has signed."""


class BrokenSignatureError(BundleError):
    """A signature that is damaged, or of another manifest than the bundle's."""


class DamagedBundleError(BundleError):
    """A bundle whose content is not what its manifest says, or an archive that ends too early or too late."""


class BundleTooLargeError(BundleError):
    """A bundle beyond the limits on sizes and counts, or beyond what the disk has free."""


class NotABundleError(BundleError):
    """A file that is no archive of a bundle."""


class UnsafeGraphError(BundleError):
    """An ONNX file that reads other files, needs operators beyond ONNX's own, or cannot be read as ONNX."""


class DeviceMemoryError(WhycamError, MemoryError):
    """Too little memory is left on the GPU."""


class DeviceError(WhycamError, RuntimeError):
    """The GPU fails at what it is asked for, as CUDA says."""


class SourceError(WhycamError, OSError):
    """A video or camera that cannot be opened or read."""


class InputError(WhycamError, ValueError):
    """An argument outside what is possible: an unknown class, a time beyond the video, a frame of the wrong type."""


class ConfigError(InputError):
    """A configuration that cannot be used; `problems` has a line for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(" ".join(problem.split()) for problem in problems)
        super().__init__("; ".join(self.problems))


class MissingDependencyError(WhycamError, ImportError):
    """An optional library that is not installed, or does not load; the message holds the exact install line."""

    def __init__(self, library: str, install: str, reason: str | None = None) -> None:
        wrong = "is not installed" if reason is None else f"does not load ({reason})"
        super().__init__(f"{library} {wrong}: run `{install}`")
