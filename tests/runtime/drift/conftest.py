"""What the bundle of colours says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from whycam.bundle import Bundle, Manifest


@pytest.fixture
def manifest(built_bundle: Path) -> Manifest:
    return Bundle.open(built_bundle).manifest
