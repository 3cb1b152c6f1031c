"""The names that `import whycam` gives, which load what they need when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_each_public_name_is_there_when_it_is_asked_for() -> None:
    code = "import whycam; print(set(whycam.__all__) - set(dir(whycam)), [getattr(whycam, n) for n in whycam.__all__])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("set() ")


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(ImportError, match="cannot import name 'lode' from 'whycam'"):
        from whycam import lode  # noqa: F401 - the import is what is tested
