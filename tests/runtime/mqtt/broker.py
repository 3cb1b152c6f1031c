"""A real Mosquitto on a free port of this machine, which can be killed, restarted and frozen.

with Broker(directory) as broker:
    client.connect("127.0.0.1", broker.port)
    broker.kill()
    broker.start()  # the same port, the same sessions and retained messages
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
PASSWORDS = shutil.which("mosquitto_passwd")
OPENSSL = shutil.which("openssl")
_START_SECONDS = 30


def missing(*, passwords: bool = False, tls: bool = False) -> str | None:
    """Why there can be no such broker here, for `pytest.skip`; None where there can."""
    wanted = [("mosquitto", MOSQUITTO)]
    wanted += [("mosquitto_passwd (Debian: mosquitto)", PASSWORDS)] if passwords else []
    wanted += [("openssl", OPENSSL)] if tls else []
    absent = [name for name, path in wanted if path is None]
    return f"needs {', '.join(absent)}" if absent else None


class Broker:
    """A Mosquitto of the test's own."""

    def __init__(
        self,
        directory: Path,
        *,
        passwords: Mapping[str, str] | None = None,
        acl: str | None = None,
        tls: bool = False,
        client_certificates: bool = False,
        settings: Sequence[str] = (),
    ) -> None:
        """Keep all files in `directory`.

        With `passwords` (user: password), `acl` (the text of an ACL file), `tls` (a certificate of a CA made here; also
        `client_certificates`: clients must have one) and further lines of mosquitto.conf.
        """
        self.directory = directory
        self.host = "127.0.0.1"
        self.port = 0
        self.ca_file = directory / "ca.crt"
        self.client_certificate = directory / "client.crt"
        self.client_key = directory / "client.key"
        self._data = directory / "data"
        self._log = directory / "mosquitto.log"
        self._acl = directory / "acl"
        self._passwords = directory / "passwords"
        self._tls = tls or client_certificates
        self._process: subprocess.Popen[bytes] | None = None
        self._data.mkdir(parents=True, exist_ok=True)
        lines = [
            "persistence true",
            f"persistence_location {self._data}/",
            # Saved at every change, so that a kill takes as little as possible with it.
            "autosave_on_changes true",
            "autosave_interval 1",
            f"log_dest file {self._log}",
            "log_type all",
            "connection_messages true",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes `mosquitto`, who may not read the test's files
        if passwords is None:
            lines.append("allow_anonymous true")
        else:
            lines += ["allow_anonymous false", f"password_file {self._passwords}"]
            self._write_passwords(passwords)
        if acl is not None:
            self._acl.write_text(acl)
            self._acl.chmod(0o600)
            lines.append(f"acl_file {self._acl}")
        if self._tls:
            make_certificates(directory)
            self._listener = [
                f"cafile {self.ca_file}",
                f"certfile {directory / 'server.crt'}",
                f"keyfile {directory / 'server.key'}",
                f"require_certificate {'true' if client_certificates else 'false'}",
            ]
        else:
            self._listener = []
        self._lines = [*lines, *settings]

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Run it, on the port of the last time; returns when it accepts connections."""
        assert not self.running
        assert MOSQUITTO is not None
        deadline = time.monotonic() + _START_SECONDS
        chosen = self.port
        while True:
            self.port = chosen or free_port()
            config = self.directory / "mosquitto.conf"
            config.write_text(self._settings())
            self._process = subprocess.Popen(
                [MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while self._process.poll() is None and time.monotonic() < deadline:
                if accepts(self.host, self.port):
                    return
                time.sleep(0.02)
            if time.monotonic() >= deadline:
                self.stop()
                raise RuntimeError(f"mosquitto does not start:\n{self.log[-2000:]}")
            time.sleep(0.1)  # it ended at once: somebody else has the port; try again, on another one the first time

    def stop(self) -> None:
        """End it in order, frozen or not; sessions and retained messages are kept."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash does.

        Mosquitto acknowledges before it saves: what it took in the last moments for a subscriber that is away is lost.
        """
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def set_passwords(self, passwords: Mapping[str, str]) -> None:
        """Let these users in from now on; the others are disconnected."""
        self._write_passwords(passwords)
        self.reload()

    def set_acl(self, acl: str) -> None:
        """Allow this from now on."""
        self._acl.write_text(acl)
        self.reload()

    def _settings(self) -> str:
        # Listener options follow their listener.
        return "\n".join([f"listener {self.port} {self.host}", *self._listener, *self._lines, ""])

    def reload(self) -> None:
        """Let it read passwords and ACL again."""
        if self.running:
            os.kill(self.pid, signal.SIGHUP)

    def _write_passwords(self, passwords: Mapping[str, str]) -> None:
        assert PASSWORDS is not None
        draft = self.directory / "passwords.new"
        draft.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
        draft.chmod(0o600)
        subprocess.run([PASSWORDS, "-U", draft], check=True, capture_output=True)
        draft.replace(self._passwords)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make_certificates(directory: Path) -> None:
    """A CA in `ca.crt`; signed by it `server.crt` and `client.crt`, with their keys; `other.crt`: another CA."""
    for name in ("ca", "other"):
        _openssl(
            "req",
            "-x509",
            *_new_key(directory, name),
            "-subj",
            f"/CN={name}",
            "-days",
            "30",
            "-out",
            directory / f"{name}.crt",
        )
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    for name, extension in (("server", names), ("client", "extendedKeyUsage=clientAuth")):
        request, extensions = directory / f"{name}.csr", directory / f"{name}.ext"
        extensions.write_text(f"{extension}\n")
        _openssl("req", *_new_key(directory, name), "-subj", f"/CN={name}", "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", directory / "ca.crt", "-CAkey", directory / "ca.key"),
            *("-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", directory / f"{name}.crt"),
        )


def _new_key(directory: Path, name: str) -> tuple[object, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", directory / f"{name}.key")


def _openssl(*arguments: object) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True)


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
