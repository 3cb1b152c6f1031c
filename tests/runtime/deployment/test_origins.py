"""Where bundles may come from, and where they may not, however it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whycam.config.models import Bundles
from whycam.deployment.origins import Origins
from whycam.errors import InputError

ORIGINS = Origins(["https://updates.example/fleet", "http://[::1]:8080/", "https://other.example:8443/a%20b/"])


@pytest.mark.parametrize(
    "url",
    [
        "https://updates.example/fleet/fight.whycam.tar",
        "https://updates.example/fleet",
        "https://UPDATES.example:443/fleet/a/b?version=3&signed=%2Fyes",
        "HTTPS://updates.example/fleet/x",
        "http://[::1]:8080/anything",
        "https://other.example:8443/a%20b/c",
    ],
)
def test_what_is_allowed(url: str) -> None:
    ORIGINS.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://updates.example/fleet/x",
        "https://updates.example/other",
        "https://updates.example/fleet-of-others/x",
        "https://updates.example/",
        "https://updates.example.evil.example/fleet/x",
        "https://updates.example./fleet/x",
        "https://evil.example/https://updates.example/fleet/x",
        "https://updates.example:444/fleet/x",
        "https://updates.example@evil.example/fleet/x",
        "https://user:password@updates.example/fleet/x",
        "https://updates.example/fleet/../secret",
        "https://updates.example/fleet/..;/secret",
        "https://updates.example/fleet/./x",
        "https://updates.example/fleet/%2e%2e/secret",
        "https://updates.example/fleet/.%2E/secret",
        "https://updates.example/fleet/..%2fsecret",
        "https://updates.example/fleet/..%5csecret",
        "https://updates.example/fleet/%252e%252e/secret",
        "https://updates.example/fleet\\..\\secret",
        "https://updates.example/fleet/x#fragment",
        "https://updates.example/fleet/x\r\nHost: evil.example",
        "https://updates.example/fleet/a b",
        "https://updates.example/fleet/%0d%0a",
        "https://updates.example:port/fleet/x",
        "https://updates.example:99999/fleet/x",
        "https://[::1/fleet",
        "https:///fleet/x",
        "https:updates.example/fleet/x",
        "//updates.example/fleet/x",
        "file:///etc/passwd",
        "ftp://updates.example/fleet/x",
        "data:,x",
        "/fleet/x",
        "https://updates.exämple/fleet/x",
        "",
        "https://updates.example/fleet/" + "x" * 3000,
    ],
)
def test_what_is_not(url: str) -> None:
    with pytest.raises(InputError) as caught:
        ORIGINS.check_url(url)

    assert str(caught.value).isprintable()


def test_files_below_the_folders_alone_are_opened(tmp_path: Path) -> None:
    inbox, outside = tmp_path / "inbox", tmp_path / "outside"
    for folder in (inbox / "deep", outside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("content")
    (inbox / "link").symlink_to(outside / "file")
    (inbox / "folder").symlink_to(outside)
    (inbox / "inner").symlink_to(inbox / "deep" / "file")
    os.mkfifo(inbox / "pipe")
    (tmp_path / "by-link").symlink_to(inbox)
    origins = Origins([str(tmp_path / "by-link")])

    for path in (inbox / "deep" / "file", tmp_path / "by-link" / "deep" / "file", inbox / "inner"):
        with origins.open_file(str(path)) as file:
            assert file.read() == b"content"
    for path in (
        outside / "file",
        inbox / "link",
        inbox / "folder" / "file",
        f"{inbox}/../outside/file",
        inbox / "nothing",
        inbox / "pipe",
        inbox / "deep",
        inbox,
        "inbox/deep/file",
        f"{inbox}/deep/file\0",
        "",
        "/dev/zero",
        "/proc/self/environ",
    ):
        with pytest.raises(InputError):
            origins.open_file(str(path))


def test_what_there_is_elsewhere_is_neither_told_nor_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origins = Origins([str(tmp_path)])
    # A watchdog's device, for one, resets the machine once it was opened.
    monkeypatch.setattr(os, "open", lambda path, *_: pytest.fail(f"{path} was opened"))

    told = set()
    for path in ("/etc/passwd", "/etc/no-such-file", "/root/.ssh/id_ed25519"):
        with pytest.raises(InputError) as caught:
            origins.open_file(path)
        told.add(str(caught.value).replace(path, "PATH"))
    assert len(told) == 1


@pytest.mark.parametrize(
    "text", ["updates.example", "https://", "ftp://updates.example/", "inbox", "https://a/?b=c", ""]
)
def test_the_configuration_names_urls_and_folders(text: str) -> None:
    with pytest.raises(ValueError, match="over_the_air"):
        Bundles.model_validate({"over_the_air": [text]})


def test_nothing_is_allowed_by_default() -> None:
    assert not Origins(Bundles().over_the_air)
