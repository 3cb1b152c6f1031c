"""`whycam bundle install|promote|list|rollback|wait`: the bundles of this device."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whycam.commands.bundle import BundleArgument, JsonOption, app
from whycam.commands.trust import AllowUnsignedOption, ConfigOption, KeysOption, device_config
from whycam.errors import InputError
from whycam.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from whycam.config.models import Config
    from whycam.deployment.install import Installation
    from whycam.deployment.slot import Installed, Slot
    from whycam.deployment.store import BundleStore

__all__ = ["app"]

STORE = Path("/var/lib/whycam/bundles")

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="FOLDER",
        help=f"Where installed bundles are; by default where the configuration says, else {STORE}.",
        show_default=False,
    ),
]
NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="The bundle's name; not needed where there is one alone.", show_default=False),
]
_LOOK_SECONDS = 0.5
_UNCONFIGURED_FREE_BYTES = 32 << 20
"""What stays free on the disk where no configuration says how much alerts want."""
_TO_END = "name it in a [[camera]]; what shadows alone run is installed with --candidate"


@app.command()
def install(
    bundle: BundleArgument,
    config: ConfigOption = None,
    store: StoreOption = None,
    keys: KeysOption = None,
    allow_unsigned: AllowUnsignedOption = False,
    candidate: Annotated[
        bool, typer.Option("--candidate", help="Do not switch to it: shadows try it beside the one that runs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Install a BUNDLE beside the one that runs, test it on this device, and switch to it, on trial.

    The service takes it up by itself, and goes back by itself where it does not score frames. Root acts as the owner of
    the store.
    """
    from whycam.commands.trust import trusted_keys
    from whycam.deployment.install import Source
    from whycam.deployment.install import install as install_bundle

    # Whatever root alone may read is read before root becomes the owner of the store.
    device = device_config(config)
    trusted = trusted_keys(config, keys, allow_unsigned)
    source = Source(bundle)
    opened = _store(device, store, write=True)
    made = install_bundle(
        source,
        opened,
        trusted,
        () if device is None else device.cameras,
        candidate=candidate,
        keep_free=_UNCONFIGURED_FREE_BYTES if device is None else device.evidence.min_free_bytes,
        stage=_say,
    )
    slot = opened.slot(made.name)
    _tell(made, slot.candidate_link if candidate else slot.link, as_json)


@app.command()
def promote(
    name: NameArgument = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    keys: KeysOption = None,
    allow_unsigned: AllowUnsignedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the candidate of a bundle current, on trial: test it as the cameras will run it, and switch to it."""
    from whycam.commands.trust import trusted_keys
    from whycam.deployment.promote import promote as promote_candidate

    device = device_config(config)
    trusted = trusted_keys(config, keys, allow_unsigned)
    opened = _store(device, store, write=True)
    cameras = () if device is None else device.cameras
    made = promote_candidate(_only(opened, name), opened, trusted, cameras, stage=_say)
    _tell(made, opened.slot(made.name).link, as_json)


@app.command("list")
def list_bundles(config: ConfigOption = None, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List what is installed: versions, which is current or on trial, who signed them, what happened last."""
    from rich.console import Console

    device = device_config(config)
    opened = _store(device, store, write=False)
    found = _look(opened)
    if as_json:
        print(json.dumps([_as_dict(one) for one in found], indent=2))
    elif not found:
        print("No bundle is installed.")
    else:
        # What was kept is shown as it is, whatever it asks of a terminal.
        width = None if sys.stdout.isatty() else 140
        Console(width=width, highlight=False, markup=False, emoji=False).print(_table(found))
        for one in found:
            if one.trial is not None and _is_nobodys(opened.slot(one.name), device):
                print(f"{one.name}: no camera runs it, so that its trial cannot end; {_TO_END}")


@app.command()
def rollback(
    name: NameArgument = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="ID", help="The version to go to; by default the one before.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why: kept, and told to subscribers.")] = "asked for",
    config: ConfigOption = None,
    store: StoreOption = None,
    keys: KeysOption = None,
    allow_unsigned: AllowUnsignedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go back to the version of a bundle before the current one; the service takes it up by itself.

    It must be one that the device trusts still, as for install.
    """
    from whycam.commands.trust import keys_to_go_back
    from whycam.deployment.rollback import roll_back

    device = device_config(config)
    trusted = keys_to_go_back(config, keys, allow_unsigned)
    opened = _store(device, store, write=True)
    slot = opened.slot(_only(opened, name))
    event = roll_back(slot, printable(" ".join(reason.split())) or "asked for", to, trusted)
    version = slot.look().record.versions[event.previous or ""].version
    if as_json:
        print(json.dumps({"name": slot.name, "from": event.id, "to": event.previous, "version": version}))
    else:
        print(f"{slot.name}: back to {version} ({event.previous}) from {event.version} ({event.id})")


@app.command()
def wait(
    name: NameArgument = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The version that is asked about; by default the current.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="How long, at most.")] = 600.0,
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Wait until the trial of a bundle has ended: exit status 0 where it has held, 1 where not, or not in time."""
    device = device_config(config)
    opened = _store(device, store, write=False)
    slot = opened.slot(_only(opened, name))
    if slot.look().trial is not None and _is_nobodys(slot, device):
        raise InputError(f"bundle '{slot.name}': no camera runs {slot.link}, so that its trial cannot end; {_TO_END}")
    asked = id or slot.look().current
    deadline = time.monotonic() + seconds
    while (now := slot.look()).current == asked and now.trial is not None and now.trial.failed is None:
        if time.monotonic() >= deadline:
            print(f"{slot.name}: {asked} is on trial still", file=sys.stderr)
            raise typer.Exit(1)
        time.sleep(_LOOK_SECONDS)
    last = next((event for event in reversed(now.record.events) if event.id == asked), None)
    held = now.current == asked and now.trial is None
    if held or (last is not None and last.event == "confirmed"):
        # Another may have taken its place since.
        print(f"{slot.name}: {asked} has held")
        return
    failed = printable(last.reason if last is not None and last.reason else "unknown")
    print(f"{slot.name}: {asked} has not held: {failed}; current is {now.current}", file=sys.stderr)
    raise typer.Exit(1)


