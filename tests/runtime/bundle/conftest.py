"""Keys to sign with, and a folder that trusts one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.bundle.archives import Signer, signer
from whycam.bundle import Bundle
from whycam.bundle.archive import pack
from whycam.bundle.signature import TrustedKeys


@pytest.fixture
def maker(tmp_path: Path) -> Signer:
    """Whom the device trusts."""
    return signer("maker", tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Signer:
    """Whom it does not know."""
    return signer("stranger", tmp_path)


@pytest.fixture
def trusted(maker: Signer, tmp_path: Path) -> TrustedKeys:
    """What the device trusts."""
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "maker.pub").write_bytes(maker.public.read_bytes())
    return TrustedKeys.read(folder)


@pytest.fixture
def archive(bundle: Path, maker: Signer, tmp_path: Path) -> Path:
    """The bundle, packed and signed by the maker."""
    path = tmp_path / "colours.whycam.tar"
    pack(Bundle.open(bundle), path, key=maker.key)
    return path
