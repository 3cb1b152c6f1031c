"""The rules that a camera's episodes follow: what its configuration says, else its bundle, else the defaults here."""

from __future__ import annotations

from collections.abc import Mapping

from whycam.alerts.episodes import EpisodeRules
from whycam.bundle import Manifest
from whycam.config.models import AlertRules

CLEAR_RATIO = 0.8
MINIMUM_SECONDS = 0.5


def rules_of(config: AlertRules, thresholds: Mapping[str, float], manifest: Manifest) -> dict[str, EpisodeRules]:
    """The rules of each class in `thresholds`, which raises from that score.

    A bundle's clearing score belongs to its own threshold: where another is set it stays the same share of it.
    """
    return {name: _rules(config, name, threshold, manifest) for name, threshold in thresholds.items()}


def _rules(config: AlertRules, name: str, threshold: float, manifest: Manifest) -> EpisodeRules:
    own = manifest.alert_rules.get(name)
    ratio, minimum_seconds = CLEAR_RATIO, MINIMUM_SECONDS
    if own is not None:
        ratio = own.clear / manifest.thresholds[name] if manifest.thresholds[name] > 0 else 1.0
        minimum_seconds = own.minimum_seconds
    return EpisodeRules(
        raise_at=threshold,
        clear_at=threshold * (ratio if config.clear_ratio is None else config.clear_ratio),
        minimum_seconds=minimum_seconds if config.minimum_seconds is None else config.minimum_seconds,
        merge_seconds=config.merge_seconds,
        cool_down_seconds=config.cool_down_seconds,
        update_seconds=config.update_seconds,
        signal_lost_seconds=config.signal_lost_seconds,
    )
