"""`whycam watch`: follow devices over MQTT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def watch(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="mqtt://USER@HOST:PORT/DEVICE, or mqtts:// for TLS; all but HOST may be left out."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per message.")] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Save alerts and heat maps as DIR/DEVICE/CAMERA/ID/... ."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="[HOST:]PORT", help="Serve all devices' figures to Prometheus there."),
    ] = None,
    root: Annotated[str, typer.Option("--root", help="The first level of the devices' topics.")] = "whycam",
    client_id: Annotated[
        str | None,
        typer.Option("--client-id", help="The session's name at the broker. Default: by host, user, root and device."),
    ] = None,
    session_days: Annotated[
        float,
        typer.Option(
            "--session-days", min=0, max=3650, help="How long the broker keeps alerts while we are away; 0: not at all."
        ),
    ] = 30,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="A file with the password; else the variable WHYCAM_PASSWORD."),
    ] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="The authority that signed the broker.")] = None,
    certificate_file: Annotated[
        Path | None, typer.Option("--certificate-file", help="Our certificate, with --key-file.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="The key of --certificate-file.")] = None,
    protocol: Annotated[Literal["5", "3.1.1"], typer.Option("--protocol", help="The version of MQTT.")] = "5",
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many alert messages.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, metavar="SECONDS", help="End after this time.")
    ] = None,
) -> None:
    """Follow devices: a live table; without a terminal, a line per alert. Alerts sent while away arrive on return."""
    from whycam.watch.session import Login, follow

    login = Login(password_file, ca_file, certificate_file, key_file, protocol)
    follow(url, login, as_json, save, root, client_id, session_days, count, seconds, metrics)
