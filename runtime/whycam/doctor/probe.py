"""The process that `asking` starts: `python -m whycam.doctor.probe WHAT`, a question in JSON in, JSON lines out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Question = Mapping[str, Any]
Answers = Iterator[dict[str, Any]]


def _numpy(_: Question) -> Answers:
    from whycam.doctor.probe_libraries import numpy_here

    yield numpy_here()


def _onnxruntime(_: Question) -> Answers:
    from whycam.doctor.probe_libraries import onnxruntime_here

    yield onnxruntime_here()


def _kernels(_: Question) -> Answers:
    from whycam.doctor.probe_libraries import kernels_here

    yield kernels_here()


def _opencv(_: Question) -> Answers:
    from whycam.doctor.probe_libraries import opencv_here

    yield opencv_here()


def _cameras(question: Question) -> Answers:
    from whycam.doctor.probe_cameras import look

    return look(question["cameras"], float(question["seconds"]))


def _models(question: Question) -> Answers:
    from whycam.doctor.probe_models import try_models

    seconds, alone = float(question["seconds"]), bool(question["alone"])
    return try_models(question["models"], question["threads"], seconds, alone=alone)


def _write(question: Question) -> Answers:
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=question["folder"], prefix=".whycam-doctor-") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        yield {"problem": None}
    except OSError as error:
        yield {"problem": error.strerror or str(error)}


PROBES: dict[str, Callable[[Question], Answers]] = {
    "numpy": _numpy,
    "onnxruntime": _onnxruntime,
    "kernels": _kernels,
    "opencv": _opencv,
    "cameras": _cameras,
    "models": _models,
    "write": _write,
}


def main() -> None:
    """Answer the question on stdin; errors go to stderr, the reason in the last line."""
    question = json.loads(sys.stdin.read() or "{}")
    # Libraries print where they like: what is not an answer goes to stderr.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            for found in PROBES[sys.argv[1]](question):
                out.write(json.dumps(found) + "\n")
                out.flush()
        except Exception as error:
            print(" ".join(f"{type(error).__name__}: {error}".split()), file=sys.stderr, flush=True)
            os._exit(1)
    # Without goodbye: threads may hang in native code, and GPU libraries may crash when they are unloaded.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
