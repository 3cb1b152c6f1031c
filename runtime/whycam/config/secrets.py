"""Secrets: from files of their own or systemd's credentials, never from the configuration itself."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from urllib.parse import quote

from whycam.config.models import Broker, Camera
from whycam.errors import InputError

log = logging.getLogger(__name__)

_told: set[Path] = set()


def broker_password(broker: Broker) -> str | None:
    """The password for the broker; None where there is none. Raises InputError where it cannot be read."""
    return _secret("broker: password", broker.password_file, broker.password_credential)


def camera_url(camera: Camera) -> str:
    """The camera's source with its credentials, percent-encoded: for opening it, never to be shown.

    Raises InputError where the credentials cannot be read, or are not `user:password`.
    """
    what = f"camera '{camera.name}': credentials"
    secret = _secret(what, camera.credentials_file, camera.credentials_credential)
    if secret is None:
        return camera.source
    user, colon, password = secret.partition(":")
    scheme, separator, rest = camera.source.partition("://")
    if not (colon and separator):
        raise InputError(f"{what}: must be `user:password`, for a source with an address such as rtsp://HOST/PATH")
    return f"{scheme}{separator}{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


def _secret(what: str, file: Path | None, credential: str | None) -> str | None:
    if credential is not None:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise InputError(
                f"{what}: '{credential}' is a credential of systemd, but $CREDENTIALS_DIRECTORY is not set; run as its "
                "service with LoadCredential=, or name a file"
            )
        file = Path(folder) / credential
    if file is None:
        return None
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{what}: {file} cannot be read ({reason})") from None
    if credential is None and mode & stat.S_IROTH and file not in _told:
        _told.add(file)
        log.warning("%s: everybody on this machine may read it; run `chmod 600 %s`", file, file)
    return text.rstrip("\r\n") or None
