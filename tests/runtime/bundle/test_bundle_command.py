"""`whycam bundle`, as one types it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.bundle.archives import Signer
from whycam.bundle import Bundle

Whycam = Callable[..., subprocess.CompletedProcess[str]]

CAMERA = '[[camera]]\nname = "gate"\nsource = "gate.mp4"\nbundle = "colours.whycam"\n'


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("whycam: ")
    return done.stderr


def configured(folder: Path, bundles: str) -> Path:
    path = folder / "whycam.toml"
    path.write_text(f'device = "post"\n[bundles]\n{bundles}\n{CAMERA}')
    return path


def test_from_a_key_to_a_bundle_that_is_known_to_be_ones_own(whycam: Whycam, bundle: Path, tmp_path: Path) -> None:
    told = succeeds(whycam("bundle", "keygen", "site", "-o", "keys"))
    identity = told.split()[1].rstrip(":")
    assert (tmp_path / "keys" / "site.key").stat().st_mode & 0o777 == 0o600

    assert succeeds(whycam("bundle", "pack", bundle, "--key", "keys/site.key")).startswith(
        "colours.whycam.tar: colours 1"
    )
    assert "signed by site" in succeeds(whycam("bundle", "verify", "colours.whycam.tar", "--keys", "keys"))
    assert "is not signed" in refused(whycam("bundle", "verify", bundle, "--keys", "keys"))
    assert succeeds(whycam("bundle", "sign", bundle, "--key", "keys/site.key")) == f"{bundle}: signed by {identity}\n"
    told = json.loads(succeeds(whycam("bundle", "verify", bundle, "--keys", "keys", "--json")))
    assert told["signed_by"] == "site"
    assert told["name"] == "colours"
    assert told["files"] == len(Bundle.open(bundle).manifest.files)


def test_nothing_is_replaced_by_keygen(whycam: Whycam) -> None:
    succeeds(whycam("bundle", "keygen", "site"))

    assert "is there already" in refused(whycam("bundle", "keygen", "site"))


def test_a_passphrase_comes_from_a_file_or_from_who_sits_there(whycam: Whycam, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    succeeds(whycam("bundle", "keygen", "site", "--passphrase-file", "secret"))

    succeeds(whycam("bundle", "sign", bundle, "--key", "site.key", "--passphrase-file", "secret"))
    assert "--passphrase-file" in refused(whycam("bundle", "sign", bundle, "--key", "site.key"))
    (bundle / "manifest.sig").unlink()
    assert typed("open sesame\n", "bundle", "sign", str(bundle), "--key", str(tmp_path / "site.key")) == 0
    assert (bundle / "manifest.sig").exists()


def typed(text: str, *arguments: str) -> int:
    """Run the command on a terminal where somebody types `text`; its exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "whycam", *arguments])
    asked = b""
    # The blank comes when what was typed before has been thrown away.
    while b": " not in asked:
        asked += os.read(terminal, 1024)
    # What is typed before the terminal stops to echo is thrown away.
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        time.sleep(0.01)
    os.write(terminal, text.encode())
    try:
        while os.read(terminal, 1024):
            pass
    except OSError:
        pass  # what Linux says at a terminal's end
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_inspecting_needs_no_trust(whycam: Whycam, bundle: Path, archive: Path, maker: Signer) -> None:
    screen = succeeds(whycam("bundle", "inspect", archive))
    for words in ("colours 1", "fight", "0.7", "fp32", maker.id, "4 frames", "squares"):
        assert words in screen
    assert "nobody" in succeeds(whycam("bundle", "inspect", bundle))

    told = json.loads(succeeds(whycam("bundle", "inspect", archive, "--json")))
    assert (told["kind"], told["signed_by"], told["manifest"]["name"]) == ("archive", [maker.id], "colours")
    assert told["id"] == told["manifest_sha256"][:16]


def test_what_a_bundle_says_of_itself_does_nothing_to_a_terminal(whycam: Whycam, bundle: Path) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["provenance"] = {"model\x1b[2J": "\x1b]0;title\x07[red]", "packages": {"onnx": "1.0\x9b"}}
    manifest["cams"][0]["name"] = "\x1b[31mred"
    path.write_text(json.dumps(manifest))

    screen = succeeds(whycam("bundle", "inspect", bundle))

    assert all(line.isprintable() for line in screen.splitlines())
    assert "[red]" in screen


def test_whom_to_trust_comes_from_the_configuration(
    whycam: Whycam, bundle: Path, archive: Path, maker: Signer, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "maker.pub").write_bytes(maker.public.read_bytes())
    config = configured(tmp_path, 'trust_directory = "trusted"')

    assert "signed by maker" in succeeds(whycam("bundle", "verify", archive, "-c", config))
    assert "is not signed" in refused(whycam("bundle", "verify", bundle, "-c", config))
    assert "forbids it" in refused(whycam("bundle", "verify", bundle, "-c", config, "--allow-unsigned"))
    config = configured(tmp_path, 'trust_directory = "trusted"\nallow_unsigned = true')
    assert "is whole" in succeeds(whycam("bundle", "verify", bundle, "-c", config, "--allow-unsigned"))


def test_without_a_word_on_trust_nothing_is_taken(whycam: Whycam, archive: Path, tmp_path: Path) -> None:
    config = configured(tmp_path, "")

    assert "nothing says whose bundles to trust" in refused(whycam("bundle", "verify", archive, "-c", config))
    assert "is whole" in succeeds(whycam("bundle", "verify", archive, "-c", config, "--allow-unsigned"))


@pytest.mark.parametrize("command", ["pack", "inspect", "verify", "sign"])
def test_what_is_no_bundle_is_told_in_one_line(command: str, whycam: Whycam, tmp_path: Path, maker: Signer) -> None:
    options = {"verify": ["--allow-unsigned", "-c", configured(tmp_path, "")], "sign": ["--key", maker.private]}
    (tmp_path / "text.tar").write_text("no archive")
    for path in (tmp_path / "nowhere.whycam", tmp_path / "text.tar"):
        refused(whycam("bundle", command, path, *options.get(command, [])))
