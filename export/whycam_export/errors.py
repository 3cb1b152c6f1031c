"""What the workstation's commands raise for bad input: one line that names the thing, what is wrong and what to do."""

from __future__ import annotations

from whycam.errors import WhycamError


class TrainingError(WhycamError, ValueError):
    """Clips, weights or options that no model can be trained from."""


class ModelError(WhycamError, ValueError):
    """A Keras model that cannot be read or exported."""
