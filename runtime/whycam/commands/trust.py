"""Whose bundles a command takes: by its options, and by the configuration of the device that it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whycam.errors import InputError

if TYPE_CHECKING:
    from whycam.bundle.signature import TrustedKeys
    from whycam.config.models import Config

DEVICE_CONFIG = Path("/etc/whycam/whycam.toml")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help=f"The service's configuration; by default {DEVICE_CONFIG}, where there is one.",
        show_default=False,
    ),
]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FOLDER",
        help="The public keys that are trusted, NAME.pub; by default the configuration's.",
        show_default=False,
    ),
]
AllowUnsignedOption = Annotated[
    bool,
    typer.Option("--allow-unsigned", help="Take what nobody trusted has signed, where the configuration allows that."),
]


def device_config(path: Path | None) -> Config | None:
    """The configuration in the file at `path`, by default this device's; None where it has none."""
    from whycam.config.file import load_config

    if path is None and not DEVICE_CONFIG.exists():
        return None
    return load_config(path or DEVICE_CONFIG)


def keys_to_go_back(config: Path | None, folder: Path | None, allow_unsigned: bool) -> TrustedKeys | None:
    """As `trusted_keys`, for a version that is installed: where nothing says whom to trust, the service runs any."""
    device = device_config(config)
    if folder is None and (device is None or device.bundles.trust_directory is None):
        return None
    return trusted_keys(config, folder, allow_unsigned)


def trusted_keys(config: Path | None, folder: Path | None, allow_unsigned: bool) -> TrustedKeys | None:
    """The keys one of which must have signed a bundle; None where it may be anyone's.

    Args:
        config: what `--config` names.
        folder: what `--keys` names.
        allow_unsigned: whether `--allow-unsigned` is there.

    Raises InputError where the configuration forbids `--allow-unsigned`, or nothing says whom to trust.
    """
    from whycam.bundle.signature import TrustedKeys

    if folder is not None and not allow_unsigned:
        return TrustedKeys.read(folder)
    device = device_config(config)
    trusted = None if device is None else device.bundles.trust_directory
    if allow_unsigned:
        if device is not None and trusted is not None and not device.bundles.allow_unsigned:
            raise InputError(
                f"--allow-unsigned: {config or DEVICE_CONFIG} forbids it; have the bundle signed, or set "
                "bundles.allow_unsigned = true there"
            )
        return None
    if trusted is None:
        raise InputError(
            "nothing says whose bundles to trust: name a folder of public keys with --keys, or in the configuration as "
            "bundles.trust_directory; or take anyone's with --allow-unsigned"
        )
    return TrustedKeys.read(trusted)
