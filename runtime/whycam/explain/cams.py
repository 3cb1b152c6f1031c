"""Class activation maps: what the maps of a CAM layer and their gradient say of each place.

A is the activation of the layer, f32 [n, C, h, w]; G is the gradient of the target (a logit, or the difference of two)
with respect to it, of the same shape; a heat map is f32 [n, h, w], non-negative and not normalised, so that all frames
of a window share one scale. Methods that weigh by G are in the target's units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]

_TINY = np.float32(1e-12)
_ITERATIONS = 50


def grad_cam(maps: Maps, gradient: Maps) -> Maps:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2): relu(sum_c mean_ij(G_c) A_c)."""
    return relu(class_activation(maps, gradient))


def class_activation(maps: Maps, gradient: Maps) -> Maps:
    """Grad-CAM before its ReLU: what speaks against the target is below zero."""
    weighed: Maps = np.einsum("nc,nchw->nhw", gradient.mean(axis=(2, 3)), maps)
    return weighed


def grad_cam_plus_plus(maps: Maps, gradient: Maps) -> Maps:
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 10, 11 and 19): relu(sum_c w_c A_c), w_c = sum_ij alpha_ij relu(G_ij).

    The logit is explained through an exponential, as in the paper: then all derivatives are powers of G, and
    alpha = G^2 / (2 G^2 + G^3 sum_ij A) = 1 / (2 + G sum_ij A). The paper's maps are never below zero; a sum that is,
    of maps less the usual ones, is taken for nought, for the quotient has a pole there.
    """
    raising = relu(gradient)
    total = relu(maps.sum(axis=(2, 3), keepdims=True))
    weights = (raising / (2 + total * raising)).sum(axis=(2, 3))
    return relu(np.einsum("nc,nchw->nhw", weights, maps))


def hirescam(maps: Maps, gradient: Maps) -> Maps:
    """HiResCAM (Draelos and Carin 2020, eq. 3), which keeps where the gradient is: relu(sum_c G_c * A_c)."""
    return relu(np.einsum("nchw,nchw->nhw", gradient, maps))


def layercam(maps: Maps, gradient: Maps) -> Maps:
    """LayerCAM (Jiang et al. 2021, eq. 5 to 7), what speaks for the target only: relu(sum_c relu(G_c) * A_c)."""
    return relu(np.einsum("nchw,nchw->nhw", relu(gradient), maps))


def xgrad_cam(maps: Maps, gradient: Maps) -> Maps:
    """XGrad-CAM (Fu et al. 2020, eq. 8): relu(sum_c w_c A_c), w_c = sum_ij G_c A_c / sum_ij A_c.

    That is the mean of G weighed by A. The paper's maps are never below zero; for others |A| weighs, so that the mean
    has no pole where a map's parts cancel.
    """
    size = np.abs(maps)
    total = size.sum(axis=(2, 3))
    weights = (gradient * size).sum(axis=(2, 3)) / np.maximum(total, _TINY)
    return relu(np.einsum("nc,nchw->nhw", weights, maps))


def eigen_cam(maps: Maps) -> Maps:
    """Eigen-CAM (Muhammad and Yeasin 2020, eq. 3 and 4): A projected on its first right singular vector; of no class.

    Found by power iteration from the channels' means, which also settles the vector's sign: with the activation.
    """
    flat = maps.reshape(*maps.shape[:2], -1)
    moments = flat @ flat.transpose(0, 2, 1)
    vector = flat.mean(axis=2, keepdims=True)
    for _ in range(_ITERATIONS):
        vector = moments @ vector
        vector = vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), _TINY)
    return relu(np.einsum("nc,nchw->nhw", vector[:, :, 0], maps))


def activation(maps: Maps) -> Maps:
    """The activation map (Poirier 2024): the mean of the maps over their channels; of no class."""
    return relu(maps.mean(axis=1))


def fuse(heatmaps: list[Maps]) -> Maps:
    """Heat maps of several layers as one (Jiang et al. 2021, eq. 8 and 9): max_l tanh(2 M_l / max M_l), [n, h, w].

    Each layer's maximum is the window's, so that time keeps its scale; the size is the first layer's. A single layer is
    left as it is.
    """
    if len(heatmaps) == 1:
        return heatmaps[0]
    height, width = heatmaps[0].shape[1:]
    fused = np.zeros_like(heatmaps[0])
    for layer in heatmaps:
        peak = float(layer.max(initial=0))
        if peak > 0:
            fused = np.maximum(fused, np.tanh(2 / peak * resized(layer, height, width)))
    return fused


def resized(heatmaps: Maps, height: int, width: int) -> Maps:
    """Heat maps [n, h, w] brought to [n, height, width] by linear interpolation."""
    if heatmaps.shape[1:] == (height, width):
        return heatmaps
    from whycam.libraries import OPENCV, needs

    with needs(OPENCV):
        import cv2
    return np.stack([cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR) for heat in heatmaps])


def relu(values: Maps) -> Maps:
    """The positive part."""
    positive: Maps = np.maximum(values, np.float32(0))
    return positive
