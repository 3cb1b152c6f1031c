"""`whycam run`: the service."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[
        Path, typer.Option("-c", "--config", metavar="FILE", help="The configuration; see `whycam config example`.")
    ],
) -> None:
    """Watch cameras and publish alerts over MQTT, until SIGTERM; SIGHUP reloads the cameras."""
    from whycam.commands import tell
    from whycam.config.file import load_config
    from whycam.errors import WhycamError
    from whycam.service.logs import set_up_logging
    from whycam.service.service import Service

    loaded = load_config(config)
    set_up_logging(loaded.log_level)
    service = Service(config, loaded)
    status = 0
    try:
        service.run()
    except WhycamError as error:
        tell(error)
        status = 2
    # A thread that no longer mattered may be within ONNX Runtime or OpenCV still, explaining or reading. The
    # interpreter's own end would unwind it there, and C++ answers that with abort(): a crash, for systemd.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
