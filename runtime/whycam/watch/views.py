"""What a subscriber sees: a live table, a line per alert, or JSON lines."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import OrderedDict, deque
from typing import Protocol, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from whycam.mqtt.payloads import AlertPayload, DisagreementPayload, ScorePayload, ShadowPayload, StatePayload
from whycam.printable import printable
from whycam.watch.reading import Event

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_ALERTS = 12
_DRAW_SECONDS = 0.25
_NOTES = 4
_CAMERAS = 256
_STYLES = {"raised": "bold red", "updated": "yellow", "cleared": "green"}


class View(Protocol):
    """Shows what comes."""

    def show(self, event: Event, saved: str | None) -> None:
        """Show `event`, which is new, and is in the file `saved`."""

    def refresh(self, problem: str | None, ignored: int) -> None:
        """Called a few times a second.

        `problem`: why there is no connection; `ignored`: how many messages made no sense.
        """


class Views:
    """Several at once."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def show(self, event: Event, saved: str | None) -> None:
        """Show it in each."""
        for view in self._views:
            view.show(event, saved)

    def refresh(self, problem: str | None, ignored: int) -> None:
        """Refresh each."""
        for view in self._views:
            view.refresh(problem, ignored)


class JsonView:
    """A JSON object per message and line, flushed, so that a script reads it at once."""

    def show(self, event: Event, saved: str | None) -> None:
        """Print it: `topic`, `kind`, `device`, `camera`, `payload`; a heat map by its number of bytes."""
        line = {"topic": event.topic, "kind": event.kind, "device": event.device, "camera": event.camera}
        content = {"id": event.episode, "bytes": len(event.raw)} if event.kind == "heatmap" else {"payload": event.data}
        # Only ASCII: a lone surrogate cannot be encoded, and no control character reaches a terminal.
        print(json.dumps({**line, **content, "saved": saved}, allow_nan=False), flush=True)

    def refresh(self, problem: str | None, ignored: int) -> None:
        """Nothing: the connection's troubles are logged."""


class LineView:
    """A line per alert, and per disagreement of a shadow."""

    def show(self, event: Event, saved: str | None) -> None:
        """Print them; nothing else."""
        if event.alert is not None:
            print(line_of(event.alert), flush=True)
        elif event.disagreement is not None:
            print(line_of_disagreement(event.disagreement), flush=True)

    def refresh(self, problem: str | None, ignored: int) -> None:
        """Nothing: the connection's troubles are logged."""


