"""When: how much each frame of the window counts for the target, f32 [T], at the cost of the head alone.

What speaks against the target counts as nothing; shares sum to 1, and are all 0 where no frame speaks for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.explain.inquiry import Inquiry

Shares = NDArray[np.float32]


def relevance(ask: Inquiry) -> Shares:
    """Gradient times input (Shrikumar et al. 2017) at the features, summed over each frame's; the input is what differs
    from the camera's usual features, where those are the reference."""
    return shares(ask.gradient_times_input())


def leave_one_out(ask: Inquiry) -> Shares:
    """How far the target falls without each frame (Robnik-Sikonja and Kononenko 2008), exactly, in one run."""
    targets = ask.scores(ask.windows_of_one(keep=False))
    return shares(targets[-1] - targets[:-1])


def keep_one(ask: Inquiry) -> Shares:
    """How far each frame alone lifts the target above that of a window without any, exactly, in one run."""
    targets = ask.scores(ask.windows_of_one(keep=True))
    return shares(targets[:-1] - targets[-1])


def attention(ask: Inquiry) -> Shares:
    """The weights that the model's temporal attention gives its frames; of no class."""
    return shares(ask.frame_attention)


def shares(support: Shares) -> Shares:
    """The positive part of `support` f32 [T], divided by its sum."""
    positive: Shares = np.maximum(support, np.float32(0))
    total = float(positive.sum())
    return positive / np.float32(total) if total > 0 else positive
