"""The zones of a camera, so that calibration sees what the camera's model will see."""

from __future__ import annotations

from pathlib import Path

from whycam.alerts.zones import Watch
from whycam.config.file import load_config
from whycam.errors import InputError
from whycam_calibration.drift.gather import Prepare


def zones_of(config: Path | None, name: str | None) -> Prepare:
    """What the camera `name` in the configuration file `config` does to its frames; nothing without a file.

    Raises InputError where there is no such camera, or several and none is named.
    """
    if config is None:
        if name is not None:
            raise InputError(f"--camera {name}: give the configuration that names it with --config")
        return Watch(()).apply
    cameras = {camera.name: camera for camera in load_config(config).cameras}
    if name is None and len(cameras) > 1:
        raise InputError(f"{config}: has several cameras; name one with --camera: {', '.join(cameras)}")
    chosen = next(iter(cameras)) if name is None else name
    if chosen not in cameras:
        raise InputError(f"--camera {chosen}: {config} has {', '.join(cameras)}")
    return Watch(cameras[chosen].zones).apply
