"""The bundle of colours, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime import tiny_bundle
from whycam.bundle import Bundle, Manifest


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.build(tmp_path_factory.mktemp("drift") / "colours.whycam")


@pytest.fixture
def manifest(colours: Path) -> Manifest:
    return Bundle.open(colours).manifest
