"""Bounds for what messages may name: each name becomes a time series that Prometheus keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sized
from typing import Any, Protocol, TypeVar

from whycam.mqtt.payloads import (
    BundlesPayload,
    DriftPayload,
    OutboxTelemetry,
    ScorePayload,
    ShadowPayload,
    StatePayload,
    TelemetryPayload,
)

LABELS = 32
"""Classes of a camera; also stages, queues, thermal zones, kinds and reasons of a device."""
NAME_CHARACTERS = 128
_PHASES = 3
_CAMERAS = 64

_Value = TypeVar("_Value")


class _Named(Sized, Container[tuple[str, str]], Protocol):
    """What alerts are counted in."""


class Trim:
    """Cuts payloads down to what is kept, and counts what was left out."""

    def __init__(self) -> None:
        """Nothing was left out yet."""
        self.left_out: Counter[str] = Counter(device=0, camera=0, label=0, series=0)
        """By what it would have been one more of."""

    def telemetry(self, payload: TelemetryPayload) -> TelemetryPayload:
        """With bounded tables, and texts of bounded length."""
        return payload.model_copy(
            update={
                "version": payload.version[:NAME_CHARACTERS].encode("ascii", "replace").decode(),
                "cameras": self._table(payload.cameras, _CAMERAS),
                "stages": self._table(payload.stages),
                "queues": self._table(payload.queues),
                "outbox": self._outbox(payload.outbox),
                "evidence_skipped": self._table(payload.evidence_skipped),
                "temperatures_celsius": self._table(payload.temperatures_celsius),
            }
        )

    def bundles(self, payload: BundlesPayload) -> BundlesPayload:
        """With a bounded number of bundles, and without the texts that no metric has."""
        named = [one for one in payload.bundles if all(map(_is_name, (one.name, one.version, one.id)))][:LABELS]
        self.left_out["label"] += len(payload.bundles) - len(named)
        update: dict[str, Any] = {"cameras": [], "signed_by": None, "previous": None, "candidate": None}
        kept = [
            one.model_copy(
                update={**update, "event": one.event and one.event.model_copy(update={"reason": None, "version": ""})}
            )
            for one in named
        ]
        return payload.model_copy(update={"bundles": kept})

    def state(self, payload: StatePayload) -> StatePayload:
        """With a bounded number of thresholds, and without the texts that no metric has."""
        texts: dict[str, Any] = {
            "reason": None,
            "bundle": "",
            "version": "",
            "precision": "",
            "providers": [],
            "runs_on": {},
            "source": "",
        }
        return payload.model_copy(update={**texts, "thresholds": self._table(payload.thresholds)})

    def score(self, payload: ScorePayload) -> ScorePayload:
        """With a bounded number of scores."""
        return payload.model_copy(update={"label": None, "scores": self._table(payload.scores)})

    def shadow(self, payload: ShadowPayload) -> ShadowPayload:
        """With a bounded number of scores of the candidate, and without what the camera's own score says."""
        candidate = payload.candidate
        if candidate is not None:
            texts = {"bundle": "", "version": "", "precision": "", "label": None}
            candidate = candidate.model_copy(update={**texts, "scores": self._table(candidate.scores)})
        live = payload.live.model_copy(update={"bundle": "", "version": "", "label": None, "scores": {}})
        trouble = None if payload.trouble is None else payload.trouble[:NAME_CHARACTERS]
        return payload.model_copy(update={"live": live, "candidate": candidate, "trouble": trouble})

    def drift(self, payload: DriftPayload) -> DriftPayload:
        """Without the signs."""
        return payload.model_copy(update={"signs": []})

    def fits(self, key: tuple[str, str], counted: _Named) -> bool:
        """Whether alerts of this phase and label can be counted beside those that are counted already."""
        if key in counted or (_is_name(key[1]) and len(counted) < LABELS * _PHASES):
            return True
        self.left_out["label"] += 1
        return False

    def _outbox(self, outbox: OutboxTelemetry | None) -> OutboxTelemetry | None:
        if outbox is None:
            return None
        return outbox.model_copy(update={"evicted": self._table(outbox.evicted), "problem": None})

    def _table(self, table: Mapping[str, _Value], most: int = LABELS) -> dict[str, _Value]:
        kept = [name for name in table if _is_name(name)][:most]
        self.left_out["label"] += len(table) - len(kept)
        return {name: table[name] for name in kept}


def _is_name(text: str) -> bool:
    """Whether it can be a label's value: not too long, and no lone surrogate, which UTF-8 has no bytes for."""
    return len(text) <= NAME_CHARACTERS and text.isprintable()
