"""What is explained: a class's logit, or how far it stands above another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError

if TYPE_CHECKING:
    from whycam.bundle import Manifest

NO_CONTRAST = "none"
NORMAL = "normal"


def target_vector(classes: Sequence[str], label: str, versus: str | None = None) -> NDArray[np.float32]:
    """The weights f32 [K] of the logits in the target: +1 for `label`, -1 for `versus`.

    The logit, not the softmax, whose gradient vanishes where the model is sure. A contrast says what sets the class
    apart, where a logit alone may rise for what all classes share.

    Raises InputError, naming the classes, where there is no such class, and where both are the same.
    """
    for name in (label, versus):
        if name is not None and name not in classes:
            raise InputError(f"class '{name}': the model knows {', '.join(classes)}")
    if label == versus:
        raise InputError(f"class '{label}' cannot be explained against itself: choose another, or none")
    target = np.zeros(len(classes), dtype=np.float32)
    target[classes.index(label)] = 1
    if versus is not None:
        target[classes.index(versus)] = -1
    return target


def contrast(manifest: Manifest, label: str, choice: str) -> str | None:
    """The class to explain `label` against, from a user's `choice`: `normal`, `none` or the name of a class.

    `normal` is the model's normal class, whatever its name; for that class itself it means no contrast.
    """
    if choice == NO_CONTRAST:
        return None
    if choice == NORMAL:
        return None if label == manifest.normal else manifest.normal
    return choice
