"""What the tests of calibration share with those of the runtime: a bundle that can be checked by hand, and videos."""

from __future__ import annotations

from tests.runtime.conftest import built_bundle, bundle, make_video, whycam

__all__ = ["built_bundle", "bundle", "make_video", "whycam"]
