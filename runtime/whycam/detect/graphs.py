"""What each graph of a bundle takes and gives, by its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from whycam.bundle import Manifest

Shape = tuple["int | None", ...]
"""A dimension that is None is free: the graph takes any size there."""

F32, U8 = "tensor(float)", "tensor(uint8)"

Role = Literal["features", "step", "head", "explanation"]

AT_ONCE = 8
"""Pictures that go through the whole CNN at once, and cameras whose windows slide at once: more take more memory and
are no faster."""
MAPS_AT_ONCE = 64
"""Sets of maps, and of windows made of them, that explanations by hiding places ask about at once."""
FREE = "N"
"""What export calls the free size of a graph's inputs: that of the batch."""


@dataclass(frozen=True)
class GraphSpec:
    """A graph's file, and the shapes of its inputs and outputs; all f32 but for the inputs named in `uint8`."""

    file: str
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    uint8: frozenset[str] = field(default=frozenset())
    role: Role = "explanation"
    most: int = 1
    """The largest batch that is run; 1 where the graph has no free size."""

    def input_type(self, name: str) -> str:
        """ONNX Runtime's name for the type of input `name`."""
        return U8 if name in self.uint8 else F32


def features_spec(manifest: Manifest, file: str) -> GraphSpec:
    """The feature extractor in `file`: frames in, features and the maps of each CAM layer out."""
    return GraphSpec(
        file,
        {"frames": _frames(manifest)},
        {"features": (None, manifest.features), **_maps(manifest, "maps")},
        uint8=frozenset({"frames"}),
        role="features",
        most=AT_ONCE,
    )


def head_spec(manifest: Manifest) -> GraphSpec:
    """The head over whole windows."""
    return GraphSpec(
        "head.onnx",
        {"window": (None, manifest.window.frames, manifest.features)},
        _scored(manifest),
        role="head",
        # Explanations ask about the window without each of its frames, and about the window as it is.
        most=max(MAPS_AT_ONCE, manifest.window.frames + 1),
    )


def step_spec(manifest: Manifest, file: str = "step.onnx") -> GraphSpec:
    """The head in `file` as a sliding window of constant depth: a frame's features and the states in, the next out."""
    states: dict[str, Shape] = {state.name: (None, *state.shape) for state in manifest.step.states}
    return GraphSpec(
        file,
        {"features": (None, manifest.features), **states},
        {**_scored(manifest), **{f"{name}_next": shape for name, shape in states.items()}},
        role="step",
        most=AT_ONCE,
    )


def upper_spec(manifest: Manifest) -> GraphSpec:
    """The CNN above the first CAM layer: what its features would be for other maps."""
    return GraphSpec(
        "upper.onnx",
        {"maps": _first_maps(manifest)},
        {"features": (None, manifest.features)},
        most=max(MAPS_AT_ONCE, manifest.window.frames),
    )


def head_vjp_spec(manifest: Manifest) -> GraphSpec:
    """The gradient of a target of logits with respect to the window's features."""
    window: Shape = (manifest.window.frames, manifest.features)
    classes: Shape = (len(manifest.classes),)
    return GraphSpec(
        "head_vjp.onnx", {"window": window, "target": classes}, {"logits": classes, "feature_gradient": window}
    )


def maps_vjp_spec(manifest: Manifest) -> GraphSpec:
    """The gradient with respect to the maps of each CAM layer, from the gradient with respect to the features."""
    return GraphSpec(
        "maps_vjp.onnx",
        {"maps": _first_maps(manifest), "feature_gradient": (None, manifest.features)},
        _maps(manifest, "map_gradient"),
        most=manifest.window.frames,
    )


def pixels_spec(manifest: Manifest, file: str) -> GraphSpec:
    """The gradient with respect to the frames' pixels, true or guided, through the whole CNN."""
    return GraphSpec(
        file,
        {"frames": _frames(manifest), "feature_gradient": (None, manifest.features)},
        {"pixel_gradient": _frames(manifest)},
        uint8=frozenset({"frames"}),
        most=min(AT_ONCE, manifest.window.frames),
    )


def head_excitation_spec(manifest: Manifest) -> GraphSpec:
    """The winning probabilities of the window's features, for a target of logits."""
    window: Shape = (manifest.window.frames, manifest.features)
    return GraphSpec(
        "head_excitation.onnx", {"window": window, "target": (len(manifest.classes),)}, {"feature_excitation": window}
    )


def maps_excitation_spec(manifest: Manifest) -> GraphSpec:
    """The winning probabilities of the first CAM layer's maps, from those of the features."""
    return GraphSpec(
        "maps_excitation.onnx",
        {"maps": _first_maps(manifest), "feature_excitation": (None, manifest.features)},
        {"map_excitation": _first_maps(manifest)},
        most=manifest.window.frames,
    )


def maps_attention_spec(manifest: Manifest) -> GraphSpec:
    """The weights that the model's attention gives the places of a frame."""
    return GraphSpec(
        "maps_attention.onnx",
        {"maps": _first_maps(manifest)},
        {"attention": (None, None, None)},
        most=manifest.window.frames,
    )


def head_attention_spec(manifest: Manifest) -> GraphSpec:
    """The weights that the model's attention gives the frames of a window."""
    window: Shape = (manifest.window.frames, manifest.features)
    return GraphSpec("head_attention.onnx", {"window": window}, {"attention": (manifest.window.frames,)})


def explanation_specs(manifest: Manifest) -> dict[str, GraphSpec]:
    """The graphs that explanations may ask for, by name, as far as the bundle has them."""
    specs = {
        "head": head_spec(manifest),
        "upper": upper_spec(manifest),
        "head_vjp": head_vjp_spec(manifest),
        "maps_vjp": maps_vjp_spec(manifest),
        "pixels_vjp": pixels_spec(manifest, "pixels_vjp.onnx"),
        "pixels_guided": pixels_spec(manifest, "pixels_guided.onnx"),
        "head_excitation": head_excitation_spec(manifest),
        "maps_excitation": maps_excitation_spec(manifest),
        "maps_attention": maps_attention_spec(manifest),
        "head_attention": head_attention_spec(manifest),
    }
    return {name: spec for name, spec in specs.items() if name == "head" or spec.file in manifest.files}


def numbered(name: str, index: int) -> str:
    """What a graph calls `name` for the CAM layer `index`: `maps`, `maps_2`, `maps_3`, ..."""
    return name if index == 0 else f"{name}_{index + 1}"


def _scored(manifest: Manifest) -> dict[str, Shape]:
    classes = len(manifest.classes)
    return {"logits": (None, classes), "scores": (None, classes)}


def _frames(manifest: Manifest) -> Shape:
    return (None, manifest.input.height, manifest.input.width, 3)


def _maps(manifest: Manifest, name: str) -> dict[str, Shape]:
    return {
        numbered(name, index): (None, cam.channels, cam.height, cam.width) for index, cam in enumerate(manifest.cams)
    }


def _first_maps(manifest: Manifest) -> Shape:
    return _maps(manifest, "maps")["maps"]
