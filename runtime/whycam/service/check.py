"""Whether a configuration can be run on this machine: what a look at the files it names can tell."""

from __future__ import annotations

from pathlib import Path

from whycam.alerts.judge import thresholds_of
from whycam.config.models import Camera, Config
from whycam.config.secrets import broker_password, camera_url
from whycam.deployment.slot import is_free_place
from whycam.deployment.trust import open_trusted
from whycam.detect.model import check_offered
from whycam.detect.sessions import feature_file
from whycam.drift import read_baseline
from whycam.errors import ConfigError, InputError, WhycamError
from whycam.explain.methods import METHODS, TIME_METHODS
from whycam.explain.target import contrast
from whycam.sources.network import without_credentials


def check_config(path: Path, config: Config) -> list[str]:
    """What `config`, from the file at `path`, asks for, a line for each thing; neither cameras nor broker are asked.

    Raises ConfigError with all that is wrong: a bundle that cannot be opened or lacks what is wanted of it, a secret
    that cannot be read.
    """
    problems: list[str] = []
    broker = config.broker
    who = f" as {broker.username}" if broker.username else ""
    tls = " with TLS" if broker.tls else ""
    told = [
        f"device {config.device}: MQTT {broker.protocol} at {broker.host}:{broker.port_number}{tls}{who}, "
        f"topics {broker.root}/{config.device}/...",
        f"state in {config.state}",
    ]
    try:
        broker_password(broker)
    except InputError as error:
        problems.append(f"{path}: {error}")
    for camera in config.cameras:
        name = f"camera '{camera.name}': "
        for role, checked in (("", camera), ("shadow: ", camera.candidate)):
            if checked is None:
                continue
            if role and is_free_place(checked.bundle):
                told.append(f"{role}camera {camera.name}: no candidate is installed at {checked.bundle} yet")
                continue
            try:
                camera_url(checked)
                told.append(role + _camera(checked, config))
            except WhycamError as error:
                problems.append(f"{path}: {name}{role}{str(error).removeprefix(name)}")
    if problems:
        raise ConfigError(problems)
    return told


def _camera(camera: Camera, config: Config) -> str:
    explain = config.explain
    bundle = open_trusted(camera.bundle, config.bundles)
    manifest = bundle.manifest
    feature_file(manifest, camera.precision)
    if camera.drift.enabled:
        read_baseline(bundle)
    for label in manifest.anomalies:
        contrast(manifest, label, explain.versus)
    for way, name in ((METHODS[explain.method], explain.method), (TIME_METHODS[explain.time], explain.time)):
        check_offered(manifest, way, name)
    watched = ", ".join(f"{name} from {score:g}" for name, score in thresholds_of(camera, manifest).items())
    zones = f", {len(camera.zones)} zones" if camera.zones else ""
    armed = "" if camera.armed else ", not armed"
    model = f"{manifest.name} {manifest.version} {camera.precision}"
    source = without_credentials(camera.source)
    return f"camera {camera.name}: {source}, {model}: {watched}{zones}{armed}"
