"""The service itself: installed, started at boot, running, healthy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from whycam.config.models import Metrics
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, listed, ok, warning

_SECONDS = 3.0
_MEASURED_SECONDS = 2.0
_SCORED = re.compile(r'^whycam_camera_scored_total\{camera="([^"]+)"\} (\S+)$', re.MULTILINE)
_open = build_opener(ProxyHandler({})).open


@dataclass(frozen=True)
class Running:
    """What a service that runs says of itself."""

    health: dict[str, Any] | None
    """None where it does not answer."""
    pid: int | None

    def camera(self, name: str) -> str | None:
        """The state of its camera `name`."""
        return None if self.health is None else self.health.get("cameras", {}).get(name)


def running(installation: Installation) -> Running | None:
    """The service that runs with this configuration; None where there is none."""
    return installation.once("running", lambda: _find(installation))


def unit(installation: Installation) -> Iterator[Finding]:
    """Whether systemd starts the service."""
    if installation.config is None:
        return
    found = installation.unit
    if found is None:
        yield ok("service.unit", "none: whoever starts the service starts it again, too", installed=False)
        return
    user = found.value("User")
    told = f"{found.path}, as {user or 'root'}"
    if user is not None and installation.user.name != user:
        fix = f"sudo useradd --system --home-dir /var/lib/whycam --shell /usr/sbin/nologin {user}"
        yield failure("service.unit", f"{told}, who does not exist", fix, installed=True, enabled=found.enabled)
    elif not found.enabled:
        why = f"{told}, not started at boot"
        yield warning("service.unit", why, "sudo systemctl enable whycam", installed=True, enabled=False)
    else:
        yield ok("service.unit", f"{told}, started at boot", installed=True, enabled=True)


def health(installation: Installation) -> Iterator[Finding]:
    """Whether it runs, and is well."""
    if installation.config is None:
        return
    found = running(installation)
    if found is None:
        if installation.unit is not None:
            yield warning("service.running", "not running", "sudo systemctl start whycam", running=False)
        else:
            yield ok("service.running", "not running", running=False)
        return
    facts: dict[str, Any] = {"running": True, "pid": found.pid, "health": found.health}
    if found.health is None:
        if installation.config.metrics.enabled and installation.config.metrics.port:
            why = f"process {found.pid} holds the state directory and does not answer at /healthz"
            yield failure("service.running", why, _restart(installation, found), **facts)
        else:
            yield ok("service.running", f"process {found.pid}; its health is not served on a fixed port", **facts)
        return
    bad = [f"{name} {state}" for name, state in found.health.get("cameras", {}).items() if state != "running"]
    problem = found.health.get("outbox", {}).get("problem")
    if not found.health.get("healthy"):
        why = f"unhealthy: scoring: {found.health.get('scoring')}"
        yield failure("service.running", why, _restart(installation, found), **facts)
    elif problem or bad or found.health.get("broker") != "connected":
        broker = found.health.get("broker")
        told = [*bad, *([f"outbox: {problem}"] if problem else []), *([] if broker == "connected" else [f"{broker}"])]
        yield warning("service.running", f"running, but: {'; '.join(told)}", "journalctl -u whycam -n 50", **facts)
    else:
        yield ok("service.running", f"healthy, cameras: {listed(list(found.health.get('cameras', {})))}", **facts)


def scored_per_second(metrics: Metrics, seconds: float = _MEASURED_SECONDS) -> dict[str, float]:
    """Frames that the running service scores in a second, by camera. Raises OSError."""
    began, before = time.monotonic(), _scored(metrics)
    time.sleep(seconds)
    after, passed = _scored(metrics), time.monotonic() - began
    return {name: (after[name] - before[name]) / passed for name in before.keys() & after.keys()}


def _scored(metrics: Metrics) -> dict[str, float]:
    return {name: float(value) for name, value in _SCORED.findall(_get(metrics, "/metrics"))}


def _find(installation: Installation) -> Running | None:
    if installation.config is None or installation.state is None or not installation.machine.is_this:
        return None
    pid = _holder(installation.state / "lock")
    metrics = installation.config.metrics
    told = None
    if metrics.enabled and metrics.port:
        try:
            told = json.loads(_get(metrics, "/healthz"))
        except (OSError, ValueError, HTTPException):
            told = None
    if pid is None and not (isinstance(told, dict) and "healthy" in told):
        return None
    return Running(told if isinstance(told, dict) else None, pid)


def _holder(lock: Path) -> int | None:
    """The process that holds the lock on the file; it is not locked for that, which the service could run into."""
    try:
        inode = lock.stat().st_ino
        text = Path("/proc/locks").read_text()
    except OSError:
        return None
    for held in re.finditer(r"^\d+: FLOCK\s+\S+\s+\S+\s+(\d+)\s+\S+:(\d+)\s", text, re.MULTILINE):
        if int(held[2]) == inode and _is_whycam(int(held[1])):
            return int(held[1])
    return None


def _is_whycam(pid: int) -> bool:
    # Files of two disks may have one number.
    try:
        return b"whycam" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return Path(f"/proc/{pid}").exists()


def _get(metrics: Metrics, path: str) -> str:
    host = f"[{metrics.host}]" if ":" in metrics.host else metrics.host
    try:
        with _open(f"http://{host}:{metrics.port}{path}", timeout=_SECONDS) as reply:
            return str(reply.read(1 << 20), "utf-8", "replace")
    except HTTPError as error:
        # An unhealthy service says so with the status, and why in the body.
        with error:
            return str(error.read(1 << 20), "utf-8", "replace")
    except URLError as error:
        raise OSError(str(error.reason)) from None


def _restart(installation: Installation, found: Running) -> str:
    return (
        "sudo systemctl restart whycam"
        if installation.unit is not None
        else f"kill {found.pid}    # and start it again"
    )
