"""What `whycam.toml` may hold: a model for each table, a description for each key."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from whycam.default_methods import METHOD, TIME
from whycam.deployment.origins import Origins
from whycam.explain.methods import METHODS, TIME_METHODS
from whycam.sources.network import without_credentials
from whycam.sources.uri import is_live


def _no_empty_level(prefix: str) -> str:
    if prefix.endswith("/") or "//" in prefix:
        raise ValueError("has an empty level: take out the '/' at its end, or the second of two")
    return prefix


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Share = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86400)]
Point = tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]]
TopicPrefix = Annotated[str, Field(pattern=r"^[^+#$/\s\x00][^+#\s\x00]{0,127}$"), AfterValidator(_no_empty_level)]
MIB = 1024 * 1024


class Table(BaseModel):
    """A table of the file: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, validate_default=True
    )


class Broker(Table):
    """The MQTT broker that alerts go to."""

    host: str = Field(default="localhost", min_length=1, description="name or address")
    port: int | None = Field(default=None, ge=1, le=65535, description="by default 1883, with TLS 8883")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="the version of MQTT")
    tls: bool = Field(default=False, description="encrypt, and check the broker's certificate")
    ca_file: Path | None = Field(
        default=None, description="the authority that signed the broker's certificate; by default the system's"
    )
    certificate_file: Path | None = Field(default=None, description="the device's own certificate, with key_file")
    key_file: Path | None = Field(default=None, description="the key of certificate_file")
    username: str | None = Field(default=None, min_length=1, description="who the device is to the broker")
    password_file: Path | None = Field(default=None, description="a file that holds the password")
    password_credential: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="the password as a credential of systemd: a name in $CREDENTIALS_DIRECTORY",
    )
    client_id: str | None = Field(default=None, min_length=1, max_length=128, description="by default whycam-DEVICE")
    keepalive_seconds: int = Field(
        default=15, ge=5, le=3600, description="a broker that is silent for half as long again is gone"
    )
    root: TopicPrefix = Field(default="whycam", description="the first level of all topics, or several: site/whycam")
    score_seconds: float = Field(
        default=1.0, ge=0.1, le=3600, description="the least time between two score messages of a camera"
    )
    telemetry_seconds: float = Field(
        default=30.0, ge=1, le=86400, description="the time between two telemetry messages"
    )
    home_assistant: bool = Field(default=True, description="announce the device to Home Assistant")
    discovery_prefix: TopicPrefix = Field(
        default="homeassistant", description="where Home Assistant listens for devices"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Broker:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: give both or neither")
        if not self.tls and (self.ca_file or self.certificate_file):
            raise ValueError("ca_file and certificate_file need `tls = true`")
        if self.password_file is not None and self.password_credential is not None:
            raise ValueError("password_file and password_credential exclude each other: keep one")
        if self.username is None and (self.password_file or self.password_credential):
            raise ValueError("a password needs a username")
        return self

    @property
    def port_number(self) -> int:
        """The port to connect to."""
        return self.port or (8883 if self.tls else 1883)


class Outbox(Table):
    """Alerts on disk until the broker has them."""

    max_bytes: int = Field(
        default=64 * MIB,
        ge=MIB,
        description="bytes of waiting messages; beyond, heat maps are given up before alerts",
    )
    max_age_days: float = Field(
        default=30.0, gt=0, le=3650, description="days after which a waiting message is given up"
    )


class Evidence(Table):
    """What is kept of each alert on the device."""

    enabled: bool = Field(default=True, description="keep a folder per alert: JSON, heat maps, a short clip")
    clip_seconds: float = Field(default=10.0, ge=1, le=120, description="seconds of video before the alert")
    max_bytes: int = Field(
        default=1024 * MIB, ge=MIB, description="bytes of all evidence; beyond, the oldest is deleted"
    )
    max_age_days: float = Field(default=30.0, gt=0, le=3650, description="days after which evidence is deleted")
    min_free_bytes: int = Field(
        default=256 * MIB,
        ge=0,
        description="bytes that stay free on the disk: else alerts go without evidence, and no bundle is installed",
    )


class Explain(Table):
    """How alerts are explained."""

    method: str = Field(default=METHOD, description="where: a method that `whycam explain --list` tells of")
    time: str = Field(default=TIME, description="when: relevance, leave-one-out, keep-one or attention")
    versus: str = Field(
        default="normal", min_length=1, description="the class to contrast with: `normal`, a class's name, or `none`"
    )
    frames: int | Literal["all"] = Field(
        default="all", description="frames that get heat maps: `all`, or how many of the most relevant ones"
    )
    reference: Literal["auto", "usual", "none"] = Field(
        default="auto",
        description="`usual`: explain what differs from what the camera usually shows; `auto`: once that is known",
    )
    within_seconds: float = Field(
        default=1.5,
        ge=0,
        le=30,
        description="how long an alert may wait for its reasons; later they follow as an update",
    )
    idle_seconds: Seconds = Field(
        default=300.0,
        description="until an explanation is asked for, and when none was for so long, its graphs are not in memory: "
        "opening them takes a second or so; 0: they always are",
    )

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in METHODS:
            raise ValueError(f"there is no method '{value}'; give one of {', '.join(METHODS)}")
        return value

    @field_validator("time")
    @classmethod
    def _known_in_time(cls, value: str) -> str:
        if value not in TIME_METHODS:
            raise ValueError(f"there is no method in time '{value}'; give one of {', '.join(TIME_METHODS)}")
        return value

    @field_validator("frames")
    @classmethod
    def _some(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError(f'{value} frames are none; give 1 or more, or "all"')
        return value


class Bundles(Table):
    """Which bundles this device takes, and where it keeps those that `whycam bundle install` has put there."""

    directory: Path | None = Field(
        default=None, description="where installed bundles are; by default `bundles` in the state directory"
    )
    trust_directory: Path | None = Field(
        default=None,
        description="public keys, NAME.pub: only bundles that one of them has signed are installed and run; by default "
        "none is asked for",
    )
    allow_unsigned: bool = Field(
        default=False, description="run what nobody trusted has signed, and let `--allow-unsigned` install it"
    )
    grace_seconds: float = Field(
        default=120.0,
        ge=1,
        le=3600,
        description="a new bundle must score frames within so long, or the one before takes its place again",
    )
    over_the_air: tuple[str, ...] = Field(
        default=(),
        description="where bundles may come from that are sent for over MQTT: beginnings of URLs, and folders; none: "
        "such commands are refused",
    )

    @field_validator("over_the_air")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Origins(value)
        return value


class Metrics(Table):
    """Prometheus metrics at /metrics and the service's health at /healthz."""

    enabled: bool = Field(default=True, description="serve them")
    host: str = Field(default="127.0.0.1", description="a loopback address: nothing else may read them")
    port: int = Field(default=9464, ge=0, le=65535, description="0: any free one, named in the log")

    @field_validator("host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        try:
            loopback = value == "localhost" or ipaddress.ip_address(value).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ValueError(f"'{value}' is no loopback address; give 127.0.0.1, ::1 or localhost")
        return value


class AlertRules(Table):
    """When scores become an episode, and when it ends."""

    clear_ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="an episode goes on while the score is at least this share of the threshold; by default as the "
        "bundle was calibrated, else 0.8",
    )
    minimum_seconds: Seconds | None = Field(
        default=None,
        description="how long the threshold must be held before an alert is raised; by default as the bundle was "
        "calibrated, else 0.5",
    )
    merge_seconds: Seconds = Field(
        default=3.0, description="a dip below the clearing score that is shorter does not end the episode"
    )
    cool_down_seconds: Seconds = Field(
        default=10.0, description="after an episode, no other of its class is raised for so long"
    )
    update_seconds: float = Field(
        default=10.0, ge=1, le=86400, description="the time between updates of an episode that goes on"
    )
    signal_lost_seconds: float = Field(
        default=30.0, ge=1, le=86400, description="without a scored frame for so long, an episode is cleared"
    )


class Motion(Table):
    """The motion gate: a picture in which nothing moves keeps the features of the one before."""

    enabled: bool = Field(default=False, description="use the gate")
    threshold: Share = Field(
        default=0.02,
        description="what counts as motion: the mean change of the block that changed most, 1 is black to white",
    )
    refresh_seconds: float = Field(
        default=10.0, gt=0, le=3600, description="the features are computed anew at least so often"
    )


class Drift(Table):
    """Whether the camera still shows what its bundle was calibrated on."""

    enabled: bool = Field(
        default=True, description="compare with the bundle's statistics, where `whycam calibrate drift` has made some"
    )


class Shadow(Table):
    """A candidate that judges the same frames beside the camera's bundle, and never alerts."""

    bundle: Path = Field(description="the candidate's bundle, as /var/lib/whycam/bundles/NAME/candidate")
    precision: str | None = Field(default=None, description="by default the camera's")
    providers: tuple[str, ...] | None = Field(default=None, description="by default the camera's")
    threshold: Share | dict[str, Share] | None = Field(
        default=None,
        description="the score at which the candidate would raise an alert; by default its bundle's, whatever the "
        "camera's is",
    )
    within_seconds: Seconds = Field(
        default=5.0, description="they disagree about an episode that one raises and the other not within so long"
    )
    disagreements_per_hour: int = Field(
        default=12, ge=0, le=3600, description="so many are published with heat maps at most; all are counted"
    )


class Zone(Table):
    """A polygon of the picture."""

    name: str = Field(min_length=1, max_length=64, description="told in alerts")
    kind: Literal["watch", "mask"] = Field(
        default="watch", description="watch: only such zones are watched; mask: this is not looked at"
    )
    polygon: tuple[Point, ...] = Field(
        min_length=3, description="corners [x, y] as shares of the picture's width and height, from its top left"
    )


class Camera(Table):
    """A camera, the model that watches it, and when it alerts."""

    name: Name = Field(description="a level of its topics: letters, digits, '_' and '-'")
    source: str = Field(
        min_length=1,
        description="rtsp://HOST/PATH, http://HOST/PATH (MJPEG), v4l2:/dev/video0, csi://0, images:FOLDER or a video",
    )
    credentials_file: Path | None = Field(default=None, description="a file that holds `user:password` for the source")
    credentials_credential: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="the same as a credential of systemd: a name in $CREDENTIALS_DIRECTORY",
    )
    bundle: Path = Field(description="the model: a bundle that `whycam export` wrote")
    precision: str = Field(default="fp32", description="which of the bundle's feature extractors to run")
    providers: tuple[str, ...] | None = Field(
        default=None,
        description="cpu, cuda or tensorrt, in order of preference; by default CUDA where it is there, then the CPU",
    )
    armed: bool = Field(default=True, description="raise alerts; can be set over MQTT, which then stands")
    threshold: Share | dict[str, Share] | None = Field(
        default=None,
        description="the score at which an alert is raised, for all classes or by class; by default the bundle's",
    )
    playback: Literal["real-time", "fast"] = Field(
        default="real-time", description="for files: at their own pace, or as fast as they can be scored"
    )
    repeat: bool = Field(default=False, description="for files: begin again at the end")
    alert: AlertRules = AlertRules()
    motion: Motion = Motion()
    drift: Drift = Drift()
    shadow: Shadow | None = None
    zones: tuple[Zone, ...] = Field(default=(), alias="zone")
    stall_seconds: float = Field(
        default=10.0, ge=1, le=600, description="a camera that gives no frame for so long is opened anew"
    )
    frozen_seconds: Seconds = Field(default=60.0, description="the very same picture for so long is a fault; 0: never")
    black_seconds: Seconds = Field(default=30.0, description="a black picture for so long is a fault; 0: never")

    @field_validator("source")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        authority = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/]*@)", value)
        if authority is not None:
            raise ValueError(
                f"holds a user name or password; write {without_credentials(value)} here, put `user:password` into a "
                "file of its own, and name that in credentials_file"
            )
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Camera:
        if is_live(self.source) and (self.playback != "real-time" or self.repeat):
            raise ValueError("playback and repeat are for files, this source is live")
        if self.credentials_file is not None and self.credentials_credential is not None:
            raise ValueError("credentials_file and credentials_credential exclude each other: keep one")
        return self

    @property
    def candidate(self) -> Camera | None:
        """The camera as it would be after a switch to the shadow's bundle; None without a shadow."""
        shadow = self.shadow
        if shadow is None:
            return None
        return self.model_copy(
            update={
                "bundle": shadow.bundle,
                "precision": shadow.precision or self.precision,
                "providers": shadow.providers or self.providers,
                "threshold": shadow.threshold,
                "shadow": None,
            }
        )


class Config(Table):
    """A device."""

    device: Name = Field(description="its name, a level of all its topics: letters, digits, '_' and '-'")
    state_directory: Path | None = Field(
        default=None,
        description="where alerts wait and evidence is kept; by default $STATE_DIRECTORY, else whycam-state",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="cores that a model may use at once; by default all of them, which is fastest",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is logged"
    )
    broker: Broker = Broker()
    outbox: Outbox = Outbox()
    evidence: Evidence = Evidence()
    explain: Explain = Explain()
    bundles: Bundles = Bundles()
    metrics: Metrics = Metrics()
    cameras: tuple[Camera, ...] = Field(min_length=1, alias="camera")

    @model_validator(mode="after")
    def _names_differ(self) -> Config:
        names = [camera.name for camera in self.cameras]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two cameras are called '{name}': each needs a name of its own")
        return self

    @property
    def bundle_directory(self) -> Path:
        """Where installed bundles are."""
        return self.bundles.directory or self.state / "bundles"

    @property
    def state(self) -> Path:
        """Where the device keeps what must not be lost."""
        if self.state_directory is not None:
            return self.state_directory
        # systemd gives several folders separated by colons where several are configured.
        given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return Path(given) if given else Path("whycam-state")
