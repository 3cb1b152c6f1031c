"""What each graph of a bundle takes and gives, by its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field

from whycam.bundle import Manifest

Shape = tuple["int | None", ...]
"""A dimension that is None is free: the graph takes any size there."""

F32, U8 = "tensor(float)", "tensor(uint8)"


@dataclass(frozen=True)
class GraphSpec:
    """A graph's file, and the shapes of its inputs and outputs; all f32 but for the inputs named in `uint8`."""

    file: str
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    uint8: frozenset[str] = field(default=frozenset())

    def input_type(self, name: str) -> str:
        """ONNX Runtime's name for the type of input `name`."""
        return U8 if name in self.uint8 else F32


def features_spec(manifest: Manifest, file: str) -> GraphSpec:
    """The feature extractor in `file`: frames in, features and maps out."""
    size = manifest.input
    return GraphSpec(
        file,
        {"frames": (None, size.height, size.width, 3)},
        {"features": (None, manifest.features), "maps": (None, *_map_shape(manifest))},
        uint8=frozenset({"frames"}),
    )


def head_spec(manifest: Manifest) -> GraphSpec:
    """The head over whole windows."""
    return GraphSpec("head.onnx", {"window": (None, manifest.window.frames, manifest.features)}, _scored(manifest))


def step_spec(manifest: Manifest) -> GraphSpec:
    """The head as a sliding window of constant depth: one frame's features and the states in, the next states out."""
    states: dict[str, Shape] = {state.name: (None, *state.shape) for state in manifest.step.states}
    return GraphSpec(
        "step.onnx",
        {"features": (None, manifest.features), **states},
        {**_scored(manifest), **{f"{name}_next": shape for name, shape in states.items()}},
    )


def head_vjp_spec(manifest: Manifest) -> GraphSpec:
    """The gradient of a target of logits with respect to the window's features."""
    window: Shape = (manifest.window.frames, manifest.features)
    classes: Shape = (len(manifest.classes),)
    return GraphSpec(
        "head_vjp.onnx", {"window": window, "target": classes}, {"logits": classes, "feature_gradient": window}
    )


def maps_vjp_spec(manifest: Manifest) -> GraphSpec:
    """The gradient with respect to the maps, from the gradient with respect to the features."""
    maps: Shape = (None, *_map_shape(manifest))
    return GraphSpec(
        "maps_vjp.onnx", {"maps": maps, "feature_gradient": (None, manifest.features)}, {"map_gradient": maps}
    )


def _scored(manifest: Manifest) -> dict[str, Shape]:
    classes = len(manifest.classes)
    return {"logits": (None, classes), "scores": (None, classes)}


def _map_shape(manifest: Manifest) -> tuple[int, int, int]:
    return manifest.cam.channels, manifest.cam.height, manifest.cam.width
