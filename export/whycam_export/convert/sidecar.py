"""What the trainer leaves beside a model for the exporter: classes, frame interval, preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whycam_export.errors import ModelError

SCHEMA = "whycam.training/1"


class Sidecar(BaseModel):
    """The part of `MODEL.json` that the exporter reads; the rest is provenance."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    classes: tuple[str, ...] = Field(min_length=2)
    normal: str
    frame_interval: Annotated[float, Field(gt=0)]
    preprocess: str


def read_sidecar(model: Path) -> Sidecar | None:
    """What the trainer left beside `model`; None for a foreign model.

    Raises ModelError where there is such a file and it is damaged.
    """
    path = model.with_suffix(".json")
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            return None
        return Sidecar.model_validate(content)
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ModelError(f"{path}: damaged ({reason}); train again, or move it away and say --classes") from error
