"""What GStreamer makes of pipelines: reads a JSON list of them, and writes a list of each one's elements.

Run by the system's Python, which has GStreamer's bindings: `gstreamer_parser.py PROPERTY...`. An element is its
factory's name, and those of the properties that it has.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402 - the version is chosen before


def element(one):
    there = [name for name in sys.argv[1:] if one.find_property(name)]
    return [one.get_factory().get_name(), {name: one.get_property(name) for name in there}]


Gst.init(None)
made = [Gst.parse_launch(pipeline) for pipeline in json.load(sys.stdin)]
json.dump([[element(one) for one in reversed(pipeline.children)] for pipeline in made], sys.stdout)
