"""certificates.sh of deploy/mosquitto: what it makes, what it refuses, and that it overwrites nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.runtime.mqtt.broker import missing
from tests.runtime.mqtt.deployed import certificates, make

pytestmark = pytest.mark.skipif(bool(missing(tls=True)), reason=str(missing(tls=True)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates") / "of the site"
    make(directory, "ca")
    make(directory, "server", "broker.example", "192.0.2.7", "2001:db8::7")
    make(directory, "client", "entrance", "yard")
    return directory


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def test_the_servers_certificate_is_for_its_names_and_addresses(made: Path) -> None:
    told = openssl("x509", "-in", made / "server.crt", "-noout", "-subject", "-ext", "subjectAltName,basicConstraints")
    assert "DNS:broker.example, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7" in told
    assert "CN = broker.example" in told
    assert "CA:FALSE" in told


@pytest.mark.parametrize(
    ("name", "purpose", "other"),
    [("server", "sslserver", "sslclient"), ("clients/entrance", "sslclient", "sslserver")],
)
def test_each_is_good_for_its_own_purpose_alone(made: Path, name: str, purpose: str, other: str) -> None:
    verify = ("verify", "-CAfile", made / "ca.crt", "-CRLfile", made / "ca.crl", "-crl_check", "-purpose")
    assert "OK" in openssl(*verify, purpose, made / f"{name}.crt")
    assert "unsuitable certificate purpose" in openssl(*verify, other, made / f"{name}.crt")


@pytest.mark.parametrize(("name", "days"), [("ca", 3650), ("server", 825), ("clients/yard", 825)])
def test_each_holds_for_its_time(made: Path, name: str, days: int) -> None:
    def holds_in(seconds: int) -> bool:
        return "will not" in openssl("x509", "-in", made / f"{name}.crt", "-noout", "-checkend", str(seconds))

    assert holds_in(days * 86400 - 3600)
    assert not holds_in(days * 86400 + 3600)


def test_keys_are_for_their_owner_alone(made: Path) -> None:
    keys = sorted(path.relative_to(made).as_posix() for path in made.rglob("*.key"))
    assert keys == ["ca.key", "clients/entrance.key", "clients/yard.key", "server.key"]
    assert {(made / key).stat().st_mode & 0o777 for key in keys} == {0o600}


@pytest.mark.parametrize("command", [("ca",), ("server", "other.example"), ("client", "later", "yard")])
def test_nothing_is_overwritten(made: Path, command: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert "nothing is overwritten" in refusal(made, *command)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("client", "gate"), "make the authority first"),
        (("server", "broker"), "make the authority first"),
        (("revoke", "gate"), "make the authority first"),
        (("server",), "name the broker"),
        (("client",), "name the device"),
        (("client", "../gate"), "'../gate' must be 1 to 64 letters"),
        (("client", "+"), "must be 1 to 64 letters"),
        (("server", "a broker"), "neither a host's name nor an address"),
        (("server", "x,email:copy"), "neither a host's name nor an address"),
        (("--days", "0", "ca"), "not a number of days"),
        (("--days",), "name a number"),
        (("--force", "ca"), "no such option"),
        (("sign",), "no such command"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    if arguments[0] in ("server", "client") and "authority first" not in says:
        make(tmp_path, "ca")
    assert says in refusal(tmp_path, *arguments)


def test_what_openssl_says_is_one_line_too(tmp_path: Path) -> None:
    make(tmp_path, "ca")
    assert "openssl: " in refusal(tmp_path, "server", "1.2.3.4.5")
    (tmp_path / "ca.key").write_text("no key")
    assert "openssl: " in refusal(tmp_path, "client", "gate")
    assert not list(tmp_path.rglob("gate.*"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be made" in refusal(tmp_path / "file", "ca")


def test_a_revoked_certificate_is_on_the_list_and_the_others_are_not(made: Path) -> None:
    make(made, "client", "lost")
    make(made, "revoke", "lost")
    check = ("verify", "-CAfile", made / "ca.crt", "-CRLfile", made / "ca.crl", "-crl_check")
    assert "certificate revoked" in openssl(*check, made / "clients" / "lost.crt")
    assert "OK" in openssl(*check, made / "clients" / "entrance.crt")
    assert "lready revoked" in refusal(made, "revoke", "lost")


def refusal(directory: Path, *arguments: str) -> str:
    """The one line, after which nothing else is said."""
    done = certificates(directory, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"certificates\.sh: .+\n", done.stderr), done.stderr
    return done.stderr
