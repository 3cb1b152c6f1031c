"""Folders of labelled clips, as training, evaluation and calibration take them."""

from whycam.clips.folder import MANIFEST, SPLITS, VIDEO_SUFFIXES, Clip, Split, find_videos, read_clips
from whycam.clips.ranges import RANGES, Ranges, key_of, read_ranges

__all__ = [
    "MANIFEST",
    "RANGES",
    "SPLITS",
    "VIDEO_SUFFIXES",
    "Clip",
    "Ranges",
    "Split",
    "find_videos",
    "key_of",
    "read_clips",
    "read_ranges",
]
