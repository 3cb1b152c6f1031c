"""The models: right on this device, and fast enough for the cameras that they watch."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whycam.bench.cameras import MARGIN
from whycam.bundle import Bundle
from whycam.config.models import Camera, Config
from whycam.detect.engines import engine_folder, holds_engine
from whycam.detect.providers import TENSORRT, runtime_name, title
from whycam.detect.sessions import feature_file
from whycam.doctor.asking import NoAnswerError, ask
from whycam.doctor.bundles import SHADOW, Key, models_of, renewal
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, listed, ok, skipped, warning
from whycam.doctor.service_state import Running, running, scored_per_second
from whycam.errors import WhycamError

_TIMES_AS_MUCH = 3
"""Memory that a second copy of a model takes, beside the service's, over the size of its files."""
_SLOWER = 0.9
_LIBRARIES = {"onnxruntime": "ONNX Runtime", "opencv": "OpenCV"}
_OF_THE_DEVICE = ("does not run on this device", "execution provider", "cannot load it")
"""What messages say where it is not the bundle that is broken, or not for sure."""


def models(installation: Installation) -> Iterator[Finding]:
    """Whether each model computes what it should, and the frames per second that each camera gets, or can expect."""
    config = installation.config
    if config is None:
        return
    yield from _models(installation, config)
    service = running(installation)
    if service is not None and service.health is not None:
        yield from _measured(config, service)
    elif service is not None:
        yield skipped("bundle.speed", "the service runs, and its figures are not served on a fixed port")


def _measured(config: Config, service: Running) -> Iterator[Finding]:
    rates = scored_per_second(config.metrics)
    for camera in config.cameras:
        wanted = _wanted(camera)
        if wanted is None:
            continue
        if camera.name not in rates:
            fix = "sudo systemctl reload whycam"
            yield warning("bundle.speed", "the running service does not know it", fix, camera=camera.name)
            continue
        if service.camera(camera.name) != "running":
            why = f"the service has it as {service.camera(camera.name)}"
            yield skipped("bundle.speed", why, camera=camera.name)
            continue
        fps = rates[camera.name]
        told = f"the service scores {fps:.1f} of {wanted:.1f} frames per second"
        facts = {"fps": round(fps, 2), "wanted": round(wanted, 2), "measured": "service"}
        if fps >= _SLOWER * wanted:
            yield ok("bundle.speed", told, camera=camera.name, **facts)
        else:
            figures = f"curl -s http://{config.metrics.host}:{config.metrics.port}/metrics"
            fix = f"{figures} | grep {camera.name}    # dropped, or not sent?"
            yield warning("bundle.speed", told, fix, camera=camera.name, **facts)


def _models(installation: Installation, config: Config) -> Iterator[Finding]:
    """What comes of the models in a process of their own: whether they compute what they should, and how fast."""
    broken = [title for name, title in _LIBRARIES.items() if not installation.loads(name)]
    if broken:
        yield skipped("bundle.self_test", f"{listed(broken)} cannot be loaded, see above")
        return
    alone = running(installation) is None
    models = {key: cameras for key, cameras in models_of(config).items() if _opens(key)}
    for key in list(models):
        reason = _left_out(installation, key, alone)
        if reason is not None:
            names = models.pop(key)
            yield skipped("bundle.self_test", *reason, camera=listed(names))
    if not models:
        return
    keys = list(models)
    question = {
        "models": [
            {"bundle": str(key[0]), "precision": key[1], "providers": key[2], "cameras": len(_timed(models[key]))}
            for key in keys
        ],
        "threads": config.threads,
        "alone": alone,
        "seconds": max(installation.deadline - time.monotonic() - 2, 1.0),
    }
    tested: set[Key] = set()
    timed: dict[Key, dict[str, Any]] = {}
    why = "not done in time"
    try:
        for answer in ask("models", question, installation.user, installation.deadline - 0.5):
            key = keys[answer["model"]]
            if answer["kind"] == "self_test":
                tested.add(key)
                yield judge_self_test(key, listed(models[key]), answer)
            else:
                timed[key] = answer
    except NoAnswerError as error:
        why = str(error)
    for key in keys:
        if key not in tested:
            yield _unanswered(key, listed(models[key]), why)
    yield from _speeds(config, models, timed)


