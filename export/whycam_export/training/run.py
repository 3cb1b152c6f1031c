"""A training run, from a folder of clips to a model and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from whycam.clips import read_clips
from whycam_export.training import outputs
from whycam_export.training.backbone_weights import load_backbone_weights
from whycam_export.training.classes import find_normal, order_classes
from whycam_export.training.dataset import describe, read_dataset
from whycam_export.training.feature_cache import FeatureCache, default_cache
from whycam_export.training.features import FeatureReader, FineTune, FrozenBackbone
from whycam_export.training.fit import Recipe, fit, predict
from whycam_export.training.metrics import ClipScores
from whycam_export.training.network import paper_network, vgg19
from whycam_export.training.options import Options
from whycam_export.training.plots import draw_confusion, draw_history
from whycam_export.training.progress import epoch_bar
from whycam_export.training.record import metrics_record, model_record
from whycam_export.training.split import split_clips
from whycam_export.training.standardization import Standardization
from whycam_export.training.trained_part import trained_part

FINE_TUNE_FACTOR = 0.1
"""On the learning rate when backbone weights that were trained before are trained on."""

_TITLES: dict[FineTune, str] = {
    "none": "Training the head",
    "block5": "Training block5 with it",
    "all": "Training the whole network",
}


@dataclass(frozen=True)
class Trained:
    """What came of a run."""

    model: Path
    classes: tuple[str, ...]
    normal: str
    metrics: dict[str, Any]
    """As in the metrics file: for each side `accuracy`, `recall`, `auc`, `anomaly_auc`, `confusion`, ..."""
    skipped: dict[str, str]
    """Clips that could not be read, and why."""


def train(options: Options, console: Console | None = None) -> Trained:
    """Train the paper's network as `options` say; write the model and what belongs beside it.

    The head is trained on the frozen backbone's features; where part of the backbone is to be trained, that follows at
    a tenth of the learning rate. Progress goes to `console`, by default stderr.

    Raises TrainingError for what the user has to change; nothing is written then.
    """
    screen = console or Console(stderr=True)
    outputs.check_output(options.output)
    clips = read_clips(options.clips)
    classes = order_classes(clips, options.classes)
    normal = find_normal(classes, options.normal)
    # Whether a split is possible is better said before the clips are read than after.
    split_clips(clips, classes, options.validation, options.seed)

    keras.utils.set_random_seed(options.seed)
    shape = options.architecture
    backbone = vgg19(shape.size, shape.width)
    load_backbone_weights(backbone, options.backbone_weights)
    network = paper_network(len(classes), shape, backbone)
    cache = FeatureCache(options.cache or default_cache())
    if options.backbone_weights == "none" and options.fine_tune == "none":
        screen.print(
            "[yellow]warning[/yellow] the backbone is random and stays so: add --fine-tune all", highlight=False
        )

    history: list[dict[str, Any]] = []
    kept: list[int] = []
    standardization: Standardization | None = None
    for phase, recipe in _phases(options):
        reader = FeatureReader(FrozenBackbone(backbone, phase), options.sampling, cache)
        data = read_dataset(clips, classes, reader, options, screen)
        cache.prune(reader.used)
        features, head = trained_part(network, phase)
        if standardization is None:
            describe(data, classes, screen)
            standardization = Standardization.of(features, data.windows["train"])
        model = standardization.between(features, head)
        with epoch_bar(screen, _TITLES[phase], recipe.epochs) as report:
            fitted = fit(model, data.training, data.windows["validation"], recipe, options.seed, report)
        kept.append(len(history) + fitted.best_epoch)
        history += [{"phase": phase, **row} for row in fitted.history]

    assert standardization is not None  # there is always a phase
    scored = {
        side: ClipScores.of(windows, predict(model, windows, options.recipe.batch))
        for side, windows in data.windows.items()
        if windows
    }
    standardization.fold(network.get_layer("gru"))
    metrics = metrics_record(scored, data, classes, normal, kept)
    with outputs.staging(options.output) as place:
        network.save(place(".keras"))
        outputs.write_json(place(".json"), model_record(options, data, classes, normal, metrics))
        outputs.write_json(place(".metrics.json"), metrics)
        outputs.write_history(place(".history.csv"), history)
        draw_history(place(".history.png"), history, kept, f"{options.output.stem}: training")
        draw_confusion(
            place(".confusion.png"),
            scored["validation"].confusion(),
            classes,
            f"{options.output.stem}: {len(scored['validation'].clips)} validation clips",
        )
    return Trained(options.output, classes, normal, metrics, data.skipped)


def _phases(options: Options) -> list[tuple[FineTune, Recipe]]:
    """The head first: its random gradients would spoil backbone weights that were trained before."""
    if options.fine_tune == "none":
        return [("none", options.recipe)]
    if options.backbone_weights == "none":
        return [(options.fine_tune, options.recipe)]
    slower = replace(options.recipe, learning_rate=FINE_TUNE_FACTOR * options.recipe.learning_rate)
    return [("none", options.recipe), (options.fine_tune, slower)]
