"""What is said over MQTT: a model for each payload, from which its JSON Schema is generated.

What the service publishes may gain keys within a schema version, so readers ignore those they do not know; in what it
is told, an unknown key is refused, as it would be an order not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timezone
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from whycam.explain.methods import METHODS, TIME_METHODS
from whycam.explain.regions import Region

Phase = Literal["raised", "updated", "cleared"]
StateName = Literal["connecting", "running", "stalled", "cold", "failed"]
Timestamp = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2026-11-23T18:36:15.123Z"],
    ),
]
"""RFC 3339, UTC, milliseconds."""


def _settled(value: object) -> object:
    # A softmax in single precision may sum to 1.0000001, and that is no reason to lose the alert.
    return min(max(round(value, 6), 0.0), 1.0) if isinstance(value, float) and -0.001 < value < 1.001 else value


Share = Annotated[float, BeforeValidator(_settled), Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]
ONLINE, OFFLINE = b"online", b"offline"
AvailabilityPayload = Literal["online", "offline"]
"""Plain text, not JSON."""


def _one_of(names: Collection[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    return check


def timestamp(seconds: float) -> str:
    """`seconds` since the epoch as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Payload(BaseModel):
    """What the service publishes."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, allow_inf_nan=False)

    def encode(self) -> bytes:
        """UTF-8 JSON, without NaN or infinity."""
        return self.model_dump_json(by_alias=True).encode()


class Command(BaseModel):
    """What the service is told; strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    request_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="Comes back in the answer: what correlation data is for, where a client has only MQTT 3.1.1.",
    )

    def encode(self) -> bytes:
        """UTF-8 JSON of what was set."""
        return self.model_dump_json(exclude_unset=True).encode()


class FrameRelevance(Payload):
    """A frame of the window, and its share in the decision."""

    index: int = Field(ge=0, description="Place in the window, 0 the oldest.")
    time: Timestamp = Field(description="When the frame was captured.")
    relevance: Share = Field(description="The frame's share; a window's shares sum to 1, or are all 0.")


class ExplanationSummary(Payload):
    """Why a window was scored as it was: which frames, and where in them."""

    method: str = Field(description="Where: how the heat maps are made, such as grad-cam++.")
    time_method: str = Field(
        default="relevance", description="When: how the frames' shares are found, such as leave-one-out."
    )
    versus: str | None = Field(description="The class it is contrasted with; null where the label alone is explained.")
    counter: bool = Field(default=False, description="Whether it shows what speaks against the label instead.")
    reference: Literal["usual", "none"] = Field(
        default="none", description="usual: it shows what differs from what the camera usually shows."
    )
    window_start: Timestamp = Field(description="When the window's first frame was captured.")
    window_end: Timestamp = Field(description="When the window's last frame was captured.")
    frames: list[FrameRelevance] = Field(description="The frames that mattered most, at most 3, most relevant first.")
    relevance: list[Share] = Field(description="Each frame's share, oldest first.")
    regions: list[Region] = Field(
        description="Boxes of the heat map's strongest regions, strongest first, in pixels of the top frame."
    )
    frame_width: int = Field(ge=1, description="Pixels, of the frame that the regions are in.")
    frame_height: int = Field(ge=1, description="Pixels, of the frame that the regions are in.")
    heatmap_topic: str | None = Field(
        default=None, description="Where the heat map is published as JPEG; null where it is not."
    )


class AlertPayload(Payload):
    """A phase of an episode. It may come more than once: `event_id` tells a repetition from another message."""

    schema_name: Literal["whycam.alert/1"] = Field(
        default="whycam.alert/1", alias="schema", description="Name and version."
    )
    id: str = Field(min_length=1, description="The episode: a UUIDv7, the same in all its phases.")
    event_id: str = Field(
        min_length=1, description="The message: a UUIDv7, the same in all its repetitions; the id of the CloudEvent."
    )
    sequence: int = Field(
        ge=0,
        description="0 when raised, then one more with each message of the episode. Numbers repeat where the device "
        "was restarted while its disk took nothing; then `time` tells the order.",
    )
    phase: Phase
    device: str
    camera: str
    label: str = Field(description="The class.")
    score: Share = Field(description="The class's score at `time`.")
    peak: Share = Field(description="Its highest score in the episode so far.")
    threshold: Share = Field(description="The score at which the class raises.")
    onset: Timestamp = Field(description="When the score first reached the threshold.")
    time: Timestamp = Field(description="When this phase came about.")
    peak_time: Timestamp = Field(description="When the peak was reached.")
    duration_seconds: float = Field(ge=0, description="From the onset to `time`; when cleared, to the last time above.")
    reason: str = Field(
        description="What brought this message: threshold, peak, interval, explanation, below-threshold, signal-lost, "
        "disarmed, removed."
    )
    explanation: ExplanationSummary | None = Field(
        default=None, description="Null where there is none, or none in time."
    )
    evidence: str | None = Field(default=None, description="Folder on the device; null where none is kept.")


