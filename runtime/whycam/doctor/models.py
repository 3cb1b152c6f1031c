"""The models: whole bundles, trusted, right on this device, and fast enough for the cameras that they watch."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whycam.bench.cameras import MARGIN
from whycam.bundle import Bundle
from whycam.config.models import Camera, Config
from whycam.detect.engines import TENSORRT, engine_folder
from whycam.detect.sessions import CPU_FORM, feature_file
from whycam.doctor.asking import NoAnswerError, ask
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, listed, ok, skipped, warning
from whycam.doctor.service_state import running, scored_per_second
from whycam.errors import WhycamError

_TIMES_AS_MUCH = 3
"""Memory that a second copy of a model takes, beside the service's, over the size of its files."""
_SLOWER = 0.9

Key = tuple[Path, str, tuple[str, ...] | None]


def bundles(installation: Installation) -> Iterator[Finding]:
    """Whether each bundle is whole, and has what its cameras ask for."""
    config = installation.config
    if config is None:
        return
    for (path, precision, providers), cameras in models_of(config).items():
        names = listed(cameras)
        again = f"whycam export MODEL.keras -o {path}    # on a workstation; then copy all of the folder here"
        try:
            bundle = Bundle.open(path)
            feature_file(bundle.manifest, precision, providers or ())
            for name in bundle.manifest.files:
                bundle.file(name)
        except WhycamError as error:
            fix = _precision_fix(path, precision) if "precision" in str(error) else again
            yield failure("bundle.files", str(error).partition("; ")[0], fix, camera=names)
            continue
        told = f"{bundle.manifest.name} {bundle.manifest.version}, {precision}: whole"
        yield ok("bundle.files", told, camera=names, path=str(path), version=bundle.manifest.version)


def models_of(config: Config) -> dict[Key, list[str]]:
    """The models that the service loads, each with the names of the cameras that share it."""
    found: dict[Key, list[str]] = {}
    for camera in config.cameras:
        found.setdefault((camera.bundle, camera.precision, camera.providers), []).append(camera.name)
    return found


def speed(installation: Installation) -> Iterator[Finding]:
    """Frames per second of each camera: those that the running service scores, or those to be expected."""
    config = installation.config
    if config is None:
        return
    service = running(installation)
    if service is not None and service.health is not None:
        yield from _measured(installation, config)
        return
    if service is not None:
        yield skipped("bundle.speed", "the service runs, and its figures are not served on a fixed port")
        return
    yield from _expected(installation, config)


def _measured(installation: Installation, config: Config) -> Iterator[Finding]:
    rates = scored_per_second(config.metrics)
    for camera in config.cameras:
        wanted = _wanted(camera)
        if wanted is None:
            continue
        if camera.name not in rates:
            fix = "sudo systemctl reload whycam"
            yield warning("bundle.speed", "the running service does not know it", fix, camera=camera.name)
            continue
        fps = rates[camera.name]
        told = f"the service scores {fps:.1f} of {wanted:.1f} frames per second"
        facts = {"fps": round(fps, 2), "wanted": round(wanted, 2), "measured": "service"}
        if fps >= _SLOWER * wanted:
            yield ok("bundle.speed", told, camera=camera.name, **facts)
        else:
            fix = (
                f"curl -s http://127.0.0.1:{config.metrics.port}/metrics | grep {camera.name}    # dropped or not sent?"
            )
            yield warning("bundle.speed", told, fix, camera=camera.name, **facts)


