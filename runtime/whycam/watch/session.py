"""From the command line to a running watcher."""

from __future__ import annotations

import getpass
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Literal
from urllib.parse import unquote, urlsplit

from whycam.errors import InputError
from whycam.mqtt.server import Server
from whycam.mqtt.topics import NAME, check_root
from whycam.watch.metrics import MetricsView, address
from whycam.watch.saving import Folder
from whycam.watch.views import JsonView, LineView, TableView, Views, log_to_stderr
from whycam.watch.watcher import Watcher

PASSWORD = "WHYCAM_PASSWORD"
_FORM = "give mqtt://[USER@]HOST[:PORT][/DEVICE], or mqtts://..."
_DAY = 86400
_LOG = logging.getLogger("whycam")


@dataclass(frozen=True)
class Login:
    """How to be let in."""

    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    protocol: Literal["5", "3.1.1"] = "5"


def follow(
    url: str,
    login: Login,
    as_json: bool,
    save: Path | None,
    root: str,
    client_id: str | None,
    session_days: float,
    count: int | None,
    seconds: float | None,
    metrics: str | None = None,
) -> None:
    """`whycam watch`. Raises InputError."""
    check_root(root)
    server, device = server_of(url, login)
    place = None if metrics is None else address(metrics)
    folder = Folder(save) if save is not None else None
    table = TableView(str(server)) if not as_json and sys.stdout.isatty() else None
    view = table or (JsonView() if as_json else LineView())
    figures = MetricsView() if place is not None else None
    watcher = Watcher(
        server,
        client_id or own_client_id(root, device),
        view if figures is None else Views(figures, view),
        root=root,
        device=device,
        session_seconds=round(session_days * _DAY),
        folder=folder,
    )
    with ExitStack() as stack:
        stack.enter_context(_logging_to(table or log_to_stderr()))
        if figures is not None and place is not None:
            stack.callback(figures.serve(*place).close)
        stack.enter_context(_ended_by_signals(watcher))
        if table is not None:
            stack.enter_context(table)
        watcher.run(count, seconds)


def server_of(url: str, login: Login) -> tuple[Server, str | None]:
    """The broker that `url` names, and the device, None for all. Raises InputError, without any password in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"the URL is not one of a broker; {_FORM}") from None
    if parts.password is not None:
        raise InputError(f"no password in the URL, where others can see it: use --password-file or {PASSWORD}")
    if parts.scheme not in ("mqtt", "mqtts") or not host or port == 0 or parts.query or parts.fragment:
        raise InputError(f"the URL is not one of a broker; {_FORM}")
    device = parts.path.strip("/") or None
    if device is not None and not NAME.fullmatch(device):
        raise InputError("the device in the URL must be 1 to 64 letters, digits, '_' or '-'")
    tls = parts.scheme == "mqtts"
    if (login.certificate_file is None) != (login.key_file is None):
        raise InputError("--certificate-file and --key-file go together: give both or neither")
    if not tls and (login.ca_file or login.certificate_file):
        raise InputError("--ca-file and --certificate-file need TLS: write mqtts:// in the URL")
    user = unquote(parts.username) if parts.username else None
    if user is None and login.password_file is not None:
        raise InputError("--password-file needs a user: write mqtt://USER@HOST")
    for option, file in (
        ("--password-file", login.password_file),
        ("--ca-file", login.ca_file),
        ("--certificate-file", login.certificate_file),
        ("--key-file", login.key_file),
    ):
        _check_readable(option, file)
    server = Server(
        host,
        port or (8883 if tls else 1883),
        login.protocol,
        tls=tls,
        ca_file=login.ca_file,
        certificate_file=login.certificate_file,
        key_file=login.key_file,
        username=user,
        password=partial(_password, login.password_file),
    )
    return server, device


def own_client_id(root: str, device: str | None) -> str:
    """The same each time here, so that the broker finds our session again."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    parts = ["whycam-watch", socket.gethostname(), user, *([root] if root != "whycam" else []), device or "all"]
    return "-".join(re.sub(r"[^A-Za-z0-9_]+", "_", part)[:40] if part != parts[0] else part for part in parts)


def _password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD)
    return file.read_text(encoding="utf-8").rstrip("\r\n")


def _check_readable(option: str, file: Path | None) -> None:
    if file is None:
        return
    try:
        file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{option} {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{option} {file}: not UTF-8 text") from None


@contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
    level, propagate = _LOG.level, _LOG.propagate
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(level)
        _LOG.propagate = propagate


@contextmanager
def _ended_by_signals(watcher: Watcher) -> Iterator[None]:
    def end(number: int, _frame: FrameType | None) -> None:
        watcher.stop()
        # A second one ends it at once, where whoever reads our output has stopped reading.
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