class StatePayload(Payload):
    """How a camera is doing. Retained."""

    schema_name: Literal["whycam.state/1"] = Field(
        default="whycam.state/1", alias="schema", description="Name and version."
    )
    device: str
    camera: str
    time: Timestamp = Field(description="When this was so.")
    state: StateName = Field(
        description="connecting: the source is being opened; running: scored; cold: frames come, the window is not "
        "full; "
        "stalled: no frames, or no fresh ones; failed: given up."
    )
    reason: str | None = Field(default=None, description="Why, where the state alone does not say.")
    since: Timestamp = Field(description="When this state began.")
    armed: bool = Field(description="Whether alerts are raised.")
    fps: float | None = Field(default=None, ge=0, description="Frames that the camera gives in a second.")
    thresholds: dict[str, Share] = Field(description="By class: the score at which it raises.")
    bundle: str = Field(description="The model's name.")
    version: str = Field(description="The model's version.")
    precision: str = Field(description="fp32, fp16 or int8.")
    providers: list[str] = Field(
        description="Execution providers that may run the model, the one it was opened on first."
    )
    runs_on: dict[str, Share] = Field(
        default_factory=dict,
        description="By execution provider: the share of the CNN's time that it really takes, as a profile told when "
        "the model was opened; empty where none is.",
    )
    source: str = Field(description="What is watched, without credentials.")
    frames: Count = Field(default=0, description="Captured since the service began.")
    dropped: Count = Field(default=0, description="Captured, and replaced by a newer frame before being scored.")
    reconnects: Count = Field(default=0, description="How often the source was opened again.")
    drift: bool | None = Field(
        default=None,
        description="Whether the camera shows something else than its bundle was calibrated on; null: not known yet, "
        "or not watched.",
    )


class DriftSign(Payload):
    """Something about the picture that has left its usual range."""

    sign: str = Field(description="brightness, contrast, sharpness, view, scene or scores.")
    says: str = Field(
        description="darker, brighter, less contrast, more contrast, blurrier, sharper or noisier, another view, "
        "another scene, lower scores, higher scores."
    )
    deviation: float = Field(description="From the mean of what is usual, in its spreads; below 0 for less.")
    limit: float = Field(gt=0, description="The deviation, either way, that chance does not explain.")


class DriftPayload(Payload):
    """Whether a camera shows something else than its bundle was calibrated on. Retained; said when that changes."""

    schema_name: Literal["whycam.drift/1"] = Field(
        default="whycam.drift/1", alias="schema", description="Name and version."
    )
    device: str
    camera: str
    time: Timestamp = Field(description="When this was found.")
    drifted: bool
    since: Timestamp | None = Field(default=None, description="When the drift began; null without.")
    statistic: float = Field(ge=0, description="The largest deviation, over its limit: above 1 is beyond it.")
    signs: list[DriftSign] = Field(
        default_factory=list, description="What is beyond its limit, farthest first; empty without drift."
    )


class ScorePayload(Payload):
    """The model's scores, at most once a second. Lost while the broker is away."""

    schema_name: Literal["whycam.score/1"] = Field(
        default="whycam.score/1", alias="schema", description="Name and version."
    )
    device: str
    camera: str
    time: Timestamp = Field(description="When the window's last frame was captured.")
    scores: dict[str, Share] = Field(description="By class; empty while the window is cold.")
    label: str | None = Field(description="The class with the highest score; null while the window is cold.")
    warm: bool = Field(description="Whether the window is full and without gaps.")
    alert: bool = Field(description="Whether an anomalous class has reached its threshold.")


class ExplainedFrame(Payload):
    """A frame under its heat map."""

    index: int = Field(ge=0, description="Place in the window, 0 the oldest.")
    time: Timestamp = Field(description="When the frame was captured.")
    relevance: Share = Field(description="The frame's share in the decision.")
    image: str = Field(
        description="JPEG, base64.", json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/jpeg"}
    )


