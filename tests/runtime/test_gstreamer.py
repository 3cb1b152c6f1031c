"""The pipelines that cameras are read through on a Jetson, as text and as GStreamer understands it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.rtsp_camera import BINDINGS, PACKAGES, PYTHON
from whycam.sources import gstreamer

NV12 = "nvvidconv ! video/x-raw, format=NV12 ! appsink drop=true max-buffers=1 sync=false"

HOSTILE = [
    "a b",
    'x" ! filesrc location="/etc/passwd" ! fakesink name="y',
    r"x\" ! fakesink",
    "ends in a backslash\\",
    '"in quotes"',
    "'in quotes'",
    r"\040",
    "NULL",
    "a=b ! c. ; d :: #e",
    "video/x-raw, {a} (b) [c] <d>",
    "two\nlines\tand a tab",
    "Tür größer 門",
    "",
]


def test_the_pipeline_of_a_csi_camera() -> None:
    assert gstreamer.csi(1, 1280, 720, 30) == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM), width=1280, height=720, framerate=30/1 ! " + NV12
    )


def test_the_pipeline_of_a_usb_camera() -> None:
    assert gstreamer.v4l2("/dev/video0", 640, 480, 30) == (
        r"v4l2src device=\"/dev/video0\" ! image/jpeg, width=640, height=480, framerate=30/1 ! "
        "nvv4l2decoder mjpeg=1 ! " + NV12
    )


def test_the_pipeline_of_a_network_camera() -> None:
    assert gstreamer.rtsp("rtsp://camera:554/stream", 2.5) == (
        r"rtspsrc location=\"rtsp://camera:554/stream\" protocols=tcp latency=0 tcp-timeout=2500000 ! "
        "application/x-rtp, media=video ! decodebin ! video/x-raw(memory:NVMM) ! " + NV12
    )


@pytest.mark.parametrize(
    ("url", "place", "user", "password"),
    [
        ("rtsp://guard:s3cret@camera/stream", "rtsp://camera/stream", "guard", "s3cret"),
        ("rtsp://guard:p%40ss%20%22word@camera/", "rtsp://camera/", "guard", 'p@ss "word'),
        ("rtsp://guard:p@ss:word@[::1]:554/s", "rtsp://[::1]:554/s", "guard", "p@ss:word"),
        ("RTSP://guard@camera/s", "RTSP://camera/s", "guard", ""),
    ],
)
def test_credentials_are_handed_over_apart_from_the_address(url: str, place: str, user: str, password: str) -> None:
    ((source, *_),) = parsed([software(gstreamer.rtsp(url, 10))], "location", "user-id", "user-pw")

    assert source == ["rtspsrc", {"location": place, "user-id": user, "user-pw": password}]


def test_an_at_sign_behind_the_host_parts_no_credentials() -> None:
    assert "user-id" not in gstreamer.rtsp("rtsp://camera/stream@2?user=a:b@c", 10)


@pytest.mark.parametrize("value", HOSTILE)
def test_whatever_a_value_holds_nothing_of_it_stands_bare_in_the_pipeline(value: str) -> None:
    assert re.fullmatch(r'\\"([A-Za-z0-9_+/:.-]|\\\\[0-3][0-7]{2})*\\"', gstreamer.quoted(value))


def test_whatever_a_value_holds_gstreamer_takes_it_as_the_value() -> None:
    pipelines = [f"filesrc location={gstreamer.quoted(value)} ! fakesink" for value in HOSTILE]

    for value, elements in zip(HOSTILE, parsed(pipelines, "location"), strict=True):
        assert elements == [["filesrc", {"location": value}], ["fakesink", {}]]


def test_gstreamer_understands_every_pipeline() -> None:
    pipelines = [gstreamer.csi(0, 64, 48, 10), gstreamer.v4l2("/dev/a b", 64, 48, 10), gstreamer.rtsp("rtsp://a/b", 3)]

    made = [
        # Those that filter behind what links only later are made then.
        [one for one in elements if one[0] != "capsfilter"]
        for elements in parsed([software(one) for one in pipelines], "device", "tcp-timeout", "drop", "max-buffers")
    ]

    end = [["videoconvert", {}], ["appsink", {"drop": True, "max-buffers": 1}]]
    assert made == [
        [["videotestsrc", {}], *end],
        [["v4l2src", {"device": "/dev/a b"}], ["jpegdec", {}], *end],
        [["rtspsrc", {"tcp-timeout": 3_000_000}], ["decodebin", {}], *end],
    ]


def software(pipeline: str) -> str:
    """`pipeline` with elements that GStreamer has everywhere in the place of NVIDIA's."""
    stand_ins = {
        "nvarguscamerasrc sensor-id=0": "videotestsrc",
        "nvv4l2decoder mjpeg=1": "jpegdec",
        "nvvidconv": "videoconvert",
        "(memory:NVMM)": "",
    }
    for nvidias, own in stand_ins.items():
        pipeline = pipeline.replace(nvidias, own)
    return pipeline


def parsed(pipelines: list[str], *properties: str) -> list[list[list[Any]]]:
    """The elements of each pipeline, in the order of their linking, with those of `properties` that they have."""
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", BINDINGS], capture_output=True).returncode != 0:
        pytest.skip(f"GStreamer cannot be asked: apt-get install {PACKAGES}")
    parser = Path(__file__).with_name("gstreamer_parser.py")
    told = subprocess.run(
        [PYTHON, parser, *properties], input=json.dumps(pipelines), capture_output=True, text=True, check=True
    )
    return json.loads(told.stdout)  # type: ignore[no-any-return] # its own writing
