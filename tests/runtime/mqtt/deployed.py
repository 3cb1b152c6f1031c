"""The broker of deploy/, as its files say: only ports, and the folders of a whole machine, are the test's own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.runtime.mqtt.broker import Broker, accepts, free_port
from tests.runtime.mqtt.collector import until

DEPLOY = Path(__file__).parents[3] / "deploy"
FILES = DEPLOY / "mosquitto"
DEBIAN = """\
pid_file /run/mosquitto/mosquitto.pid
persistence true
persistence_location /var/lib/mosquitto/
log_dest file /var/log/mosquitto/mosquitto.log
include_dir /etc/mosquitto/conf.d
"""
"""What Debian's own /etc/mosquitto/mosquitto.conf says."""
BASES = {"Debian": DEBIAN, "container": (DEPLOY / "compose" / "mosquitto.conf").read_text(encoding="utf-8")}


def certificates(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """certificates.sh in `directory`."""
    command = [FILES / "certificates.sh", "-d", directory, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def make(directory: Path, *arguments: str) -> None:
    """certificates.sh, which must succeed."""
    done = certificates(directory, *arguments)
    assert done.returncode == 0, done.stderr


class DeployedBroker(Broker):
    """Listens for passwords on `port`, for certificates on `certificate_port`."""

    def __init__(self, directory: Path, base: str, certificates: Path, passwords: Mapping[str, str]) -> None:
        """`base`: one of BASES. `certificates`: what certificates.sh has made, a server's among it.

        A whycam.passwords and a whycam.acl that are there too are taken as they are.
        """
        super().__init__(directory, passwords=passwords)
        self.certificate_port = free_port()
        self.ca_file = certificates / "ca.crt"
        self._base = BASES[base]
        etc = directory / "etc"
        (etc / "certs").mkdir(parents=True)
        (etc / "conf.d").mkdir()
        for name in ("ca.crt", "ca.crl", "server.crt", "server.key"):
            shutil.copy(certificates / name, etc / "certs" / name)
        self.passwords = etc / "whycam.passwords"
        (directory / "passwords").rename(self.passwords)
        for name, own in (("whycam.acl", FILES / "whycam.acl"), ("whycam.passwords", self.passwords)):
            if (certificates / name).exists():
                own = certificates / name
            (etc / name).write_bytes(own.read_bytes())
            (etc / name).chmod(0o600)
        self._etc = etc

    def start(self) -> None:
        """Run it; returns when both listeners accept connections: they open one after the other."""
        super().start()
        until(lambda: accepts("127.0.0.1", self.certificate_port), "the listener for certificates")

    def renew_list(self, certificates: Path) -> None:
        """Take up ca.crl, at the next start."""
        shutil.copy(certificates / "ca.crl", self._etc / "certs" / "ca.crl")

    @property
    def database(self) -> Path:
        """Where it keeps what must survive a restart."""
        return self.directory / "data" / "mosquitto.db"

    def _settings(self) -> str:
        own = (FILES / "whycam.conf").read_text(encoding="utf-8")
        own = _replaced(own, "\nlistener 8883\n", f"\nlistener {self.port} 127.0.0.1\n")
        own = _replaced(own, "\nlistener 8884\n", f"\nlistener {self.certificate_port} 127.0.0.1\n")
        (self._etc / "conf.d" / "whycam.conf").write_text(_replaced(own, " /etc/mosquitto/", f" {self._etc}/"))
        base = self._base
        for place in ("/var/lib/mosquitto/", "/mosquitto/data/"):
            base = base.replace(f"persistence_location {place}", f"persistence_location {self.directory}/data/")
        base = base.replace("/run/mosquitto/", f"{self.directory}/").replace(
            "/var/log/mosquitto/", f"{self.directory}/"
        )
        base = base.replace("log_dest stdout", f"log_dest file {self._log}")
        # What tests alone want to know.
        lines = [line for line in self._lines if line.startswith(("user ", "log_type ", "connection_messages "))]
        return "\n".join([_replaced(base, " /etc/mosquitto/", f" {self._etc}/"), *lines, ""])


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)