class ShadowScores(Payload):
    """One of the two bundles, and what it says of a frame."""

    bundle: str = Field(description="The model's name.")
    version: str = Field(description="The model's version.")
    precision: str = Field(description="fp32, fp16 or int8.")
    scores: dict[str, Share] = Field(description="By class; empty while the window is cold.")
    label: str | None = Field(description="The class with the highest score; null while the window is cold.")
    alert: bool = Field(description="Whether an anomalous class has reached its threshold.")


class ShadowEpisodes(Payload):
    """Episodes, by who has raised them."""

    both: Count
    live_only: Count
    candidate_only: Count


class ShadowPayload(Payload):
    """How the candidate compares with the camera's bundle, as often as scores. Lost while the broker is away."""

    schema_name: Literal["whycam.shadow/1"] = Field(
        default="whycam.shadow/1", alias="schema", description="Name and version."
    )
    device: str
    camera: str
    time: Timestamp = Field(description="When the frame was captured that the scores are of.")
    live: ShadowScores
    candidate: ShadowScores | None = Field(default=None, description="Null where it could not judge this frame.")
    shares_features: bool = Field(
        default=False, description="Whether both have the same feature extractor, which then runs once."
    )
    since: Timestamp | None = Field(
        default=None, description="When the candidate was loaded: what follows counts from then; null: it is not."
    )
    compared: Count = Field(default=0, description="Frames on which both windows were full.")
    agreed: Count = Field(default=0, description="Those on which both gave the same class the highest score.")
    mean_difference: Share = Field(
        default=0.0,
        description="Of the scores on these frames: of each frame, that of the class whose scores are farthest apart.",
    )
    max_difference: Share = Field(default=0.0, description="The largest of these differences.")
    episodes: ShadowEpisodes
    skipped: Count = Field(
        default=0,
        description="Frames that the candidate was not asked about, as it was behind or rested after trouble.",
    )
    failed: Count = Field(default=0, description="Frames that it could not judge.")
    withheld: Count = Field(
        default=0, description="Disagreements that were counted and not published, beyond the number per hour."
    )
    trouble: str | None = Field(default=None, description="What is wrong with the candidate; null: nothing.")


class ShadowView(ShadowScores):
    """One of the two bundles, and how it sees an episode."""

    score: Share | None = Field(description="Of the episode's class; null where the model does not know it.")
    threshold: Share | None = Field(description="The score at which it raises that class; null where it never does.")
    heatmap: ExplainedFrame | None = Field(
        default=None, description="Why, for the episode's class; null where that could not be explained."
    )


class DisagreementPayload(Payload):
    """An episode that only one of the two bundles has raised. It may come more than once: see `id`."""

    schema_name: Literal["whycam.shadow.disagreement/1"] = Field(
        default="whycam.shadow.disagreement/1", alias="schema", description="Name and version."
    )
    id: str = Field(min_length=1, description="A UUIDv7, the same in all repetitions; the id of the CloudEvent.")
    device: str
    camera: str
    time: Timestamp = Field(description="When it was raised; scores and heat maps are of that moment.")
    onset: Timestamp = Field(description="When the score first reached the threshold.")
    label: str = Field(description="The class.")
    raised_by: Literal["live", "candidate"]
    within_seconds: float = Field(ge=0, description="How long the other had to raise it too.")
    alert: str | None = Field(
        default=None, description="The camera's alert of that class that was open then; null where there was none."
    )
    method: str = Field(description="How the heat maps are made.")
    live: ShadowView
    candidate: ShadowView


class BundleEvent(Payload):
    """What happened last to an installed bundle."""

    event: Literal["installed", "confirmed", "rolled-back", "failed"] = Field(
        description="installed: it is on trial; confirmed: it has scored frames; rolled-back: another version took its "
        "place again; failed: as that, but there was none."
    )
    time: Timestamp = Field(description="When that was.")
    id: str = Field(description="The version that it happened to.")
    version: str = Field(description="The model's version.")
    previous: str | None = Field(
        default=None, description="The version that it replaced; rolled-back: the one that is back; null: none."
    )
    reason: str | None = Field(default=None, description="Why it was rolled back.")


class InstalledBundle(Payload):
    """A bundle in the device's store, and its current version."""

    name: str = Field(description="The model's name.")
    version: str = Field(description="The model's version.")
    id: str = Field(description="The first 16 hex digits of the SHA-256 of its manifest.")
    state: Literal["current", "on-trial"] = Field(
        description="on-trial: it has yet to score frames, and is rolled back where it does not."
    )
    previous: str | None = Field(default=None, description="The version that a rollback goes to; null: none.")
    candidate: str | None = Field(default=None, description="The version that shadows try; null: none.")
    signed_by: str | None = Field(default=None, description="The trusted key's name; null where none was asked for.")
    cameras: list[str] = Field(description="The cameras that run it.")
    event: BundleEvent | None = Field(default=None, description="What happened last.")


