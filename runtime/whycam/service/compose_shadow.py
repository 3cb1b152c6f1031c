"""What is said of a shadow: the payloads of the MQTT contract."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from uuid6 import uuid7

from whycam.alerts.comparison import Disagreement, Side
from whycam.config.models import Explain
from whycam.detect import Decision, Model, Snapshot
from whycam.errors import WhycamError
from whycam.explain import Explanation
from whycam.explain.target import contrast
from whycam.mqtt.payloads import (
    DisagreementPayload,
    ExplainedFrame,
    ShadowEpisodes,
    ShadowPayload,
    ShadowScores,
    ShadowView,
)
from whycam.service.compose import Composer
from whycam.service.lane import Lane
from whycam.service.shadow import Moment, Shadow

log = logging.getLogger(__name__)


def shadow_payload(composer: Composer, lane: Lane, shadow: Shadow) -> ShadowPayload:
    """How `shadow`, of `lane`, stands."""
    candidate, standing = shadow.candidate, shadow.standing
    scored, decision = shadow.latest or (None, None)
    live = _scores(lane.model, lane.thresholds, None if scored is None else scored.decision)
    judged = candidate is not None and decision is not None
    return ShadowPayload(
        device=composer.device,
        camera=lane.name,
        time=composer.time(None if scored is None else scored.due.time),
        live=ShadowScores(**live),
        candidate=ShadowScores(**_scores(candidate.model, candidate.judge.thresholds, decision))
        if candidate is not None and judged
        else None,
        shares_features=candidate is not None and candidate.model.shares_features(lane.model),
        since=None if candidate is None else composer.time(candidate.since),
        compared=standing.compared,
        agreed=standing.agreed,
        mean_difference=standing.mean_difference,
        max_difference=standing.max_difference,
        episodes=ShadowEpisodes(
            both=standing.both, live_only=standing.live_only, candidate_only=standing.candidate_only
        ),
        skipped=shadow.skipped,
        failed=shadow.failed,
        withheld=shadow.withheld,
        trouble=shadow.trouble,
    )


def disagreement_payload(
    composer: Composer, settings: Explain, shadow: Shadow, one: Disagreement[Moment]
) -> DisagreementPayload:
    """An episode that only one of the two has raised, explained for both as `settings` say."""
    assert shadow.candidate is not None
    scored, label = one.kept.scored, one.episode.label
    lane, candidate = scored.lane, shadow.candidate
    thresholds: dict[Side, Mapping[str, float]] = {
        "live": {name: rules.raise_at for name, rules in scored.rules.items()},
        "candidate": candidate.judge.thresholds,
    }
    models: dict[Side, Model] = {"live": lane.model, "candidate": candidate.model}
    decisions: dict[Side, Decision] = {"live": one.live, "candidate": one.candidate}
    heatmaps = _heatmaps(composer, settings, models, one)
    views = {
        side: ShadowView(
            **_scores(models[side], thresholds[side], decisions[side]),
            score=decisions[side].scores.get(label),
            threshold=thresholds[side].get(label),
            heatmap=heatmaps.get(side),
        )
        for side in models
    }
    return DisagreementPayload(
        id=str(uuid7()),
        device=composer.device,
        camera=lane.name,
        time=composer.time(one.episode.raised_at),
        onset=composer.time(one.episode.onset),
        label=label,
        raised_by=one.side,
        within_seconds=shadow.settings.within_seconds,
        alert=next((episode.id for episode in scored.open_episodes if episode.label == label), None),
        method=settings.method,
        live=views["live"],
        candidate=views["candidate"],
    )


def _scores(model: Model, thresholds: Mapping[str, float], decision: Decision | None) -> dict[str, Any]:
    manifest = model.manifest
    scores = decision.scores if decision is not None and decision.warm else {}
    return {
        "bundle": manifest.name,
        "version": manifest.version,
        "precision": model.precision,
        "scores": scores,
        "label": None if decision is None else decision.label,
        "alert": any(name in scores and scores[name] >= threshold for name, threshold in thresholds.items()),
    }


def _heatmaps(
    composer: Composer, settings: Explain, models: Mapping[Side, Model], one: Disagreement[Moment]
) -> dict[Side, ExplainedFrame]:
    """The frame that counted most for who raised the episode, under the heat map of each that can give one."""
    scored, label = one.kept.scored, one.episode.label
    windows: dict[Side, Snapshot | None] = {"live": scored.window, "candidate": one.kept.window}
    other: Side = "candidate" if one.side == "live" else "live"
    made: dict[Side, ExplainedFrame] = {}
    moment: float | None = None
    for side in (one.side, other):
        window = windows[side]
        if window is None or label not in models[side].manifest.classes:
            continue
        # The same frame of both: the other's most relevant one may be another.
        frames: int | Sequence[int] = 1 if moment is None else [int(np.abs(window.times() - moment).argmin())]
        explanation = _explained(models[side], settings, window, label, frames, scored.lane.name)
        if explanation is None:
            continue
        index = explanation.order[0]
        moment = float(explanation.times[index]) if moment is None else moment
        made[side] = composer.explained(scored.lane, explanation, index)
    return made


def _explained(
    model: Model, settings: Explain, window: Snapshot, label: str, frames: int | Sequence[int], camera: str
) -> Explanation | None:
    try:
        return model.explain(
            window,
            settings.method,
            label,
            contrast(model.manifest, label, settings.versus),
            frames=frames,
            time=settings.time,
            reference=settings.reference,
        )
    except WhycamError as error:
        log.error("no heat map of a disagreement: %s: %s", model.bundle.path, error, extra={"camera": camera})
        return None
    finally:
        if settings.idle_seconds > 0:
            model.rest(settings.idle_seconds)
