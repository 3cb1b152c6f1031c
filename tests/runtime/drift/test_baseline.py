"""The file of what is usual: kept whole, and refused by name where it is not."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.drift.usual import baseline, store
from whycam.bundle import Bundle, revise
from whycam.config.file import load_config
from whycam.detect import Model
from whycam.drift import Baseline, monitor_of, read_baseline
from whycam.errors import BundleError, ConfigError
from whycam.service.check import check_config


def test_what_is_stored_is_read_again(bundle: Path) -> None:
    made = baseline()
    store(bundle, made)
    read = read_baseline(Bundle.open(bundle))
    assert read is not None
    for field in fields(Baseline):
        assert np.array_equal(getattr(read, field.name), getattr(made, field.name)), field.name


def test_a_bundle_without_statistics_has_no_baseline(bundle: Path) -> None:
    assert read_baseline(Bundle.open(bundle)) is None
    assert monitor_of(Model(Bundle.open(bundle))) is None


def damaged(**changes: object) -> bytes:
    """The file with other arrays; None takes one out."""
    with np.load(io.BytesIO(baseline().encode())) as stored:
        arrays = {**stored, **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no zip", "cannot be read"),
        (b"", "cannot be read"),
        (damaged(limit=None), "lacks limit"),
        (damaged(signs=np.array(["smell"])), "other signs"),
        (damaged(features_mean=np.zeros(7, np.float32)), "features_mean has the shape"),
        (damaged(spread=np.zeros(6)), "spread must be above 0"),
        (damaged(mean=np.full(6, np.nan)), "mean holds what is no number"),
        (damaged(seconds=np.array("long")), "holds no statistics"),
    ],
)
def test_a_file_that_holds_nonsense_is_named(bundle: Path, content: bytes, words: str) -> None:
    revise(Bundle.open(bundle), {"drift.npz": content}, drift="drift.npz")
    with pytest.raises(BundleError, match=rf"drift\.npz: .*{words}.*calibrate drift"):
        read_baseline(Bundle.open(bundle))


def test_a_file_that_was_changed_is_damaged_and_a_check_of_the_configuration_says_so(
    bundle: Path, tmp_path: Path
) -> None:
    store(bundle, baseline())
    file = bundle / "drift.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"drift\.npz: damaged"):
        monitor_of(Model(Bundle.open(bundle)))
    config = tmp_path / "whycam.toml"
    camera = f'device = "a"\n[[camera]]\nname = "gate"\nsource = "v.mp4"\nbundle = "{bundle}"\n'
    config.write_text(camera)
    with pytest.raises(ConfigError, match=r"camera 'gate': .*drift\.npz: damaged"):
        check_config(config, load_config(config))
    config.write_text(f"{camera}[camera.drift]\nenabled = false\n")
    assert check_config(config, load_config(config))


def test_statistics_of_another_precision_are_not_compared_with(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    store(bundle, baseline(precision="int8"))
    assert monitor_of(Model(Bundle.open(bundle))) is None
    assert "--precision fp32" in caplog.text
    store(bundle, baseline(precision="fp16"))
    assert monitor_of(Model(Bundle.open(bundle))) is not None
