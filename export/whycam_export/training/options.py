"""What to train, on what, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from whycam_export.errors import TrainingError
from whycam_export.training.features import LAST_FROZEN, FineTune
from whycam_export.training.fit import Recipe
from whycam_export.training.network import Architecture
from whycam_export.training.windows import Sampling


@dataclass(frozen=True)
class Options:
    """The options of a training run; the defaults are the paper's where it names them."""

    clips: Path
    """A folder as `read_clips` takes it."""
    output: Path
    """The model's file, `.keras`; what else is written lies beside it."""
    architecture: Architecture = field(default_factory=Architecture)
    frame_interval: float = 0.1
    """Seconds between two frames of a window."""
    backbone_weights: str = "imagenet"
    """`imagenet`, `none` or a file, as `load_backbone_weights` takes it."""
    fine_tune: FineTune = "none"
    """How much of the backbone is trained once the head is."""
    augment: int = 2
    """Augmented copies of each training clip."""
    validation: float = 0.25
    """Share of the clips to validate on, where the manifest names no split."""
    classes: tuple[str, ...] | None = None
    """The classes in the model's order; None: by name."""
    normal: str | None = None
    """The class that is no anomaly; None: the one whose name says so."""
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    """Draws the split, the first weights, the order of the windows and the dropout."""
    cache: Path | None = None
    """Where features are kept; None: the user's cache folder."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.frame_interval) and self.frame_interval > 0):
            raise TrainingError(f"--frame-interval {self.frame_interval:g}: must be above 0 seconds")
        if self.fine_tune not in LAST_FROZEN:
            raise TrainingError(f"--fine-tune {self.fine_tune}: choose {', '.join(LAST_FROZEN)}")
        if self.augment < 0:
            raise TrainingError(f"--augment {self.augment}: the number of copies cannot be negative")
        if not 0 < self.validation < 1:
            raise TrainingError(f"--validation {self.validation:g}: must be between 0 and 1")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(f"--seed {self.seed}: must be 0 to {2**32 - 1}")

    @property
    def sampling(self) -> Sampling:
        """How windows are cut from clips."""
        return Sampling(self.architecture.frames, self.frame_interval, self.architecture.size)
