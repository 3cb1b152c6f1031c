"""What was set over MQTT: kept whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from whycam.service.settings import CameraSettings, Settings


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    settings = Settings(path)
    settings.keep("gate", CameraSettings(armed=False, thresholds={"fight": 0.9}))
    settings.keep("yard", CameraSettings(thresholds={"fire": 0.5}))
    settings.announce(["gate", "yard"])
    again = Settings(path)
    assert again.of("gate") == CameraSettings(armed=False, thresholds={"fight": 0.9})
    assert again.of("yard").armed is None
    assert again.of("roof") == CameraSettings()
    assert again.announced == {"gate", "yard"}
    assert [file.name for file in tmp_path.iterdir()] == ["settings.json"]


@pytest.mark.parametrize("text", [b"", b"{", b'{"cameras": 3}', b"\xff", b'{"cameras": {"gate": {"armd": true}}}'])
def test_a_damaged_file_is_set_aside_and_told(tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(text)
    settings = Settings(path)
    assert settings.of("gate") == CameraSettings()
    assert (tmp_path / "settings.json.damaged").read_bytes() == text
    assert "kept as settings.json.damaged" in caplog.text
    settings.keep("gate", CameraSettings(armed=True))
    assert Settings(path).of("gate").armed is True


def test_a_disk_that_does_not_take_it_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    settings = Settings(folder / "settings.json")
    settings.keep("gate", CameraSettings(armed=False))
    (folder / "settings.json").unlink()
    folder.rmdir()
    with pytest.raises(OSError, match="No such file"):
        settings.keep("gate", CameraSettings(armed=True))
    assert settings.of("gate").armed is False
