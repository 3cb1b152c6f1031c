"""The methods of explanation by name: what each asks of the model, what it answers, costs and comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError
from whycam.explain import cams, perturbation, pixels, time
from whycam.explain.inquiry import Inquiry

Maps = NDArray[np.float32]
Family = Literal["class activation", "pixels", "recurrent", "perturbation"]


@dataclass(frozen=True)
class Way:
    """What is known of a method before it is run."""

    question: str
    """What it answers."""
    cost: str
    """What is computed for it."""
    paper: str
    needs: tuple[str, ...] = ()
    """The bundle's graphs that it runs, beside those that score."""
    of_class: bool = True
    """Whether it knows the class that is explained; others show what the model looks at in any case."""
    of_reference: bool = True
    """Whether it asks what the camera usually shows, where that is the reference; others answer the same without."""
    caution: str | None = None
    """What measuring it has shown that its user must know."""


@dataclass(frozen=True)
class Method(Way):
    """A method that says where: `heatmaps` gives f32 [n, h, w], non-negative, for the frames that are asked for."""

    family: Family = "class activation"
    heatmaps: Callable[[Inquiry], Maps] = lambda ask: np.zeros((0, 0, 0), np.float32)


@dataclass(frozen=True)
class TimeMethod(Way):
    """A method that says when: `shares` gives f32 [T], the part of each frame of the window."""

    shares: Callable[[Inquiry], NDArray[np.float32]] = time.relevance


def _weighed(name: str, cam: Callable[[Maps, Maps], Maps]) -> Callable[[Inquiry], Maps]:
    return lambda ask: cams.fuse(ask.cams(name, cam))


def _unweighed(cam: Callable[[Maps], Maps]) -> Callable[[Inquiry], Maps]:
    return lambda ask: cams.fuse([cam(maps) for maps in ask.maps])


def _excitation(ask: Inquiry) -> Maps:
    """Excitation backprop (Zhang et al. 2016, eq. 3 to 5; in time, Bargal et al. 2018), summed over the channels."""
    return cams.relu(ask.map_excitation(ask.excitation).sum(axis=1))


def _contrastive_excitation(ask: Inquiry) -> Maps:
    """Its contrastive form (Zhang et al. 2016, section 3.3): less what wins for the opposite of the target."""
    return cams.relu(ask.map_excitation(ask.excitation - ask.counter_excitation).sum(axis=1))


def _attention(ask: Inquiry) -> Maps:
    """The model's own weights: those of the places in a frame, times those of the frames (Bahdanau et al. 2015)."""
    return ask.place_attention * ask.frame_attention[list(ask.chosen)][:, np.newaxis, np.newaxis]


_BACK = "the head and the CNN above the CAM layer, once backwards"
_CNN = "the head once, the whole CNN forwards and backwards"
_CAMS: dict[str, Any] = {"cost": _BACK, "needs": ("head_vjp", "maps_vjp")}
_OF_THE_CNN = (
    "Fails a sanity check, it hardly changes with the head's weights: it shows what the CNN sees rather than what that "
    "was taken for."
)
_NO_BETTER = "On drawn scenes, blurring what it shows moved the score no more than blurring at random."
_CACHED: dict[str, Any] = {"cost": "next to nothing: the maps are in the window", "of_class": False}

