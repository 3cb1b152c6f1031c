"""From payloads to messages: topic, quality of service, and the CloudEvents attributes as user properties.

CloudEvents 1.0, MQTT protocol binding 1.0.2, binary content mode: the attributes are user properties,
`datacontenttype` is the content type, the data are the payload.
"""

from __future__ import annotations

from whycam.mqtt.message import JPEG, Message, QoS
from whycam.mqtt.payloads import (
    OFFLINE,
    ONLINE,
    AlertPayload,
    BundlesPayload,
    DisagreementPayload,
    DriftPayload,
    ErrorPayload,
    ExplainResponse,
    InstallResult,
    Payload,
    ScorePayload,
    SetResult,
    ShadowPayload,
    StatePayload,
    TelemetryPayload,
)
from whycam.mqtt.topics import Topics

TYPES = {
    "alert": "io.whycam.alert.",  # and the phase
    "heatmap": "io.whycam.alert.heatmap",
    "state": "io.whycam.state",
    "drift": "io.whycam.drift",
    "score": "io.whycam.score",
    "shadow": "io.whycam.shadow",
    "disagreement": "io.whycam.shadow.disagreement",
    "bundles": "io.whycam.bundles",
    "telemetry": "io.whycam.telemetry",
    "set": "io.whycam.set.result",
    "explain": "io.whycam.explain.response",
    "install": "io.whycam.install.result",
    "error": "io.whycam.error",
}
SCORE_EXPIRY_SECONDS = 10
RESPONSE_EXPIRY_SECONDS = 60
TEXT = "text/plain"


def event(
    topic: str,
    payload: Payload,
    *,
    kind: str,
    source: str,
    time: str,
    id: str | None = None,
    subject: str | None = None,
    qos: QoS = 1,
    retain: bool = False,
    expiry_seconds: int | None = None,
    correlation_data: bytes | None = None,
) -> Message:
    """A message of `payload`, of the CloudEvents type `kind`; `id` is a new one where None is given."""
    return Message(
        topic,
        payload.encode(),
        qos=qos,
        retain=retain,
        expiry_seconds=expiry_seconds,
        user_properties=attributes(kind=kind, source=source, time=time, id=id, subject=subject),
        correlation_data=correlation_data,
    )


def attributes(
    *, kind: str, source: str, time: str, id: str | None = None, subject: str | None = None
) -> tuple[tuple[str, str], ...]:
    """The CloudEvents attributes but `datacontenttype`."""
    if id is None:
        from uuid6 import uuid7

        id = str(uuid7())
    named = (("specversion", "1.0"), ("id", id), ("source", source), ("type", kind), ("time", time))
    return (*named, ("subject", subject)) if subject else named


def availability_message(topics: Topics, *, online: bool) -> Message:
    """`online`, or `offline`: the last will."""
    return Message(topics.availability, ONLINE if online else OFFLINE, retain=True, content_type=TEXT)


def alert_message(topics: Topics, payload: AlertPayload) -> Message:
    """A phase of an episode. It never expires: an alert is not lost for being old."""
    return event(
        topics.alert(payload.camera),
        payload,
        kind=f"{TYPES['alert']}{payload.phase}",
        source=topics.source(payload.camera),
        time=payload.time,
        id=payload.event_id,
        subject=payload.label,
    )


def heatmap_message(topics: Topics, camera: str, episode: str, jpeg: bytes, time: str) -> Message:
    """An episode's heat map as JPEG, made at `time`."""
    return Message(
        topics.heatmap(camera, episode),
        jpeg,
        content_type=JPEG,
        user_properties=attributes(kind=TYPES["heatmap"], source=topics.source(camera), time=time, subject=episode),
    )


def state_message(topics: Topics, payload: StatePayload) -> Message:
    """How a camera is doing."""
    return event(
        topics.state(payload.camera),
        payload,
        kind=TYPES["state"],
        source=topics.source(payload.camera),
        time=payload.time,
        retain=True,
    )


def no_state_message(topics: Topics, camera: str) -> Message:
    """Takes back the retained state of a camera that is no more."""
    return Message(topics.state(camera), b"", retain=True)


def drift_message(topics: Topics, payload: DriftPayload) -> Message:
    """Whether a camera shows something else than usual."""
    return event(
        topics.drift(payload.camera),
        payload,
        kind=TYPES["drift"],
        source=topics.source(payload.camera),
        time=payload.time,
        retain=True,
    )


def no_drift_message(topics: Topics, camera: str) -> Message:
    """Takes back what was retained of a camera that is no more, or not watched for drift any more."""
    return Message(topics.drift(camera), b"", retain=True)


def score_message(topics: Topics, payload: ScorePayload) -> Message:
    """Scores: of no use when late."""
    return event(
        topics.score(payload.camera),
        payload,
        kind=TYPES["score"],
        source=topics.source(payload.camera),
        time=payload.time,
        qos=0,
        expiry_seconds=SCORE_EXPIRY_SECONDS,
    )


def shadow_message(topics: Topics, payload: ShadowPayload) -> Message:
    """How a candidate compares: of no use when late."""
    return event(
        topics.shadow(payload.camera),
        payload,
        kind=TYPES["shadow"],
        source=topics.source(payload.camera),
        time=payload.time,
        qos=0,
        expiry_seconds=SCORE_EXPIRY_SECONDS,
    )


def disagreement_message(topics: Topics, payload: DisagreementPayload) -> Message:
    """An episode that only one of two bundles has raised."""
    return event(
        topics.disagreement(payload.camera),
        payload,
        kind=TYPES["disagreement"],
        source=topics.source(payload.camera),
        time=payload.time,
        id=payload.id,
        subject=payload.label,
    )


def bundles_message(topics: Topics, payload: BundlesPayload) -> Message:
    """Which bundles are installed."""
    return event(topics.bundles, payload, kind=TYPES["bundles"], source=topics.source(), time=payload.time, retain=True)


def telemetry_message(topics: Topics, payload: TelemetryPayload) -> Message:
    """How the device is doing."""
    return event(topics.telemetry, payload, kind=TYPES["telemetry"], source=topics.source(), time=payload.time, qos=0)


def response_message(
    topics: Topics,
    topic: str,
    payload: SetResult | ExplainResponse | InstallResult | ErrorPayload,
    correlation_data: bytes | None,
) -> Message:
    """The answer to a command or request, to the topic that it named."""
    kinds = {SetResult: "set", ExplainResponse: "explain", InstallResult: "install", ErrorPayload: "error"}
    return event(
        topic,
        payload,
        kind=TYPES[kinds[type(payload)]],
        source=topics.source(None if isinstance(payload, InstallResult) else payload.camera),
        time=payload.time,
        expiry_seconds=RESPONSE_EXPIRY_SECONDS,
        correlation_data=correlation_data,
    )
