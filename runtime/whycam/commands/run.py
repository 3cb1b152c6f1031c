"""`whycam run`: the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[
        Path, typer.Option("-c", "--config", metavar="FILE", help="The configuration; see `whycam config example`.")
    ],
) -> None:
    """Watch cameras and publish alerts over MQTT, until SIGTERM; SIGHUP reloads the cameras."""
    from whycam.config.file import load_config
    from whycam.service.logs import set_up_logging
    from whycam.service.service import Service

    loaded = load_config(config)
    set_up_logging(loaded.log_level)
    Service(config, loaded).run()