def _store(device: Config | None, folder: Path | None, *, write: bool) -> BundleStore:
    from whycam.deployment.owner import act_as_owner
    from whycam.deployment.store import BundleStore

    root = (folder or _configured(device)).absolute()
    if write:
        act_as_owner(root)
    return BundleStore(root)


def _is_nobodys(slot: Slot, device: Config | None) -> bool:
    """Whether the configuration is known, and no camera runs the slot's current version as its own bundle."""
    return device is not None and not any(slot.is_named_by(camera.bundle) for camera in device.cameras)


def _configured(device: Config | None) -> Path:
    """Where the service looks for bundles: systemd tells it, by an environment variable, what it does not tell us."""
    told = device is not None and (
        device.bundles.directory or device.state_directory or os.environ.get("STATE_DIRECTORY")
    )
    if device is None or (not told and STORE.parent.is_dir()):
        return STORE
    return device.bundle_directory


def _look(store: BundleStore) -> list[Installed]:
    try:
        return store.look()
    except OSError as error:
        where = error.filename or store.root
        raise InputError(f"{where}: cannot be read ({error.strerror}); ask as root, or as the service's user") from None


def _only(store: BundleStore, name: str | None) -> str:
    there = [one.name for one in _look(store)]
    if name is None and len(there) == 1:
        return there[0]
    if name is None or name not in there:
        which = f"bundle '{name}' is not installed" if name is not None else "name one of several bundles"
        raise InputError(f"{which} in {store.root}; there: {', '.join(there) or 'none'}")
    return name


def _say(what: str) -> None:
    print(f"whycam: {what}", file=sys.stderr, flush=True)


def _tell(made: Installation, link: Path, as_json: bool) -> None:
    if as_json:
        tests = [test.as_dict() for test in made.tests]
        print(json.dumps({**vars(made), "bundle": str(link), "tests": tests}))
    else:
        print(_told(made, link))


def _told(made: Installation, link: Path) -> str:
    what = f"{made.name} {made.version} ({made.id})"
    if not made.changed:
        return f"{what} is installed already"
    who = f", signed by {made.signed_by}" if made.signed_by is not None else ""
    if made.previous == made.id:
        return f"{what}{who} was installed already: its files are those of this bundle again"
    before = f"; before it: {made.previous}" if made.previous is not None else ""
    if link.name == "candidate":
        return (
            f"installed {what}{who} as {link}, for the shadows that name it; `whycam bundle promote` makes it current"
        )
    return f"installed {what}{who} as {link}, on trial until the service has scored frames with it{before}"


def _as_dict(one: Installed) -> dict[str, object]:
    versions = sorted(one.record.versions.items(), key=lambda item: item[1].order, reverse=True)
    return {
        "name": one.name,
        "bundle": str(one.folder / "current"),
        "current": one.current,
        "candidate": one.candidate,
        "before": one.before,
        "trial": None if one.trial is None else one.trial.model_dump(),
        "versions": [{"id": id, "state": one.state_of(id), **version.model_dump()} for id, version in versions],
        "event": None if one.event is None else one.event.model_dump(),
    }


def _table(found: Sequence[Installed]) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("bundle", "version", "id", "state", "signed by", "installed", "last"):
        table.add_column(heading)
    for one in found:
        for id, version in sorted(one.record.versions.items(), key=lambda item: item[1].order, reverse=True):
            last = next((event for event in reversed(one.record.events) if event.id == id), None)
            reason = f": {last.reason}" if last is not None and last.reason else ""
            cells = (
                one.name,
                version.version,
                id,
                one.state_of(id).replace("-", " "),
                version.signed_by or "–",
                time.strftime("%Y-%m-%d %H:%M", time.localtime(version.installed)),
                "–" if last is None else f"{last.event.replace('-', ' ')}{reason}",
            )
            table.add_row(*(printable(cell) for cell in cells))
    return table
