"""The schema of `manifest.json`: what a bundle is, shared by the exporter that writes it and the device that reads."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA: Literal["whycam.bundle/1"] = "whycam.bundle/1"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
"""The signature lies beside the manifest, which it signs: neither is among the manifest's files."""

NAME_BYTES = 100
"""What the header of an archive's member holds of a name."""

# Control characters, those that turn the direction of writing, halves of characters, ends of lines.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def seen_text(text: str) -> str:
    """`text`; raises ValueError where it is empty or would do something to a terminal."""
    if not text or any(unicodedata.category(letter) in _UNSEEN for letter in text):
        raise ValueError("is empty or has characters that cannot be seen")
    return text


def plain_name(name: str) -> str:
    """`name`; raises ValueError where it is no file's, or might be another's than one in the folder where it is put."""
    if len(seen_text(name).encode()) > NAME_BYTES or unicodedata.normalize("NFC", name) != name:
        raise ValueError(f"is longer than {NAME_BYTES} bytes, or not in Unicode's composed form")
    if name.startswith(".") or "/" in name or "\\" in name:
        raise ValueError(f"'{name}' is no plain name: it begins with a dot, or has a slash")
    return name


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Annotated[int, Field(ge=1, le=1 << 24)]
"""A number of frames, pixels, maps or features: far beyond what any device computes with."""
Text = Annotated[str, AfterValidator(seen_text)]
"""A line of text that can be shown on a terminal."""
PlainName = Annotated[str, AfterValidator(plain_name)]
"""A name that is a file's in the folder where it is put, and never another's."""


class Part(BaseModel):
    """A part of the manifest: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Window(Part):
    """The sliding window over frames."""

    frames: Size = Field(description="T: frames in a window")
    frame_interval: float = Field(gt=0, description="seconds between two frames of a window")
    max_gap: float = Field(gt=0, description="seconds without a frame after which the window starts anew (cold)")


class FrameSize(Part):
    """The size that frames are resized to before the network, in pixels."""

    height: Size
    width: Size


class CamLayer(Part):
    """A layer whose maps the explanations weigh."""

    name: str
    channels: Size
    height: Size
    width: Size


class StateTensor(Part):
    """One state tensor of `step.onnx`: input `NAME`, output `NAME_next`, f32 [N, *shape], zero at the start."""

    name: str
    shape: tuple[int, ...]


class Step(Part):
    """The sliding window in constant depth, or why the head does not allow it."""

    available: bool
    states: tuple[StateTensor, ...] = ()
    reason: str | None = Field(default=None, description="why there is no step graph: the runtime re-runs the window")


class FileEntry(Part):
    """A file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0, le=1 << 53)


class Parity(Part, allow_inf_nan=True):
    """How far the graphs are from Keras, measured at export; the worst of all frames tried.

    Export refuses what is not finite, and says of which figure.
    """

    frames: int = Field(description="frames compared")
    features: float = Field(description="largest error of features over the largest feature")
    logits: float | None = Field(default=None, description="largest error of logits over the largest logit, or 1")
    scores: float = Field(description="largest absolute error of scores")
    heatmaps: float | None = Field(
        default=None,
        description="largest error of Grad-CAM maps over the window's largest value before the ReLU, or 0.001 logit",
    )
    features_rounding: float | None = Field(
        default=None, description="how far Keras's own features move where each pixel moves by its last bit"
    )
    heatmaps_rounding: float | None = Field(default=None, description="the same of its own Grad-CAM maps")
    pixels: float | None = Field(default=None, description="error of the pixel gradient's norm, over that norm")
    guided: float | None = Field(default=None, description="the same of guided backpropagation's")
    excitation: float | None = Field(default=None, description="probability that excitation gains on its way, or owes")
    attention: float | None = Field(default=None, description="largest absolute error of attention's weights")
    step: float | None = Field(default=None, description="largest absolute difference of scores, step against head")


class Calibrated(Part):
    """How a precision was made and what it cost, measured against fp32 on footage that it was not made from."""

    images: int = Field(ge=0, description="images that the ranges of its numbers were taken from")
    method: str | None = Field(default=None, description="how: minmax, entropy or percentile; none for fp16")
    higher: tuple[str, ...] = Field(default=(), description="layers left in higher precision")
    windows: int = Field(ge=0, description="windows compared")
    score_drift: float = Field(description="95th percentile of the largest change of a window's scores")
    score_drift_max: float = Field(description="the largest of them")
    agreement: float = Field(description="share of windows with the same label")
    flipped: int = Field(ge=0, description="windows that alert in one of the two only")
    heatmap_correlation: float | None = Field(default=None, description="median over frames of heat maps' correlation")
    heatmap_peak: float | None = Field(
        default=None, description="share of frames whose hottest point lies in the hottest tenth of fp32's map"
    )
    golden: str = Field(description="the file of what it gives for the golden window, on the machine that made it")