def _expected(installation: Installation, config: Config) -> Iterator[Finding]:
    found: dict[Key, dict[str, Any]] = {}
    models = {key: cameras for key, cameras in models_of(config).items() if _opens(key)}
    for key in [key for key in models if _engine_missing(key)]:
        fix = f"whycam calibrate precision {key[0]} --precision {key[1]} --tensorrt    # builds its engine, in minutes"
        for name in models.pop(key):
            yield skipped("bundle.speed", "TensorRT's engine is not built yet", fix, camera=name)
    if not models:
        return
    keys = list(models)
    question = {
        "models": [
            {"bundle": str(bundle), "precision": precision, "providers": providers, "cameras": models[key]}
            for key in keys
            for bundle, precision, providers in [key]
        ],
        "threads": config.threads,
        "seconds": max(installation.deadline - time.monotonic() - 2, 1.0),
    }
    why = "not measured in time"
    try:
        for answer in ask("models", question, installation.user, installation.deadline - 0.5):
            found[keys[answer["model"]]] = answer
    except NoAnswerError as error:
        why = str(error)
    yield from _judged(config, models, found, why)


def _judged(
    config: Config, models: dict[Key, list[str]], found: dict[Key, dict[str, Any]], why: str
) -> Iterator[Finding]:
    """All models run on one machine, one after the other: together they must leave time."""
    known = {camera.name: camera for camera in config.cameras}
    share = 0.0
    for key, names in models.items():
        if key in found and found[key]["problem"] is None:
            share += found[key]["seconds"] * max(_wanted(known[name]) or 0.0 for name in names)
    for key, names in models.items():
        for name in names:
            camera, answer = known[name], found.get(key)
            if answer is None and why.startswith("crashes"):
                yield failure("bundle.speed", f"the process that runs the model {why}", _cpu(), camera=name)
            elif answer is None:
                fix = f"whycam bench {camera.bundle} --precision {camera.precision}"
                yield skipped("bundle.speed", why, fix, camera=name)
            elif answer["problem"] is not None:
                told = re.split(r"; |: run `", answer["problem"])[0]
                yield failure("bundle.speed", f"does not run: {told}", _cpu(), camera=name)
            else:
                yield judge_speed(camera, _wanted(camera) or 0.0, share, answer["providers"])


def judge_speed(camera: Camera, wanted: float, share: float, providers: list[str]) -> Finding:
    """What to say of a camera that wants so many frames per second, where all cameras take this share of the time."""
    fps = wanted / max(share, 1.0)
    on = providers[0].removesuffix("ExecutionProvider")
    told = f"{fps:.1f} of {wanted:.1f} frames per second on {on}; all cameras take {share:.0%} of the time"
    facts = {"fps": round(fps, 2), "wanted": round(wanted, 2), "share": round(share, 3), "measured": "alone"}
    calibrate = f"whycam calibrate precision {camera.bundle} --footage DIR --precision int8"
    faster = f'precision = "int8"    # in [[camera]], after: {calibrate}'
    if share > 1:
        return failure("bundle.speed", told, faster, camera=camera.name, **facts)
    if share > 1 - MARGIN:
        return warning("bundle.speed", f"{told}: little is left", faster, camera=camera.name, **facts)
    return ok("bundle.speed", told, camera=camera.name, **facts)


def _wanted(camera: Camera) -> float | None:
    try:
        return 1 / Bundle.open(camera.bundle).manifest.window.frame_interval
    except WhycamError:
        return None


def _opens(key: Key) -> bool:
    try:
        feature_file(Bundle.open(key[0]).manifest, key[1])
    except WhycamError:
        return False
    return True


def _engine_missing(key: Key) -> bool:
    path, precision, providers = key
    if not providers or ("tensorrt" not in (one.lower() for one in providers) and TENSORRT not in providers):
        return False
    manifest = Bundle.open(path).manifest
    folder = engine_folder(manifest.files[feature_file(manifest, precision)].sha256)
    return not any(folder.glob("*.engine"))


def _precision_fix(path: Path, precision: str) -> str:
    try:
        names = [name for name in Bundle.open(path).manifest.precisions if not name.endswith(CPU_FORM)]
    except WhycamError:
        names = []
    there = f" # in [[camera]]; there are {listed(names)}" if names else ""
    return f'precision = "fp32"   {there}'


def _cpu() -> str:
    return 'providers = ["cpu"]    # in [[camera]], until the GPU runs it'