def judge_self_test(key: Key, names: str, answer: dict[str, Any]) -> Finding:
    """What to say of what came of the self-test of a model that the cameras of these names run."""
    if answer["problem"] is not None:
        told = re.split(r"; |: run `", answer["problem"])[0]
        if "so that nothing tells" in told:
            return warning("bundle.self_test", told.partition(": ")[2], renewal(key[0]), camera=names)
        elsewhere = any(words in told for words in _OF_THE_DEVICE)
        return failure("bundle.self_test", told, _cpu(key) if elsewhere else renewal(key[0]), camera=names)
    test = answer["test"]
    on = title(test["providers"][0])
    if not test["passed"]:
        told = f"{test['precision']} on {on} computes something else than where it was made: {answer['told']}"
        return failure("bundle.self_test", told, _cpu(key), camera=names, **test)
    told = f"{test['precision']} on {on} computes what it did where it was made"
    asked = key[2][0] if key[2] else None
    if asked is not None and runtime_name(asked) != test["providers"][0]:
        why = f"whycam bench {key[0]} --precision {key[1]} --provider {asked}    # says why"
        return warning("bundle.self_test", f"{told}, though {asked} is asked for first", why, camera=names, **test)
    return ok("bundle.self_test", told, camera=names, **test)


def _unanswered(key: Key, names: str, why: str) -> Finding:
    if why.startswith("crashes"):
        return failure("bundle.self_test", f"the process that runs the model {why}", _cpu(key), camera=names)
    fix = f"whycam bench {key[0]} --precision {key[1]}    # or give whycam doctor more --seconds"
    return warning("bundle.self_test", why, fix, camera=names)


def _speeds(config: Config, models: dict[Key, list[str]], timed: dict[Key, dict[str, Any]]) -> Iterator[Finding]:
    """All models run on one machine, one after the other: together they must leave time."""
    known = {camera.name: camera for camera in config.cameras}
    share = sum(
        answer["seconds"] * max(_wanted(known[name]) or 0.0 for name in _timed(models[key]))
        for key, answer in timed.items()
    )
    for key, answer in timed.items():
        for name in _timed(models[key]):
            yield judge_speed(known[name], _wanted(known[name]) or 0.0, share, answer["providers"])


def _timed(names: list[str]) -> list[str]:
    """Those that must be scored: a shadow gets the time that is left."""
    return [name for name in names if not name.endswith(SHADOW)]


def judge_speed(camera: Camera, wanted: float, share: float, providers: list[str]) -> Finding:
    """What to say of a camera that wants so many frames per second, where all cameras take this share of the time."""
    fps = wanted / max(share, 1.0)
    on = title(providers[0])
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


def _engine_missing(installation: Installation, key: Key) -> bool:
    path, precision, providers = key
    if not {"tensorrt", TENSORRT.lower()} & {one.lower() for one in providers or ()}:
        return False
    manifest = Bundle.open(path).manifest
    folder = engine_folder(manifest.files[feature_file(manifest, precision)].sha256)
    root = installation.user.environment.get("WHYCAM_ENGINES")
    folder = folder if root is None else Path(root) / folder.name
    return not holds_engine(folder)


def _left_out(installation: Installation, key: Key, alone: bool) -> tuple[str, str | None] | None:
    """Why a model is not tried, and what lets it be; None where it is."""
    if _engine_missing(installation, key):
        build = f"whycam calibrate precision {key[0]} --precision {key[1]} --tensorrt"
        return "TensorRT's engine is not built yet", f"{build}    # builds it, in minutes"
    if alone:
        return None
    needed = _TIMES_AS_MUCH * sum(entry.bytes for entry in Bundle.open(key[0]).manifest.files.values())
    free = re.search(r"^MemAvailable:\s+(\d+) kB", installation.machine.read("/proc/meminfo") or "", re.MULTILINE)
    if free and int(free[1]) * 1024 < needed:
        why = f"too little memory for a second copy beside the service's ({int(free[1]) >> 10} MiB are free)"
        return why, f"sudo systemctl stop whycam && sudo whycam doctor -c {installation.path}"
    return None


def _cpu(key: Key) -> str:
    if key[2] is not None and [name.lower() for name in key[2]] == ["cpu"]:
        return renewal(key[0])
    return 'providers = ["cpu"]    # in [[camera]], until the GPU computes it'
