"""The bundle: the one thing that passes from the workstation to the device."""

from whycam.bundle.manifest import Manifest
from whycam.bundle.revision import revise
from whycam.bundle.store import Bundle, file_entry, write_manifest

__all__ = ["Bundle", "Manifest", "file_entry", "revise", "write_manifest"]
