"""Single frames out of many scenes, with their classes and masks: what the demo's backbone learns from."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam.detect.resize import resize
from whycam_export.demo.lens import compress
from whycam_export.demo.scenes import CLASSES, NORMAL, make_scene

SIZE = 112
CELLS = 28


@dataclass(frozen=True)
class Stills:
    """Frames uint8 [n,SIZE,SIZE,3] BGR, labels uint8 [n] into `CLASSES`, and masks uint8 [n,CELLS,CELLS].

    A mask's value is the part of its cell, 0 to 255, that the anomaly covers.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    masks: NDArray[np.uint8]


def take_stills(seeds: Iterable[int], workers: int = 2) -> Stills:
    """Frames of one scene per seed and class: five of a normal scene, else two before the event and five of it."""
    jobs = [(seed, label) for seed in seeds for label in CLASSES]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_of_scene, jobs, chunksize=8))
    return Stills(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("frames", "labels", "masks")))


def _of_scene(job: tuple[int, str]) -> Stills:
    cv2.setNumThreads(1)
    seed, label = job
    rng = np.random.default_rng((seed, CLASSES.index(label), 1))
    scene = make_scene(seed, label)
    if label == NORMAL:
        times = rng.uniform(0, scene.duration, 5)
    else:
        times = np.concatenate([rng.uniform(0, scene.onset, 2), rng.uniform(scene.onset + 0.1, scene.duration, 5)])
    frames, labels, masks = [], [], []
    for time in times:
        frame, mask = scene.frame(float(time))
        frames.append(resize(compress(frame, int(rng.integers(35, 85))), SIZE, SIZE))
        masks.append(cv2.resize(mask.astype(np.uint8) * 255, (CELLS, CELLS), interpolation=cv2.INTER_AREA))
        labels.append(CLASSES.index(label if mask.any() else NORMAL))
    return Stills(np.stack(frames), np.array(labels, np.uint8), np.stack(masks).astype(np.uint8))
