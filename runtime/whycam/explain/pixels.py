"""Explanations by the gradient at the frames' pixels: heat maps f32 [n, H, W] at the model's size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.explain.cams import fuse, grad_cam, relu, resized
from whycam.explain.inquiry import Inquiry

Maps = NDArray[np.float32]

NOISE = 0.1
"""SmoothGrad: the noise's standard deviation, as a part of the pixels' range."""
NOISY_COPIES = 8
STEPS = 16
"""Integrated gradients: points of the path."""
_WHITE = 255.0


def saliency(ask: Inquiry) -> Maps:
    """Saliency (Simonyan et al. 2014; Poirier 2024): max over the colours of |gradient|."""
    return _strongest(ask.pixel_gradient)


def gradient_x_input(ask: Inquiry) -> Maps:
    """Gradient x input (Shrikumar et al. 2017): each pixel's part, relu(sum over the colours of gradient * frame)."""
    return relu((ask.pixel_gradient * ask.images).sum(axis=3))


def smoothgrad(ask: Inquiry) -> Maps:
    """SmoothGrad (Smilkov et al. 2017, section 2): saliency of the gradient's mean over noisy copies of the frames.

    Noisy frames are whole grey levels again, as a camera gives them. The noise is the same each time.
    """
    random = np.random.default_rng(0)
    total = np.zeros(ask.images.shape, np.float32)
    for _ in range(NOISY_COPIES):
        noise = random.normal(0, NOISE * _WHITE, ask.images.shape)
        total += ask.gradient_of_images(np.clip(np.rint(ask.images + noise), 0, _WHITE).astype(np.uint8))
    return _strongest(total / np.float32(NOISY_COPIES))


def integrated_gradients(ask: Inquiry) -> Maps:
    """Integrated gradients (Sundararajan et al. 2017, eq. 1 and 3) from black to the frame x.

    relu(sum over the colours of x * mean gradient along the way). The frames on the way are whole grey levels; those of
    the window that are not asked for stay as they are.
    """
    total = np.zeros(ask.images.shape, np.float32)
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        total += ask.gradient_of_images(np.rint(ask.images * share).astype(np.uint8))
    return relu((ask.images * total / np.float32(STEPS)).sum(axis=3))


def guided_backprop(ask: Inquiry) -> Maps:
    """Guided backpropagation (Springenberg et al. 2015, section 3.4): max over the colours of |guided gradient|."""
    return _strongest(ask.guided_gradient)


def guided_grad_cam(ask: Inquiry) -> Maps:
    """Guided Grad-CAM (Selvaraju et al. 2017, section 3.2): guided backpropagation times Grad-CAM."""
    coarse = fuse([grad_cam(maps, gradient) for maps, gradient in zip(ask.maps, ask.map_gradients, strict=True)])
    fine = guided_backprop(ask)
    return fine * resized(coarse, *fine.shape[1:])


def _strongest(gradient: Maps) -> Maps:
    strongest: Maps = np.abs(gradient).max(axis=3)
    return strongest
