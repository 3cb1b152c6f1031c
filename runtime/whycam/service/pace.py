"""How fast a camera's frames come."""

from __future__ import annotations

from collections import deque

_FPS_SECONDS = 5.0


class Pace:
    """When the last seconds' frames arrived; all times are monotonic seconds. Not safe for several threads at once."""

    def __init__(self) -> None:
        """No frame yet."""
        self._arrivals: deque[float] = deque()

    def arrived(self, now: float) -> None:
        """A frame has come."""
        self._arrivals.append(now)
        while now - self._arrivals[0] > _FPS_SECONDS:
            self._arrivals.popleft()

    def fps(self, now: float) -> float:
        """Frames that came in a second, lately."""
        recent = [moment for moment in self._arrivals if now - moment <= _FPS_SECONDS]
        return len(recent) / max(1.0, min(_FPS_SECONDS, now - recent[0])) if recent else 0.0

    def why_cold(self, gap: float) -> str | None:
        """Why a window that allows gaps of `gap` seconds will not fill, where the camera is too slow for it."""
        recent = list(self._arrivals)
        if len(recent) >= 3 and recent[-1] - recent[-2] > gap and recent[-2] - recent[-3] > gap:
            slow = recent[-1] - recent[-2]
            return f"a frame comes every {slow:.1f} s, the model's window allows gaps of {gap:g} s"
        return None
