"""`whycam bundle`: from the workstation to the device, signed and checked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whycam.commands.trust import AllowUnsignedOption, ConfigOption, KeysOption
from whycam.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from whycam.bundle.archive import Progress

app = typer.Typer(no_args_is_help=True)

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A bundle, NAME.whycam, or its archive.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="A file with the key's passphrase.", show_default=False),
]


@app.callback()
def bundle() -> None:
    """Sign a bundle, pack it into one file, check it, install it on a device."""


@app.command()
def keygen(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who signs: the files' name.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where the keys go.")] = Path(),
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase for the private key.")] = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Make a pair of keys: NAME.key signs and stays here, NAME.pub goes to the devices. None is ever replaced."""
    from whycam.bundle.keys import make_keys

    secret = None
    if passphrase_file is not None:
        secret = _passphrase(passphrase_file)
    elif passphrase:
        secret = str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)).encode()
    pair = make_keys(name, output, secret)
    print(f"key {pair.id}: {pair.private} signs, keep it secret; {pair.public} goes to the devices")


@app.command()
def pack(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle, NAME.whycam.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The archive; by default NAME.whycam.tar, by its manifest."
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="KEY", help="Sign it with this private key, in the archive alone.")
    ] = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Pack a BUNDLE into one file, all of it checked. The same bundle gives the same bytes."""
    from whycam.bundle import Bundle
    from whycam.bundle.archive import SUFFIX
    from whycam.bundle.archive import pack as pack_bundle

    signing = None if key is None else _private_key(key, passphrase_file)
    opened = Bundle.open(bundle)
    archive = output or Path(f"{opened.manifest.name}{SUFFIX}")
    with _bar("packing") as progress:
        pack_bundle(opened, archive, key=signing, progress=progress)
    signed = "signed" if signing is not None or opened.signed else "not signed"
    what = f"{opened.manifest.name} {opened.manifest.version}"
    print(f"{archive}: {what}, {archive.stat().st_size / 1e6:.1f} MB, {signed}")


@app.command()
def inspect(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Tell what a BUNDLE is and says of itself. Nothing of it is trusted, loaded or checked."""
    from rich.console import Console

    from whycam.bundle.summary import show, summary

    found = summary(bundle)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found, Console(width=None if sys.stdout.isatty() else 110, highlight=False))


@app.command()
def verify(
    bundle: BundleArgument,
    config: ConfigOption = None,
    keys: KeysOption = None,
    allow_unsigned: AllowUnsignedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check all of a BUNDLE as a device does that installs it: who signed it, each file's SHA-256, each graph."""
    from whycam.bundle.verify import verify as verify_bundle
    from whycam.commands.trust import trusted_keys

    trusted = trusted_keys(config, keys, allow_unsigned)
    with _bar("checking") as progress:
        found = verify_bundle(bundle, trusted, progress=progress)
    manifest = found.manifest
    if as_json:
        told = {
            "bundle": str(bundle),
            "name": manifest.name,
            "version": manifest.version,
            "id": found.manifest_sha256[:16],
            "signed_by": found.signer,
            "files": len(manifest.files),
            "bytes": sum(entry.bytes for entry in manifest.files.values()),
        }
        print(json.dumps(told))
    else:
        who = f"signed by {found.signer}" if found.signer is not None else "its signature was not asked for"
        print(f"{bundle}: {manifest.name} {manifest.version} is whole, {len(manifest.files)} files; {who}")


@app.command()
def sign(
    bundle: BundleArgument,
    key: Annotated[Path, typer.Option("--key", metavar="KEY", help="The private key, NAME.key.", show_default=False)],
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Sign a BUNDLE in its place, beside what other keys have signed; all of it is checked first."""
    from whycam.bundle.sign import sign as sign_bundle

    signing = _private_key(key, passphrase_file)
    with _bar("checking") as progress:
        identities = sign_bundle(bundle, signing, progress=progress)
    print(f"{bundle}: signed by {', '.join(identities)}")


def _private_key(path: Path, passphrase_file: Path | None) -> Ed25519PrivateKey:
    from whycam.bundle.keys import read_private_key

    def ask() -> bytes:
        if passphrase_file is not None:
            return _passphrase(passphrase_file)
        if not sys.stdin.isatty():
            raise InputError(f"{path}: has a passphrase; give it with --passphrase-file")
        return str(typer.prompt(f"Passphrase of {path}", hide_input=True, err=True)).encode()

    return read_private_key(path, ask)


def _passphrase(path: Path) -> bytes:
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); is the name right?") from None


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    """A bar of MiB on stderr, where someone watches."""
    from rich.console import Console

    from whycam.commands.progress_bars import Bars

    with Bars(Console(stderr=True)) as bars:
        yield lambda done, total: bars.show(f"{what} (MiB)", done >> 20, max(1, total >> 20))
