"""The service's log: readable lines on stderr."""

from __future__ import annotations

import logging


def set_up_logging(level: str) -> None:
    """Log from `level` on."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
