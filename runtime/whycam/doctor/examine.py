"""The examination: checks side by side, each with its end, and a finding for each whatever happens."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib import import_module

import whycam
from whycam.doctor import asking
from whycam.doctor.catalogue import CHECKS, SECTIONS, section_of
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, Report, failure

Show = Callable[[str, int, int], None]
"""Is told of progress: which section, how many of its checks are done, of how many."""


@dataclass(frozen=True)
class Check:
    """What gives one finding, or several one after the other."""

    names: tuple[str, ...]
    """Those that it may give, in this order."""
    module: str
    """Of this package; imported when the check runs, so that what is missing for one is not missing for all."""
    function: str

    def run(self, installation: Installation) -> Iterable[Finding]:
        """Its findings, as they come."""
        return self.load()(installation)

    def load(self) -> Callable[[Installation], Iterable[Finding]]:
        """The function, imported; raises what its imports raise."""
        function: Callable[[Installation], Iterable[Finding]]
        function = getattr(import_module(f"whycam.doctor.{self.module}"), self.function)
        return function


BROKER = tuple(name for name in CHECKS if section_of(name) == "broker")
PLATFORM = (
    Check(("platform.device",), "platform", "device"),
    Check(("platform.system",), "platform", "system"),
    Check(("platform.jetpack",), "platform", "jetpack"),
    Check(("platform.gpu",), "platform", "gpu"),
    Check(("platform.power",), "platform", "power"),
    Check(("platform.temperature",), "platform", "temperature"),
    Check(("software.python",), "software", "python"),
    Check(("software.numpy",), "software", "numpy"),
    Check(("software.onnxruntime",), "software", "onnxruntime"),
    Check(("software.cuda",), "software", "cuda"),
    Check(("software.tensorrt",), "software", "tensorrt"),
    Check(("software.kernels",), "software", "kernels"),
    Check(("software.opencv",), "software", "opencv"),
    Check(("system.clock",), "clock", "clock"),
    Check(("system.groups",), "permissions", "groups"),
)
WITH_CONFIG = (
    Check(("system.state",), "disk", "state"),
    Check(("system.disk",), "disk", "disk"),
    Check(("system.secrets",), "permissions", "secrets"),
    Check(("service.unit",), "service_state", "unit"),
    Check(("service.running",), "service_state", "health"),
    Check(BROKER, "broker", "broker"),
    Check(("camera.open", "camera.rate"), "cameras", "cameras"),
    Check(("bundle.files",), "bundles", "files"),
    Check(("bundle.signature",), "bundles", "signatures"),
)
LAST = (Check(("bundle.self_test", "bundle.speed"), "models", "models"),)
"""What measures time waits until the others are done."""


def checks_of(installation: Installation) -> tuple[Sequence[Check], ...]:
    """The checks that there are to do, those side by side that may be: without a configuration, the platform's."""
    return (PLATFORM,) if installation.config is None else ((*PLATFORM, *WITH_CONFIG), LAST)


def examine(installation: Installation, show: Show, waves: Sequence[Sequence[Check]] | None = None) -> Report:
    """All that can be found out until the installation's deadline; raises nothing, whatever is broken."""
    began = time.monotonic()
    waves = checks_of(installation) if waves is None else waves
    findings: list[Finding] = []
    try:
        for wave in waves:
            findings += _wave(installation, wave, show)
    finally:
        asking.end_all()
    findings.sort(key=partial(_place, installation))
    return Report(
        time=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        whycam=whycam.__version__,
        config=installation.path,
        device=None if installation.config is None else installation.config.device,
        seconds=time.monotonic() - began,
        findings=tuple(findings),
    )


def _place(installation: Installation, finding: Finding) -> tuple[int, int, int]:
    """By section; in it by camera, as they are configured; and then in the order of the checks."""
    names = [camera.name for camera in installation.config.cameras] if installation.config else []
    first = re.split(r",| and |'", finding.camera or "")[0]
    camera = names.index(first) if first in names else -1
    return list(SECTIONS).index(section_of(finding.check)), camera, list(CHECKS).index(finding.check)


def _wave(installation: Installation, checks: Sequence[Check], show: Show) -> Iterator[Finding]:
    """What the checks find, side by side."""
    found: queue.Queue[tuple[int, Finding | None]] = queue.Queue()
    for check in checks:
        # One after the other: imports of several threads that wait for each other give half a module to one of them.
        with suppress(Exception):
            check.load()
    for index, check in enumerate(checks):
        threading.Thread(target=_run, args=(installation, index, check, found), daemon=True).start()
    waiting, given = dict(enumerate(checks)), dict.fromkeys(range(len(checks)), 0)
    progress = _Progress(checks, show)
    while waiting:
        try:
            index, finding = found.get(timeout=max(installation.deadline - time.monotonic(), 0.01))
        except queue.Empty:
            break
        if index not in waiting:
            continue
        if finding is None:
            progress.done(waiting.pop(index))
        else:
            given[index] += 1
            yield finding
    for index, check in waiting.items():
        name = check.names[min(given[index], len(check.names) - 1)]
        config = f" -c {installation.path}" if installation.path else ""
        fix = f"whycam doctor{config} --seconds {2 * installation.seconds:.0f}    # if this machine is slow, not stuck"
        yield failure(name, f"has not ended after {installation.seconds:g} s", fix)


def _run(installation: Installation, index: int, check: Check, found: queue.Queue[tuple[int, Finding | None]]) -> None:
    last = -1
    try:
        for finding in check.run(installation):
            last = check.names.index(finding.check)
            found.put((index, finding))
    except BaseException as error:
        name = check.names[min(last + 1, len(check.names) - 1)]
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        found.put(
            (index, failure(name, f"the check itself has failed: {told}", "whycam doctor --json    # report this"))
        )
    found.put((index, None))


class _Progress:
    """Counts the checks of each section."""

    def __init__(self, checks: Sequence[Check], show: Show) -> None:
        self._show = show
        self._total: dict[str, int] = {}
        self._done: dict[str, int] = {}
        for check in checks:
            section = section_of(check.names[0])
            self._total[section] = self._total.get(section, 0) + 1
        for section in self._total:
            self._tell(section)

    def done(self, check: Check) -> None:
        section = section_of(check.names[0])
        self._done[section] = self._done.get(section, 0) + 1
        self._tell(section)

    def _tell(self, section: str) -> None:
        self._show(section, self._done.get(section, 0), self._total[section])
