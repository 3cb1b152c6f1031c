"""The bundles on the disk: whole, with what the cameras ask of them, and signed by somebody who is trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from whycam.bundle import Bundle
from whycam.bundle.signature import TrustedKeys, check_signature
from whycam.bundle.store import read_manifest, read_signature
from whycam.config.models import Config
from whycam.deployment.slot import CANDIDATE, CURRENT, is_free_place
from whycam.detect.sessions import CPU_FORM, feature_file
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, listed, ok, warning
from whycam.errors import BundleError, UnsignedBundleError, UntrustedBundleError, WhycamError

SHADOW = "'s shadow"
"""What follows a camera's name where its candidate is meant."""
Key = tuple[Path, str, tuple[str, ...] | None]
"""A model that the service loads: bundle, precision, providers."""


def models_of(config: Config) -> dict[Key, list[str]]:
    """The models that the service loads, each with the names of the cameras, and of their shadows, that share it."""
    found: dict[Key, list[str]] = {}
    for camera in config.cameras:
        found.setdefault((camera.bundle, camera.precision, camera.providers), []).append(camera.name)
        shadow = camera.candidate
        if shadow is not None and not is_free_place(shadow.bundle):
            found.setdefault((shadow.bundle, shadow.precision, shadow.providers), []).append(f"{camera.name}{SHADOW}")
    return found


def files(installation: Installation) -> Iterator[Finding]:
    """Whether each bundle is whole, and has what its cameras ask for."""
    config = installation.config
    if config is None:
        return
    for (path, precision, providers), cameras in models_of(config).items():
        yield _whole(installation, path, precision, providers, listed(cameras))


def signatures(installation: Installation) -> Iterator[Finding]:
    """Whether a trusted key has signed each bundle, where the configuration asks for that."""
    config = installation.config
    if config is None or config.bundles.trust_directory is None:
        return
    try:
        keys = TrustedKeys.read(config.bundles.trust_directory)
    except BundleError as error:
        fix = f"sudo install -d -m 750 -g whycam {config.bundles.trust_directory}"
        yield failure("bundle.signature", str(error).partition("; ")[0], fix)
        return
    names: dict[Path, list[str]] = {}
    for (path, _, _), watching in models_of(config).items():
        names.setdefault(path, []).extend(watching)
    for path, watching in names.items():
        yield from _signed(config, path, keys, listed(watching))


def _signed(config: Config, path: Path, keys: TrustedKeys, names: str) -> Iterator[Finding]:
    try:
        manifest = read_manifest(path)
    except BundleError:
        return  # told of with its files
    try:
        key = check_signature(manifest, read_signature(path), keys)
        yield ok("bundle.signature", f"signed by '{key}', which is trusted", camera=names, key=key)
    except BundleError as error:
        told = str(error).partition("; ")[0]
        if config.bundles.allow_unsigned:
            yield warning("bundle.signature", f"{told}; the configuration allows it", camera=names)
            return
        fix = f"sudo cp NAME.pub {keys.folder}    # the public key of who signed it"
        if not isinstance(error, UntrustedBundleError):
            fix = f"whycam bundle sign {path} --key NAME.key    # where the key is; then copy the bundle here again"
            if path.name in (CURRENT, CANDIDATE):
                pack = f"whycam bundle pack {path.parent.name}.whycam --key NAME.key"
                fix = f"{pack}    # where the key is; then here:\n{renewal(path)}"
        if isinstance(error, UnsignedBundleError) and not keys.keys:
            told += f", and {keys.folder} holds no key"
        yield failure("bundle.signature", told, fix, camera=names)


def _whole(
    installation: Installation, path: Path, precision: str, providers: tuple[str, ...] | None, names: str
) -> Finding:
    try:
        bundle = Bundle.open(path)
        feature_file(bundle.manifest, precision, providers or ())
        for name in bundle.manifest.files:
            bundle.file(name)
    except WhycamError as error:
        fix = renewal(path)
        if str(error).startswith("precision "):
            fix = _precision_fix(path)
        return failure("bundle.files", str(error).partition("; ")[0], fix, camera=names)
    user = installation.user
    if not user.may(path / "manifest.json", os.R_OK):
        fix = f"sudo chgrp -R {user.name} {path} && sudo chmod -R g+rX {path}"
        return failure("bundle.files", f"{user.name} may not read {path}", fix, camera=names)
    told = f"{bundle.manifest.name} {bundle.manifest.version}, {precision}: whole"
    return ok("bundle.files", told, camera=names, path=str(path), version=bundle.manifest.version)


def renewal(path: Path) -> str:
    """What puts a whole bundle in this place: into the store by its command alone, for it holds a link and versions."""
    if path.name == CURRENT:
        return f"sudo whycam bundle install {path.parent.name}.whycam.tar"
    if path.name == CANDIDATE:
        return f"sudo whycam bundle install --candidate {path.parent.name}.whycam.tar"
    return f"whycam export MODEL.keras -o {path.name}    # on a workstation; then copy the folder to {path}"


def _precision_fix(path: Path) -> str:
    names = [name for name in Bundle.open(path).manifest.precisions if not name.endswith(CPU_FORM)]
    return f'precision = "fp32"    # in [[camera]]; there are {listed(names)}'
