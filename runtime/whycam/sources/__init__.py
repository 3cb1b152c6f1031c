"""Sources: video files and cameras, as time-stamped frames."""

from whycam.sources.frame import Frame
from whycam.sources.uri import open_source

__all__ = ["Frame", "open_source"]
