"""Whose bundles the service runs."""

from __future__ import annotations

from pathlib import Path

from whycam.bundle import Bundle
from whycam.bundle.archive import judge, read_directory
from whycam.bundle.signature import TrustedKeys
from whycam.config.models import Bundles
from whycam.errors import BrokenSignatureError, BundleError, UnsignedBundleError, UntrustedBundleError


def open_trusted(path: Path, settings: Bundles) -> Bundle:
    """The bundle at `path` as the service may run it: signed, where the configuration trusts somebody.

    Raises what `Bundle.open` raises, and BundleError, as one of its kinds, where no trusted key has signed it.
    """
    if settings.trust_directory is None or settings.allow_unsigned:
        return Bundle.open(path)
    head = read_directory(path)
    judge(head, TrustedKeys.read(settings.trust_directory), path)
    # Of the very bytes that were judged.
    return Bundle(path, head.manifest)


def is_trusted(path: Path, settings: Bundles) -> bool:
    """Whether the service would not refuse the bundle at `path` for who has signed it; what else it is counts not."""
    try:
        open_trusted(path, settings)
    except (UnsignedBundleError, UntrustedBundleError, BrokenSignatureError):
        return False
    except BundleError:
        pass
    return True
