"""The bundle: the one thing that passes from the workstation to the device."""

from whycam.bundle.manifest import Manifest
from whycam.bundle.revision import check_writable, reopened, revise
from whycam.bundle.store import Bundle, file_entry, write_manifest

__all__ = ["Bundle", "Manifest", "check_writable", "file_entry", "reopened", "revise", "write_manifest"]