METHODS: dict[str, Method] = {
    "grad-cam": Method(
        "which maps raise the target, wherever they are active",
        paper="Selvaraju et al. 2017",
        heatmaps=_weighed("grad-cam", cams.grad_cam),
        **_CAMS,
    ),
    "grad-cam++": Method(
        "the same, with several things of one kind in the frame",
        paper="Chattopadhay et al. 2018",
        heatmaps=_weighed("grad-cam++", cams.grad_cam_plus_plus),
        **_CAMS,
    ),
    "hirescam": Method(
        "which places raise or lower the target, on balance",
        paper="Draelos and Carin 2020",
        heatmaps=_weighed("hirescam", cams.hirescam),
        **_CAMS,
    ),
    "layercam": Method(
        "which places raise the target",
        paper="Jiang et al. 2021",
        heatmaps=_weighed("layercam", cams.layercam),
        **_CAMS,
    ),
    "xgrad-cam": Method(
        "which maps raise the target, weighed by how active they are",
        paper="Fu et al. 2020",
        heatmaps=_weighed("xgrad-cam", cams.xgrad_cam),
        **_CAMS,
    ),
    "eigen-cam": Method(
        "what the maps have in common, whatever the class",
        paper="Muhammad and Yeasin 2020",
        heatmaps=_unweighed(cams.eigen_cam),
        **_CACHED,
    ),
    "activation": Method(
        "what the CNN responds to, whatever the class",
        paper="Poirier 2024",
        heatmaps=_unweighed(cams.activation),
        **_CACHED,
    ),
    "attention": Method(
        "what the model's attention weighs, whatever the class",
        cost="the head and the CNN above the CAM layer, once forwards",
        paper="Bahdanau et al. 2015",
        needs=("maps_attention", "head_attention"),
        of_class=False,
        of_reference=False,
        heatmaps=_attention,
    ),
    "saliency": Method(
        "which pixels the target is most sensitive to",
        cost=_CNN,
        paper="Simonyan et al. 2014",
        needs=("head_vjp", "pixels_vjp"),
        family="pixels",
        of_reference=False,
        heatmaps=pixels.saliency,
    ),
    "gradient-x-input": Method(
        "each pixel's part in the target, to first order",
        cost=_CNN,
        paper="Shrikumar et al. 2017",
        needs=("head_vjp", "pixels_vjp"),
        family="pixels",
        caution=_NO_BETTER,
        of_reference=False,
        heatmaps=pixels.gradient_x_input,
    ),
    "smoothgrad": Method(
        "saliency that a little noise does not change",
        cost=f"saliency's {pixels.NOISY_COPIES} times, and the CNN as often forwards",
        paper="Smilkov et al. 2017",
        needs=("head_vjp", "pixels_vjp"),
        family="pixels",
        of_reference=False,
        heatmaps=pixels.smoothgrad,
    ),
    "integrated-gradients": Method(
        "each pixel's part in the target, against a black frame",
        cost=f"saliency's {pixels.STEPS} times, and the CNN as often forwards",
        paper="Sundararajan et al. 2017",
        needs=("head_vjp", "pixels_vjp"),
        family="pixels",
        caution=_NO_BETTER,
        of_reference=False,
        heatmaps=pixels.integrated_gradients,
    ),
    "guided-backprop": Method(
        "which pixels make the edges and textures that the CNN knows",
        cost=_CNN,
        paper="Springenberg et al. 2015",
        needs=("head_vjp", "pixels_guided"),
        caution=_OF_THE_CNN,
        family="pixels",
        of_reference=False,
        heatmaps=pixels.guided_backprop,
    ),
    "guided-grad-cam": Method(
        "those pixels, where Grad-CAM points",
        cost=f"{_CNN}, and Grad-CAM's",
        paper="Selvaraju et al. 2017",
        needs=("head_vjp", "maps_vjp", "pixels_guided"),
        family="pixels",
        heatmaps=pixels.guided_grad_cam,
    ),
    "excitation": Method(
        "where the neurons that win for the target look, through time and space",
        cost="the head and the CNN above the CAM layer, once forwards and backwards",
        paper="Zhang et al. 2016; Bargal et al. 2018",
        needs=("head_excitation", "maps_excitation"),
        family="recurrent",
        caution=_OF_THE_CNN,
        of_reference=False,
        heatmaps=_excitation,
    ),
    "contrastive-excitation": Method(
        "the same, less where the neurons that win for its opposite look",
        cost="the head twice, and the CNN above the CAM layer once, forwards and backwards",
        paper="Zhang et al. 2016; Bargal et al. 2018",
        needs=("head_excitation", "maps_excitation"),
        family="recurrent",
        of_reference=False,
        heatmaps=_contrastive_excitation,
    ),
    "occlusion": Method(
        "how far the target falls without each place",
        cost=f"the CNN above the CAM layer, up to {perturbation.GRID + 1}² times a frame",
        paper="Zeiler and Fergus 2014; Byun and Lee 2022",
        needs=("head", "upper"),
        family="perturbation",
        heatmaps=perturbation.occlusion,
    ),
    "rise": Method(
        "which places the target needs to see, on average over what else is seen",
        cost=f"the CNN above the CAM layer, {perturbation.MASKS} times a frame",
        paper="Petsiuk et al. 2018",
        needs=("head", "upper"),
        family="perturbation",
        caution="On drawn scenes it pointed no better than the middle of the frame.",
        heatmaps=perturbation.rise,
    ),
}

TIME_METHODS: dict[str, TimeMethod] = {
    "relevance": TimeMethod(
        "each frame's part in the target, to first order",
        cost="the head, once backwards",
        paper="Shrikumar et al. 2017",
        needs=("head_vjp",),
        shares=time.relevance,
    ),
    "leave-one-out": TimeMethod(
        "how far the target falls without each frame",
        cost="the head, T + 1 times in one batch",
        paper="Robnik-Sikonja and Kononenko 2008",
        needs=("head",),
        shares=time.leave_one_out,
    ),
    "keep-one": TimeMethod(
        "how far each frame alone lifts the target",
        cost="the head, T + 1 times in one batch",
        paper="Robnik-Sikonja and Kononenko 2008",
        needs=("head",),
        shares=time.keep_one,
    ),
    "attention": TimeMethod(
        "how the model's attention weighs the frames, whatever the class",
        cost="the head, once",
        paper="Bahdanau et al. 2015",
        needs=("head_attention",),
        of_class=False,
        of_reference=False,
        shares=time.attention,
    ),
}


def method_named(name: str, counter: bool = False) -> Method:
    """The method `name`; raises InputError, naming those there are, where there is none.

    With `counter` also where it knows no class, and so nothing that speaks against one.
    """
    found: Method = _named(METHODS, name, "method", counter)
    return found


def time_method_named(name: str, counter: bool = False) -> TimeMethod:
    """The method in time `name`; as `method_named`."""
    found: TimeMethod = _named(TIME_METHODS, name, "method in time", counter)
    return found


def offered(methods: Mapping[str, Way], graphs: Collection[str]) -> tuple[str, ...]:
    """The names of those `methods` that need no other than these `graphs` of a bundle."""
    return tuple(name for name, method in methods.items() if set(method.needs) <= set(graphs))


def _named(methods: Mapping[str, Any], name: str, kind: str, counter: bool) -> Any:
    if name not in methods:
        raise InputError(f"{kind} '{name}': there are {', '.join(methods)}")
    if counter and not methods[name].of_class:
        able = ", ".join(name for name, method in methods.items() if method.of_class)
        raise InputError(f"{kind} '{name}' knows no class, so nothing speaks against one: choose of {able}")
    return methods[name]
