"""Reads a camera as on a Jetson, with GStreamer's own elements in the place of NVIDIA's.

Run by the system's Python, whose OpenCV has GStreamer: `gstreamer_reader.py URL SECONDS COUNT`. Prints what is logged,
the shape of each frame, and the error that ended it.
"""

import itertools
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "runtime"))
from whycam.errors import WhycamError
from whycam.sources import gstreamer, open_source, pipeline

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
nvidias = gstreamer.rtsp
gstreamer.rtsp = lambda *given: nvidias(*given).replace("(memory:NVMM)", "").replace("nvvidconv", "videoconvert")
pipeline._DECODER_PLUGIN = Path(__file__)

url, seconds, count = sys.argv[1:]
try:
    for frame in itertools.islice(open_source(url, float(seconds)), int(count)):
        print(*frame.image.shape, flush=True)
except WhycamError as error:
    print(error)
