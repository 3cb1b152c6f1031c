"""The models of a service: loaded once, proven able to explain, and small until they have to."""

from __future__ import annotations

import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_stub import Device
from tiny_bundle import SIZE, T

from whycam.config.models import Camera, Explain
from whycam.detect import Model
from whycam.detect.late import LateGraph
from whycam.errors import BundleError
from whycam.service import systemd
from whycam.service.models import Models


def camera(bundle: Path, name: str = "gate") -> Camera:
    return Camera(name=name, source="film.mp4", bundle=bundle)


def explain(model: Model) -> None:
    window = model.snapshot(np.zeros((T, SIZE, SIZE, 3), np.uint8))
    model.explain(window, label="fight")


def take_graphs(bundle: Path) -> None:
    for graph in bundle.glob("*.onnx"):
        graph.unlink()


def test_cameras_with_the_same_bundle_share_a_model(bundle: Path) -> None:
    models = Models(Explain(), None, lambda: None)
    assert models.of(camera(bundle)) is models.of(camera(bundle, "yard"))


def test_a_model_that_cannot_explain_is_known_at_the_start(bundle: Path) -> None:
    (bundle / "head_vjp.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="head_vjp"):
        Models(Explain(), None, lambda: None).of(camera(bundle))


def test_what_only_explanations_need_is_not_kept_until_one_is_asked_for(bundle: Path) -> None:
    model = Models(Explain(), None, lambda: None).of(camera(bundle))
    take_graphs(bundle)
    with pytest.raises(BundleError, match="missing from the bundle"):
        explain(model)


def test_it_is_kept_where_that_is_wished(bundle: Path) -> None:
    models = Models(Explain(idle_seconds=0), None, lambda: None)
    model = models.of(camera(bundle))
    take_graphs(bundle)
    models.rest()
    explain(model)


def test_it_is_kept_while_explanations_are_asked_for(bundle: Path) -> None:
    models = Models(Explain(idle_seconds=60), None, lambda: None)
    model = models.of(camera(bundle))
    explain(model)
    take_graphs(bundle)
    models.rest()
    explain(model)


def test_letting_go_waits_for_nobody_who_opens_a_graph() -> None:
    opening, go_on = threading.Event(), threading.Event()

    def make() -> Any:
        opening.set()
        go_on.wait(30)
        return "a graph"

    late = LateGraph(make)
    asking = threading.Thread(target=late, daemon=True)
    asking.start()
    assert opening.wait(30)
    assert late.let_go(0) is False
    go_on.set()
    asking.join(30)
    assert late() == "a graph"
    assert late.let_go(0) is True


def test_an_engine_that_is_built_is_told_to_systemd_which_is_asked_to_wait(
    bundle: Path, tmp_path: Path, gpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.build_seconds = 1.5 * systemd.beat_seconds()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        asked = camera(bundle).model_copy(update={"providers": ("tensorrt",)})
        model = Models(Explain(), None, partial(systemd.extend_timeout, 60)).of(asked)
        heard = list(iter(partial(_next, listening), None))

    assert model.providers == ("TensorrtExecutionProvider",)
    kept = f"which takes minutes (kept in {tmp_path / 'engines'})"
    loading, building, *rest = heard
    assert loading == "STATUS=loading colours.whycam"
    assert building == f"STATUS=loading colours.whycam: building TensorRT's engine of features.onnx, {kept}"
    assert rest[0] == "EXTEND_TIMEOUT_USEC=60000000"
    assert f"STATUS=loading colours.whycam: building TensorRT's engine of maps_vjp.onnx, {kept}" in rest


def _next(listening: socket.socket) -> str | None:
    try:
        return listening.recv(4096).decode()
    except BlockingIOError:
        return None
