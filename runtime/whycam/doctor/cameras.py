"""The cameras: each is opened as the service would, and gives pictures often enough for its model."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whycam.bundle import Bundle
from whycam.config.models import Camera
from whycam.config.secrets import camera_url
from whycam.doctor.asking import NoAnswerError, ask
from whycam.doctor.camera_address import address_problem
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, ok, skipped, warning
from whycam.doctor.service_state import Running, running
from whycam.errors import WhycamError
from whycam.sources.network import without_credentials
from whycam.sources.uri import is_live

_SHARE = 0.4
_EXCLUSIVE = ("v4l2:", "csi:")
"""What only one process can open at a time."""
_SLOWER = 0.9


def cameras(installation: Installation) -> Iterator[Finding]:
    """What each configured source shows."""
    config = installation.config
    if config is None:
        return
    service, asked = running(installation), []
    for camera in config.cameras:
        if service is not None and camera.source.startswith(_EXCLUSIVE) and _has_it(service, camera):
            yield ok("camera.open", f"{camera.source}: in use by the service", camera=camera.name)
            continue
        try:
            url = camera_url(installation.camera(camera))
        except WhycamError as error:
            yield _secret(installation, camera, error)
            continue
        asked.append({"name": camera.name, "source": url})
    if asked and not installation.loads("opencv"):
        for one in asked:
            yield skipped("camera.open", "OpenCV cannot be loaded, see above", camera=one["name"])
    elif asked:
        yield from _looked(installation, asked)


def _looked(installation: Installation, asked: list[dict[str, str]]) -> Iterator[Finding]:
    assert installation.config is not None
    known = {camera.name: camera for camera in installation.config.cameras}
    waiting = {camera["name"]: camera["source"] for camera in asked}
    deadline = installation.until(_SHARE)
    seconds = max((deadline - time.monotonic()) * 0.7, 1.0)
    why = "no answer"
    try:
        for seen in ask("cameras", {"cameras": asked, "seconds": seconds}, installation.user, deadline):
            url = waiting.pop(seen["camera"])
            yield from _told(installation, known[seen["camera"]], url, seen)
    except NoAnswerError as error:
        why = str(error)
    for name, url in waiting.items():
        yield _unanswered(known[name], url, why)


def _told(installation: Installation, camera: Camera, url: str, seen: dict[str, Any]) -> Iterator[Finding]:
    name, source = camera.name, without_credentials(camera.source)
    if seen["problem"] is not None:
        yield judge_failure(installation, camera, url, seen["problem"])
        return
    size = f"{seen['width']} x {seen['height']}"
    facts = {"source": source, **{key: seen[key] for key in ("width", "height", "seconds_to_open", "fps")}}
    told = f"{source}: {size}, opened in {seen['seconds_to_open']:.1f} s"
    if seen["black"]:
        fix = "whycam score ... -o out    # look at the picture; take off the lens cap, see to light and exposure"
        yield warning("camera.open", f"{told}, but its picture is black", fix, camera=name, **facts)
    else:
        yield ok("camera.open", told, camera=name, **facts)
    rate = _rate(camera, seen["fps"])
    if rate is not None:
        yield rate


def _rate(camera: Camera, fps: float | None) -> Finding | None:
    try:
        window = Bundle.open(camera.bundle).manifest.window
    except WhycamError:
        return None  # told of with the bundle
    if fps is None:
        return skipped("camera.rate", "a single frame tells no rate", camera=camera.name)
    wanted = 1 / window.frame_interval
    facts = {"fps": fps, "wanted": wanted}
    told = f"{fps:.1f} frames per second, the model looks at {wanted:.1f}"
    if fps >= wanted * _SLOWER:
        return ok("camera.rate", told, camera=camera.name, **facts)
    fix = f"whycam export MODEL.keras -o NAME.whycam --frame-interval {1 / fps:.3f}    # or raise the camera's own rate"
    if 1 / fps > window.max_gap:
        return failure("camera.rate", f"{told}: its window never fills", fix, camera=camera.name, **facts)
    return warning("camera.rate", f"{told}: time runs differently than in training", fix, camera=camera.name, **facts)


def judge_failure(installation: Installation, camera: Camera, url: str, problem: str) -> Finding:
    """What to say of a camera whose source, at `url`, does not open for this `problem`."""
    problem = problem.replace(url, without_credentials(url))
    source, name = camera.source, camera.name
    device = source.removeprefix("v4l2:").removeprefix("//")
    if source.startswith("v4l2:") and "no permission" in problem:
        user = installation.user.name
        why = f"{source}: {user} has no permission"
        return failure("camera.open", why, f"sudo usermod -aG video {user}    # then log in again", camera=name)
    if source.startswith("v4l2:"):
        fix = "v4l2-ctl --list-devices" if "such device" in problem else f"sudo fuser -v {device}"
        return failure("camera.open", problem, fix, camera=name)
    if is_live(source) and "://" in source and not source.startswith("csi"):
        return _network(installation, camera, url, problem)
    before, _, fix = problem.partition(": run `") if ": run `" in problem else problem.partition("; ")
    if not is_live(source):
        fix = f"ls -l {Path(source.removeprefix('images:').partition('?')[0]).parent}"
    return failure("camera.open", before, fix.rstrip("`") or "whycam doctor --json", camera=name)


def _network(installation: Installation, camera: Camera, url: str, problem: str) -> Finding:
    found = address_problem(url, installation.until(0.15))
    if found is None:
        fix = f"ffprobe -rtsp_transport tcp {camera.source}    # with its user and password"
        return failure("camera.open", problem.partition("; ")[0], fix, camera=camera.name)
    why, fix = found
    secret = installation.camera(camera).credentials_file
    fix = fix.replace("FILE", str(secret or f"/etc/whycam/{camera.name}")).replace("CAMERA", camera.name)
    return failure("camera.open", f"{without_credentials(camera.source)}: {why}", fix, camera=camera.name)


def _unanswered(camera: Camera, url: str, why: str) -> Finding:
    source = without_credentials(url)
    told = f"the process that opens cameras {why}" if why.startswith("crashes") else why
    fix = f"ffprobe {shlex.quote(source)}"
    if source.startswith("v4l2:"):
        fix = f"sudo fuser -v {source.removeprefix('v4l2:').removeprefix('//')}"
    elif source.startswith("csi:"):
        fix = "sudo systemctl restart nvargus-daemon"
    return failure("camera.open", f"{source}: {told}", fix, camera=camera.name)


def _has_it(service: Running, camera: Camera) -> bool:
    """Whether the service has opened the camera, as far as it tells."""
    return service.health is None or service.camera(camera.name) in ("running", "cold")


def _secret(installation: Installation, camera: Camera, error: WhycamError) -> Finding:
    told = str(error).removeprefix(f"camera '{camera.name}': ")
    return skipped("camera.open", told, f"sudo whycam doctor -c {installation.path}", camera=camera.name)