class AlertRule(Part):
    """When a class's episode goes on, and how long its score must hold before it is raised."""

    clear: Fraction = Field(description="score below which an episode ends")
    minimum_seconds: float = Field(ge=0, description="how long the threshold must be held before an alert is raised")


class Manifest(Part):
    """All that a device must know of a model."""

    schema_version: Literal["whycam.bundle/1"] = Field(default=SCHEMA, alias="schema")
    name: PlainName
    version: Text
    classes: tuple[Text, ...] = Field(min_length=2)
    normal: str = Field(description="the class that is no anomaly")
    window: Window
    input: FrameSize
    features: Size = Field(description="F: features of a frame")
    cams: tuple[CamLayer, ...] = Field(min_length=1, description="the layers that explain, in the order of the network")
    step: Step
    thresholds: dict[str, Fraction] = Field(description="score at which an anomalous class raises an alert")
    alert_rules: dict[str, AlertRule] = Field(
        default={}, description="anomalous class -> the rest of its rules, where calibration has set them"
    )
    temperature: float = Field(
        default=1.0, gt=0, description="scores are the softmax of the logits divided by it (Guo et al. 2017)"
    )
    precisions: dict[str, str] = Field(description="precision -> file of the feature extractor; `fp32` is always there")
    steps: dict[str, str] = Field(
        default={}, description="precision -> file of its step graph, where it has one of its own beside `step.onnx`"
    )
    calibrated: dict[str, Calibrated] = Field(default={}, description="precision -> how it was made and what it cost")
    drift: str | None = Field(default=None, description="the file of what features and scores usually are")
    parity: Parity
    provenance: dict[str, Any] = Field(description="where the model comes from: files, versions, options, time")
    files: dict[PlainName, FileEntry]

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Manifest:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes are not distinct")
        if self.normal not in self.classes:
            raise ValueError(f"normal class '{self.normal}' is not among the classes")
        anomalous = [name for name in self.classes if name != self.normal]
        if sorted(self.thresholds) != sorted(anomalous):
            raise ValueError("thresholds must name each class but the normal one")
        if "fp32" not in self.precisions:
            raise ValueError("precisions lack fp32")
        strangers = sorted(set(self.alert_rules) - set(anomalous))
        if strangers:
            raise ValueError(f"alert_rules name classes that are not anomalous: {', '.join(strangers)}")
        for name, rule in self.alert_rules.items():
            if rule.clear > self.thresholds[name]:
                raise ValueError(f"alert_rules: '{name}' clears at {rule.clear:g}, above its threshold")
        for key, named in (("calibrated", self.calibrated), ("steps", self.steps)):
            strangers = sorted(set(named) - set(self.precisions))
            if strangers:
                raise ValueError(f"{key} names precisions that are not there: {', '.join(strangers)}")
        if self.steps and not self.step.available:
            raise ValueError("steps are named, but step.available is false")
        wanted = [self.drift] if self.drift is not None else []
        wanted += [each.golden for each in self.calibrated.values()]
        missing = sorted(set(wanted) - set(self.files))
        if missing:
            raise ValueError(f"files lack {', '.join(missing)}")
        graphs = {*self.precisions.values(), *self.steps.values()}
        missing = sorted(graphs - set(self.files))
        if missing:
            raise ValueError(f"precisions or steps name files that are not in the bundle: {', '.join(missing)}")
        # ONNX Runtime goes by the ending: another would be read by other rules than those that are checked.
        strangers = sorted(name for name in graphs if not name.endswith(".onnx"))
        if strangers:
            raise ValueError(f"precisions or steps name files that do not end in .onnx: {', '.join(strangers)}")
        reserved = sorted({MANIFEST, SIGNATURE} & set(self.files))
        if reserved:
            raise ValueError(f"files name {', '.join(reserved)}")
        return self

    @property
    def anomalies(self) -> tuple[str, ...]:
        """The classes but the normal one, in the model's order."""
        return tuple(name for name in self.classes if name != self.normal)