class BundlesPayload(Payload):
    """Which bundles are installed on the device. Retained; said when that changes."""

    schema_name: Literal["whycam.bundles/1"] = Field(
        default="whycam.bundles/1", alias="schema", description="Name and version."
    )
    device: str
    time: Timestamp = Field(description="When this was so.")
    bundles: list[InstalledBundle] = Field(description="By name; empty where cameras run bundles from elsewhere alone.")


class StageTelemetry(Payload):
    """How long a stage of the work takes."""

    count: Count
    mean_ms: float = Field(ge=0)
    max_ms: float = Field(ge=0)


class QueueTelemetry(Payload):
    """What waits before a stage."""

    depth: Count
    capacity: Count
    refused: Count = Field(default=0, description="What found no room.")


class CameraTelemetry(Payload):
    """A camera's figures."""

    state: StateName
    fps: float | None = Field(default=None, ge=0)
    frames: Count = 0
    dropped: Count = 0
    scored: Count = 0
    reconnects: Count = 0


class OutboxTelemetry(Payload):
    """What waits for the broker."""

    rows: Count
    bytes: Count
    oldest_seconds: float | None = Field(
        default=None, ge=0, description="Age of the oldest message that waits; null: none waits."
    )
    evicted: dict[str, Count] = Field(default_factory=dict, description="By kind: given up for want of room or by age.")
    in_memory: Count = Field(default=0, description="What waits in memory alone, as the disk does not take it.")
    problem: str | None = Field(default=None, description="What is wrong with the disk; null: nothing.")


class TelemetryPayload(Payload):
    """How the device is doing. Lost while the broker is away."""

    schema_name: Literal["whycam.telemetry/1"] = Field(
        default="whycam.telemetry/1", alias="schema", description="Name and version."
    )
    device: str
    time: Timestamp
    version: str = Field(description="whycam's version.")
    uptime_seconds: float = Field(ge=0)
    cameras: dict[str, CameraTelemetry] = Field(default_factory=dict, description="By name.")
    stages: dict[str, StageTelemetry] = Field(
        default_factory=dict, description="By name, since the telemetry before: score, explain, evidence and others."
    )
    queues: dict[str, QueueTelemetry] = Field(default_factory=dict, description="By name of the stage they wait for.")
    outbox: OutboxTelemetry | None = None
    evidence_skipped: dict[str, Count] = Field(
        default_factory=dict, description="By reason: alerts whose evidence was not kept."
    )
    temperatures_celsius: dict[str, float] = Field(default_factory=dict, description="By thermal zone.")
    memory_bytes: Count | None = Field(default=None, description="Resident memory of the service.")
    refused_requests: Count = Field(default=0, description="Commands and requests that were refused.")
    clock_jumps: Count = Field(default=0, description="How often the wall clock was set.")


class SetCommand(Command):
    """Change how a camera alerts; what is not named stays. Kept across restarts."""

    armed: bool | None = Field(default=None, description="Whether alerts are raised.")
    thresholds: dict[str, Threshold] | None = Field(
        default=None, description="By class: the score at which it raises.", min_length=1, max_length=64
    )

    @model_validator(mode="after")
    def _says_something(self) -> SetCommand:
        if self.armed is None and self.thresholds is None:
            raise ValueError("nothing to set; give `armed`, `thresholds` or both")
        return self


class SetResult(Payload):
    """What holds after a command that was obeyed."""

    schema_name: Literal["whycam.set.result/1"] = Field(
        default="whycam.set.result/1", alias="schema", description="Name and version."
    )
    request_id: str | None = None
    device: str
    camera: str
    time: Timestamp
    armed: bool
    thresholds: dict[str, Share] = Field(description="Of all classes that raise.")


MethodName = Annotated[str, Field(json_schema_extra={"enum": list(METHODS)}), AfterValidator(_one_of(METHODS))]
TimeMethodName = Annotated[
    str, Field(json_schema_extra={"enum": list(TIME_METHODS)}), AfterValidator(_one_of(TIME_METHODS))
]


