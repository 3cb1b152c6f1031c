"""Getting an archive, from servers that behave and servers that do not."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.runtime.deployment.web import Web, drip, redirect
from whycam.deployment import fetch as fetch_module
from whycam.deployment.fetch import fetch
from whycam.deployment.origins import Origins
from whycam.errors import BundleTooLargeError, DamagedBundleError, InputError

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as serving:
        serving.pages["/fleet/bundle"] = CONTENT
        yield serving


@pytest.fixture
def origins(web: Web) -> Origins:
    return Origins([f"{web.url}/fleet"])


def test_what_was_meant_arrives(web: Web, origins: Origins, tmp_path: Path) -> None:
    fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/bundle")

    assert (tmp_path / "it").read_bytes() == CONTENT


def test_a_file_on_the_device_is_copied(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "bundle").write_bytes(CONTENT)

    fetch(Origins([str(tmp_path / "inbox")]), tmp_path / "it", SHA256, file=str(tmp_path / "inbox" / "bundle"))

    assert (tmp_path / "it").read_bytes() == CONTENT


def test_another_archive_than_the_one_that_was_meant_is_refused(web: Web, origins: Origins, tmp_path: Path) -> None:
    web.pages["/fleet/bundle"] = CONTENT[:-1] + b"x"

    with pytest.raises(DamagedBundleError, match="not the one that was named"):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/bundle")


def test_redirections_are_followed_to_allowed_places_alone(web: Web, origins: Origins, tmp_path: Path) -> None:
    web.pages["/fleet/latest"] = redirect("/fleet/bundle")
    fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/latest")
    assert (tmp_path / "it").read_bytes() == CONTENT

    web.pages["/secret"] = CONTENT
    for number, to in enumerate(
        ("/secret", "file:///etc/passwd", "http://127.0.0.2:1/fleet/x", "/fleet/%2e%2e/secret")
    ):
        web.pages["/fleet/latest"] = redirect(to)
        with pytest.raises(InputError):
            fetch(origins, tmp_path / f"it {number}", SHA256, url=f"{web.url}/fleet/latest")
    assert not {"/secret", "/fleet/../secret", "/fleet/%2e%2e/secret"} & {*web.asked}


def test_a_redirection_without_end_is_given_up(web: Web, origins: Origins, tmp_path: Path) -> None:
    for number in range(20):
        web.pages[f"/fleet/{number}"] = redirect(f"/fleet/{number + 1}")

    with pytest.raises(InputError, match="302"):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/0")

    assert len(web.asked) < 10


def test_a_server_that_has_nothing_is_told(web: Web, origins: Origins, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the server answers 404"):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/other")
    with pytest.raises(InputError, match="cannot be had"):
        fetch(Origins(["http://127.0.0.1:9"]), tmp_path / "again", SHA256, url="http://127.0.0.1:9/x")


def test_an_answer_that_is_cut_off_is_no_archive(web: Web, origins: Origins, tmp_path: Path) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:1000])
        handler.close_connection = True

    web.pages["/fleet/bundle"] = cut
    with pytest.raises((DamagedBundleError, InputError)):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/bundle")


def test_an_answer_without_end_is_bounded(
    web: Web, origins: Origins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    web.pages["/fleet/bundle"] = endless
    monkeypatch.setattr(fetch_module, "_MOST_BYTES", 1 << 20)
    with pytest.raises(BundleTooLargeError):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/bundle")

    assert (tmp_path / "it").stat().st_size < 2 << 20


def test_a_server_that_falls_silent_is_given_up(
    web: Web, origins: Origins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:10])
        time.sleep(5)

    web.pages["/fleet/bundle"] = silent
    monkeypatch.setattr(fetch_module, "_WAIT_SECONDS", 0.3)
    with pytest.raises(InputError, match="nothing came"):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/bundle")


BEGUN = {
    "headers": b"HTTP/1.1 200 OK\r\nX: ",
    "content": b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n",
    "redirection": b"HTTP/1.1 302 Found\r\nLocation: /fleet/bundle\r\nX: ",
}


@pytest.mark.parametrize("begun", BEGUN)
@pytest.mark.parametrize("why", ["too late", "stopping"])
def test_a_server_that_sends_byte_by_byte_is_given_up(
    why: str, begun: str, web: Web, origins: Origins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.pages["/fleet/dripping"] = drip(BEGUN[begun])
    monkeypatch.setattr(fetch_module, "FETCH_SECONDS", 1 if why == "too late" else 3600)
    began = time.monotonic()
    with pytest.raises(InputError, match="did not come within" if why == "too late" else "the service is stopping"):
        fetch(
            origins,
            tmp_path / "it",
            SHA256,
            url=f"{web.url}/fleet/dripping",
            stopped=lambda: why == "stopping" and time.monotonic() - began > 1,
        )
    assert time.monotonic() - began < 5


def test_what_comes_with_a_redirection_is_not_waited_for(web: Web, origins: Origins, tmp_path: Path) -> None:
    web.pages["/fleet/latest"] = drip(b"HTTP/1.1 302 Found\r\nLocation: /fleet/bundle\r\n\r\n")
    began = time.monotonic()
    fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/latest")
    assert (tmp_path / "it").read_bytes() == CONTENT
    assert time.monotonic() - began < 5


def test_the_disk_keeps_room_for_alerts(web: Web, origins: Origins, tmp_path: Path) -> None:
    with pytest.raises(BundleTooLargeError, match="stay free"):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/bundle", keep_free=1 << 60)


def test_it_ends_with_the_service(web: Web, origins: Origins, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the service is stopping"):
        fetch(origins, tmp_path / "it", SHA256, url=f"{web.url}/fleet/bundle", stopped=lambda: True)
