"""The methods of explanation: each turns maps and their gradient into one heat map per frame.

A is the activation of the CAM layer, f32 [T, C, h, w]; G is the gradient of the target (a logit, or the difference of
two) with respect to it, of the same shape; a heat map is f32 [T, h, w], non-negative, in the target's units, not
normalised: one scale for the whole window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError

Maps = NDArray[np.float32]
Method = Callable[[Maps, Maps], Maps]


def grad_cam(maps: Maps, gradient: Maps) -> Maps:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2): relu(sum_c mean_ij(G_c) A_c)."""
    weights = gradient.mean(axis=(2, 3))
    return _relu(np.einsum("tc,tchw->thw", weights, maps))


def hirescam(maps: Maps, gradient: Maps) -> Maps:
    """HiResCAM (Draelos and Carin 2020, eq. 3), which keeps where the gradient is: relu(sum_c G_c * A_c)."""
    return _relu(np.einsum("tchw,tchw->thw", gradient, maps))


def layercam(maps: Maps, gradient: Maps) -> Maps:
    """LayerCAM (Jiang et al. 2021, eq. 5 to 7), what speaks for the target only: relu(sum_c relu(G_c) * A_c)."""
    return _relu(np.einsum("tchw,tchw->thw", _relu(gradient), maps))


METHODS: dict[str, Method] = {"grad-cam": grad_cam, "hirescam": hirescam, "layercam": layercam}


def method_named(name: str) -> Method:
    """The method `name`; raises InputError, naming those there are, where there is none."""
    try:
        return METHODS[name]
    except KeyError:
        raise InputError(f"method '{name}': there are {', '.join(METHODS)}") from None


def _relu(values: Maps) -> Maps:
    positive: Maps = np.maximum(values, np.float32(0))
    return positive
