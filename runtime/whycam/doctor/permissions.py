"""Who may read secrets, and what the service's user may use."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from whycam.doctor.gpu import gpu_of
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, listed, ok, skipped
from whycam.doctor.users import groups_of

_GPU_NODES = ("nvhost-gpu", "nvmap", "nvidia0", "dri/renderD*")


def secrets(installation: Installation) -> Iterator[Finding]:
    """Whether secrets are read by the service, and by nobody else."""
    config = installation.config
    if config is None:
        return
    wanted: list[tuple[str, Path | None, str | None]] = [
        ("the broker's password", config.broker.password_file, config.broker.password_credential),
        ("the device's key", config.broker.key_file, None),
    ]
    wanted += [(f"{one.name}'s", one.credentials_file, one.credentials_credential) for one in config.cameras]
    wanted = [one for one in wanted if one[1] is not None or one[2] is not None]
    found = [finding for what, file, credential in wanted for finding in _secret(installation, what, file, credential)]
    if found:
        yield from found
    elif wanted:
        yield ok("system.secrets", f"{listed([what for what, _, _ in wanted])}: for the service alone")
    else:
        yield ok("system.secrets", "none are configured")


def _secret(installation: Installation, what: str, file: Path | None, credential: str | None) -> Iterator[Finding]:
    path = installation.secret_file(file, credential)
    if path is None and os.environ.get("CREDENTIALS_DIRECTORY"):
        return
    if path is None:
        why = f"{what}: no line of the unit loads the credential '{credential}'"
        fix = f"sudo systemctl edit whycam    # [Service]\\nLoadCredential={credential}:/etc/whycam/{credential}"
        yield failure("system.secrets", why, fix.replace("\\n", "\n"))
        return
    try:
        told = path.stat()
    except PermissionError:
        yield skipped(
            "system.secrets", f"{what}: {path} cannot be looked at", f"sudo whycam doctor -c {installation.path}"
        )
        return
    except OSError as error:
        fix = f"sudo install -m 600 /dev/stdin {shlex.quote(str(path))}    # type it, Enter, Ctrl-D"
        yield failure("system.secrets", f"{what}: {path}: {(error.strerror or 'cannot be read').lower()}", fix)
        return
    mode, user = stat.S_IMODE(told.st_mode), installation.user
    # systemd reads a credential's file as root, and the service gets a copy of its own.
    reader = "root" if credential is not None else user.name
    quoted = shlex.quote(str(path))
    own = f"sudo chown {reader}: {quoted} && sudo chmod 600 {quoted}"
    if mode & stat.S_IRWXO:
        yield failure("system.secrets", f"{what}: everybody may read {path}", own, mode=f"{mode:04o}")
    elif credential is None and not user.may(path, os.R_OK):
        yield failure("system.secrets", f"{what}: {user.name} may not read {path}", own, mode=f"{mode:04o}")
    elif mode & stat.S_IRWXG and told.st_gid not in (0, user.gid):
        yield failure("system.secrets", f"{what}: a group of others may read {path}", own, mode=f"{mode:04o}")


def groups(installation: Installation) -> Iterator[Finding]:
    """Whether the service's user may use cameras and the GPU."""
    machine, user, config = installation.machine, installation.user, installation.config
    if user.uid == 0:
        yield ok("system.groups", "root may use all devices")
        return
    nodes: list[Path] = []
    if config is not None and any(camera.source.startswith(("v4l2:", "csi:")) for camera in config.cameras):
        nodes += machine.glob("/dev", "video*")
    if gpu_of(installation) is not None:
        nodes += [node for name in _GPU_NODES for node in machine.glob("/dev", name)]
    closed = {node.stat().st_gid for node in nodes if not user.may(node, os.R_OK | os.W_OK)}
    names = [name for name, (gid, _) in groups_of(machine).items() if gid in closed]
    if closed:
        told = [str(node) for node in nodes if node.stat().st_gid in closed][:3]
        groups = ",".join(names) or "video,render"
        fix = f"sudo usermod -aG {groups} {user.name}    # and restart the service, or log in again"
        if installation.unit is not None:
            fix = f"sudo systemctl edit whycam    # [Service]\nSupplementaryGroups={groups.replace(',', ' ')}"
        yield failure("system.groups", f"{user.name} may not use {listed(told)}", fix, groups=names)
    elif nodes:
        yield ok("system.groups", f"{user.name} may use the devices of cameras and GPU")
    else:
        yield ok("system.groups", f"{user.name} needs no device")
