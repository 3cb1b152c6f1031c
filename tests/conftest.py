"""What all tests share: where the repository is, and the real footage that may lie beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

# TensorFlow reads it at import; its banners would bury a failure's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# No test asserts on time: machines are busy.
settings.register_profile("whycam", deadline=None)
settings.load_profile("whycam")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips and real weights; they are not part of the repository."""
    directory = REPOSITORY.parent / "shared" / "data"
    if not directory.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return directory