class ExplainRequest(Command):
    """Ask why a camera's window is scored as it is."""

    window: Literal["latest", "alert"] = Field(
        default="latest",
        description="latest: the newest full window; alert: the one that raised the camera's newest alert.",
    )
    label: str | None = Field(
        default=None, min_length=1, max_length=128, description="The class to explain; null: the window's own label."
    )
    method: MethodName | None = Field(default=None, description="Where; null: the device's setting.")
    time_method: TimeMethodName | None = Field(default=None, description="When; null: the device's setting.")
    versus: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="The class to contrast with; `normal`: the normal one; `none`: none; null: the device's setting.",
    )
    counter: bool = Field(
        default=False, description="Show what speaks against the class instead of what speaks for it."
    )
    reference: Literal["auto", "usual", "none"] | None = Field(
        default=None,
        description="usual: show what differs from what the camera usually shows; auto: once that is known; null: the "
        "device's setting.",
    )
    heatmaps: Literal["none", "top", "all"] = Field(
        default="top", description="Which frames to answer with under their heat maps: none, the most relevant, or all."
    )


class ExplainResponse(Payload):
    """Why: the answer to a request."""

    schema_name: Literal["whycam.explain.response/1"] = Field(
        default="whycam.explain.response/1", alias="schema", description="Name and version."
    )
    request_id: str | None = None
    device: str
    camera: str
    time: Timestamp = Field(description="When the answer was made.")
    window: Literal["latest", "alert"]
    alert: str | None = Field(
        default=None, description="The episode that the window raised; null for the latest window."
    )
    label: str = Field(description="The class that is explained.")
    scores: dict[str, Share] = Field(description="By class, of the window.")
    explanation: ExplanationSummary
    heatmaps: list[ExplainedFrame] = Field(
        default_factory=list, description="The frames asked for, oldest first; their heat maps share one scale."
    )


class InstallCommand(Command):
    """Have a bundle fetched and installed, where the device's configuration allows that."""

    url: str | None = Field(default=None, min_length=1, max_length=2048, description="Where its archive is.")
    file: str | None = Field(
        default=None, min_length=1, max_length=4096, description="Else: where its archive is on the device."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="The SHA-256 of the archive.")

    @model_validator(mode="after")
    def _names_one_place(self) -> InstallCommand:
        if (self.url is None) == (self.file is None):
            raise ValueError("must have one of `url` and `file`")
        return self


class InstallResult(Payload):
    """How far a bundle is that was sent for. How it does on trial, `.../bundles` tells."""

    schema_name: Literal["whycam.install.result/1"] = Field(
        default="whycam.install.result/1", alias="schema", description="Name and version."
    )
    request_id: str | None = None
    device: str
    time: Timestamp
    state: Literal["accepted", "installed"] = Field(
        description="accepted: it will be fetched, and another answer follows; installed: it is current, on trial."
    )
    sha256: str = Field(description="As it was sent for.")
    name: str | None = Field(default=None, description="The model's name; null until it is installed.")
    version: str | None = Field(default=None, description="The model's version; null until it is installed.")
    id: str | None = Field(default=None, description="The bundle's id; null until it is installed.")
    previous: str | None = Field(default=None, description="The id of the one that was current; null: none.")
    changed: bool | None = Field(default=None, description="Whether it was not current already.")


ErrorCode = Literal["invalid", "too-large", "retained", "unknown-camera", "busy", "not-ready", "forbidden", "failed"]


class ErrorPayload(Payload):
    """Why a command or request was refused; nothing has changed."""

    schema_name: Literal["whycam.error/1"] = Field(
        default="whycam.error/1", alias="schema", description="Name and version."
    )
    request_id: str | None = None
    device: str
    camera: str | None = Field(default=None, description="Null where it was not of a camera.")
    time: Timestamp
    code: ErrorCode = Field(
        description="invalid: it breaks its schema or names what there is not; too-large; retained: what commands must "
        "not be; unknown-camera; busy: too many at once, ask again; not-ready: there is no window to explain yet; "
        "forbidden: the device's configuration does not allow it; failed: it was tried, and went wrong."
    )
    message: str = Field(description="One line: what is wrong and what to do.")


PUBLISHED: tuple[type[Payload], ...] = (
    AlertPayload,
    StatePayload,
    DriftPayload,
    ScorePayload,
    ShadowPayload,
    DisagreementPayload,
    BundlesPayload,
    TelemetryPayload,
    SetResult,
    ExplainResponse,
    InstallResult,
    ErrorPayload,
)
COMMANDS: tuple[type[Command], ...] = (SetCommand, ExplainRequest, InstallCommand)