class TableView(logging.Handler):
    """A table of cameras and one of the newest alerts, in place; below, the log's last lines and disagreements."""

    def __init__(self, title: str) -> None:
        super().__init__(logging.INFO)
        self._title = title
        self._devices: OrderedDict[str, str] = OrderedDict()
        self._states: OrderedDict[tuple[str, str], StatePayload] = OrderedDict()
        self._scores: OrderedDict[tuple[str, str], ScorePayload] = OrderedDict()
        self._shadows: OrderedDict[tuple[str, str], ShadowPayload] = OrderedDict()
        self._alerts: deque[AlertPayload] = deque(maxlen=_ALERTS)
        self._notes: deque[str] = deque(maxlen=_NOTES)
        self._problem: str | None = "connecting"
        self._drawn = 0.0
        self._live = Live(console=Console(), auto_refresh=False, transient=False)

    def __enter__(self) -> TableView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update(self._page(), refresh=True)
        self._live.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a log line for the next refresh; called in any thread."""
        self._notes.append(f"{record.levelname.lower()}: {record.getMessage()}")

    def show(self, event: Event, saved: str | None) -> None:
        """Take it up; drawn at the next refresh."""
        place = (event.device, event.camera or "")
        if event.kind == "availability" and event.data is None:
            self._devices.pop(event.device, None)
        elif event.kind == "availability":
            _remember(self._devices, event.device, str(event.data))
        elif event.kind == "state" and event.payload is None:
            self._states.pop(place, None)
        elif isinstance(event.payload, StatePayload):
            _remember(self._states, place, event.payload)
        elif isinstance(event.payload, ScorePayload):
            _remember(self._scores, place, event.payload)
        elif isinstance(event.payload, ShadowPayload):
            _remember(self._shadows, place, event.payload)
        elif event.disagreement is not None:
            self._notes.append(line_of_disagreement(event.disagreement))
        elif event.alert is not None:
            self._alerts.appendleft(event.alert)

    def refresh(self, problem: str | None, ignored: int) -> None:
        """Draw, a few times a second at most: drawing must not keep messages waiting."""
        now = time.monotonic()
        if problem == self._problem and now - self._drawn < _DRAW_SECONDS:
            return
        self._problem, self._drawn = problem, now
        self._live.update(self._page(), refresh=True)

    def _page(self) -> Group:
        state = (
            Text(f"not connected: {printable(self._problem)}", "red") if self._problem else Text("connected", "green")
        )
        notes = [Text(printable(note), "dim", no_wrap=True, overflow="ellipsis") for note in self._notes]
        shadows = [Text(printable(line)) for line in map(line_of_shadow, self._shadows.values())]
        title = Text.assemble(printable(self._title), "  ", state)
        return Group(title, self._cameras(), *shadows, self._latest(), *notes)

    def _cameras(self) -> Table:
        table = _table("camera", "state", "armed", "label", "score", "fps", "reason")
        for place in sorted({*self._states, *self._scores}):
            state, score = self._states.get(place), self._scores.get(place)
            online = self._devices.get(place[0]) != "offline"
            label = score.label if score is not None else None
            _row(
                table,
                "/".join(place),
                (state.state if state else "") if online else "offline",
                ("yes" if state.armed else "no") if state else "",
                label or "",
                f"{score.scores[label]:.3f}" if score is not None and label in score.scores else "",
                f"{state.fps:.1f}" if state and state.fps is not None else "",
                (state.reason or "") if state else "",
                style="bold red" if score is not None and score.alert and online else "",
            )
        return table

    def _latest(self) -> Table:
        table = _table("time", "camera", "phase", "label", "score", "peak", "onset", "seconds", "why")
        for alert in self._alerts:
            _row(
                table,
                alert.time,
                f"{alert.device}/{alert.camera}",
                alert.phase,
                alert.label,
                f"{alert.score:.3f}",
                f"{alert.peak:.3f}",
                alert.onset[11:],
                f"{alert.duration_seconds:.1f}",
                why(alert),
                style=_STYLES[alert.phase],
            )
        return table


def line_of(alert: AlertPayload) -> str:
    """An alert in one line, safe for a terminal."""
    reasons = why(alert)
    return printable(
        f"{alert.time} {alert.device}/{alert.camera} {alert.phase} {alert.label} score {alert.score:.3f} "
        f"peak {alert.peak:.3f} onset {alert.onset} lasted {alert.duration_seconds:.1f} s ({alert.reason})"
        f"{' ' + reasons if reasons else ''} {alert.id}/{alert.sequence}"
    )


def line_of_shadow(shadow: ShadowPayload) -> str:
    """How a candidate compares, in one line, safe for a terminal."""
    place, candidate = f"{shadow.device}/{shadow.camera} shadow:", shadow.candidate
    if shadow.trouble is not None:
        return printable(f"{place} {shadow.trouble}")
    if candidate is None or shadow.compared == 0:
        return printable(f"{place} nothing compared yet")
    episodes = shadow.episodes
    return printable(
        f"{place} {candidate.bundle} {candidate.version} {candidate.precision} agrees on "
        f"{shadow.agreed / shadow.compared:.1%} of {shadow.compared} frames, scores are {shadow.mean_difference:.3f} "
        f"apart, at most {shadow.max_difference:.3f}; episodes: {episodes.both} of both, "
        f"{episodes.live_only} live only, {episodes.candidate_only} candidate only; {shadow.skipped} frames skipped"
    )


def line_of_disagreement(told: DisagreementPayload) -> str:
    """A disagreement in one line, safe for a terminal."""
    scores = [
        f"{name} {'-' if view.score is None else f'{view.score:.3f}'}"
        f" of {'-' if view.threshold is None else f'{view.threshold:g}'}"
        for name, view in (("live", told.live), ("candidate", told.candidate))
    ]
    return printable(
        f"{told.time} {told.device}/{told.camera} shadow: {told.label} raised by the {told.raised_by} bundle alone, "
        f"{', '.join(scores)} {told.id}"
    )


def why(alert: AlertPayload) -> str:
    """The frame that mattered most, and the strongest regions in it; empty where there is no explanation."""
    explanation = alert.explanation
    if explanation is None:
        return ""
    parts = [f"frame {frame.index} {frame.relevance:.0%}" for frame in explanation.frames[:1]]
    for region in explanation.regions[:2]:
        zones = f" in {', '.join(region.zones[:3])}" if region.zones else ""
        parts.append(f"{region.width}x{region.height} at {region.x},{region.y}{zones}")
    return "; ".join(parts)


def log_to_stderr() -> logging.Handler:
    """What the connection logs, a safe line each, for when there is no table."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(f"whycam: {printable(record.getMessage())}", file=sys.stderr, flush=True)

    return Lines(logging.INFO)


def _remember(store: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    store[key] = value
    if len(store) > _CAMERAS:
        store.popitem(last=False)


def _table(*columns: str) -> Table:
    table = Table(expand=True, box=None, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column != "why", overflow="ellipsis")
    return table


def _row(table: Table, *cells: str, style: str = "") -> None:
    # Text, not markup: a label may hold brackets.
    table.add_row(*(Text(printable(cell)) for cell in cells), style=style)
