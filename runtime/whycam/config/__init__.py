"""The configuration of a device: what it watches, when it alerts, and whom it tells."""

from whycam.config.models import Config

__all__ = ["Config"]
