"""A process that is killed at a chosen one of the steps in which it changes a folder: what a power cut leaves.

Python tells of each file that is opened, made, renamed or removed before that is done; the process counts those below
the folder, and kills itself at the chosen one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_STEPS = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.truncate", "os.chmod"})


def die_at(step: int, folder: Path, act: Callable[[], object]) -> bool:
    """Run `act` in a process of its own that dies at that step in `folder`, from 0; False where it ended before."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _count_down(step, str(folder))
            act()
            status = 0
        except BaseException as error:
            print(f"died otherwise: {error!r}", file=sys.stderr)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "it failed, and was not killed"
    return False


def _count_down(step: int, folder: str) -> None:
    left = step

    def hear(event: str, given: tuple[object, ...]) -> None:
        nonlocal left
        if event not in _STEPS or not any(
            str(one).startswith(folder) for one in given[:2] if isinstance(one, str | Path)
        ):
            return
        # Reading is no step: it leaves what it finds.
        if event == "open" and isinstance(given[1], str) and not set(given[1]) & set("wax+"):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(hear)
