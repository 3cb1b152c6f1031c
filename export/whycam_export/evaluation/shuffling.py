"""The network with what it has learnt taken away layer by layer, from the scores down, as bundles.

Weights are shuffled within each tensor rather than drawn anew: a layer keeps its scale, so that signals neither die nor
explode on their way, and only what was learnt is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from whycam.bundle import Bundle, Manifest
from whycam_export.convert.chain import Chain
from whycam_export.evaluation.rewriting import origin, rewritten

CNN_STAGES = 3
STAGES = 2 + CNN_STAGES
"""At most: a part without weights is none."""


@dataclass(frozen=True)
class Stage:
    """Layers that are shuffled in one go."""

    name: str
    layers: tuple[keras.Layer, ...]


def stages(chain: Chain) -> list[Stage]:
    """The layers with weights, from the scores down: the last, the rest of the head, and the CNN in a few parts."""
    head, cnn = _learnt(chain.head), _learnt(chain.per_frame)[::-1]
    found = [Stage("scores", tuple(head[-1:])), Stage("head", tuple(head[:-1]))]
    for part in np.array_split(np.arange(len(cnn)), CNN_STAGES):
        layers = tuple(cnn[index] for index in part)
        found.append(Stage(f"CNN to {layers[-1].name}" if layers else "", layers))
    kept = [stage for stage in found if stage.layers]
    return [*kept[:-1], Stage("all", kept[-1].layers)]


def shuffle(layer: keras.Layer, rng: np.random.Generator) -> None:
    """Shuffle each weight tensor of `layer` in itself."""
    layer.set_weights([rng.permutation(weight.ravel()).reshape(weight.shape) for weight in layer.get_weights()])


def shuffled_bundles(model: Path, manifest: Manifest, seed: int) -> Iterator[tuple[str, Bundle]]:
    """The bundle that `manifest` describes with ever more layers of the Keras `model` shuffled, stage by stage.

    A bundle is there until the next is asked for. Its graphs are those that an export writes, but are not compared with
    Keras again: without sense in its weights a network's gradients hang on the last bit, in Keras too.

    Raises InputError where `model` is not the one that the bundle was exported from, ModelError where it is damaged.
    """
    chain = origin(model, manifest)
    rng = np.random.default_rng(seed)
    for stage in stages(chain):
        for layer in stage.layers:
            shuffle(layer, rng)
        with TemporaryDirectory() as folder:
            yield stage.name, rewritten(chain, manifest, Path(folder))


def _learnt(layers: Sequence[Any]) -> list[keras.Layer]:
    # What a Normalization layer holds is the scale of its input, not something learnt.
    return [layer for layer in _leaves(layers) if layer.weights and not isinstance(layer, keras.layers.Normalization)]


def _leaves(layers: Sequence[Any]) -> list[keras.Layer]:
    """The layers in order, those of nested models in their place."""
    found: list[keras.Layer] = []
    for layer in layers:
        found += _leaves(layer.layers) if isinstance(layer, keras.Model) else [layer]
    return found
