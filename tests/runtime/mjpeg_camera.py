"""A camera that sends MJPEG over HTTP, as the cheap ones do, and misbehaves when it is told to."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import cv2
import numpy as np


def jpeg(shade: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A grey picture, width x height."""
    done, data = cv2.imencode(".jpg", np.full((size[1], size[0], 3), shade, np.uint8))
    assert done
    return bytes(data)


class MjpegCamera:
    """A camera at `http://127.0.0.1:PORT/`, from the start to the end of a `with` block: twenty frames per second."""

    def __init__(self, *, credentials: str | None = None, with_length: bool = True) -> None:
        """`credentials`, `user:password`, are asked for; `with_length`: each part says how long it is."""
        self.frames = 0
        self.connections = 0
        self.size = (64, 48)
        self.junk = b""
        """Sent once, before the next part."""
        self.spoiled = 0
        """So many pictures to come are no JPEG."""
        self.stalled = threading.Event()
        self.cut = threading.Event()
        self._over = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = None if credentials is None else "Basic " + base64.b64encode(credentials.encode()).decode()
                if wanted is not None and self.headers["Authorization"] != wanted:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with suppress(OSError):  # whoever watched has gone
                    for part in camera.parts(with_length=with_length):
                        self.wfile.write(part)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def parts(self, *, with_length: bool) -> Iterator[bytes]:
        """What it sends."""
        while not self._over.is_set() and not self.cut.is_set():
            if self.stalled.is_set():
                time.sleep(0.05)
                continue
            data = jpeg(self.frames * 5 % 256, self.size)
            self.frames += 1
            if self.spoiled:
                self.spoiled -= 1
                data = b"\xff\xd8" + bytes(range(256)) * 3
            length = f"Content-Length: {len(data)}\r\n" if with_length else ""
            junk, self.junk = self.junk, b""
            yield junk + f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + data + b"\r\n"
            time.sleep(0.05)

    def __enter__(self) -> MjpegCamera:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
