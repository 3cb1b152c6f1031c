"""Getting an archive onto this device: from an allowed place, of bounded size, and exactly the one that was meant."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, BinaryIO

from whycam.bundle.archive_reader import MOST_TOTAL_BYTES
from whycam.deployment.origins import Origins
from whycam.errors import BundleError, BundleTooLargeError, DamagedBundleError, InputError

FETCH_SECONDS = 3600.0
"""For all of it."""
_WAIT_SECONDS = 30.0
"""For the next bytes."""
_MOST_BYTES = MOST_TOTAL_BYTES + (64 << 20)
_CHUNK = 1 << 18


def fetch(
    origins: Origins,
    into: Path,
    sha256: str,
    *,
    url: str | None = None,
    file: str | None = None,
    keep_free: int = 0,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Write what is at `url`, or in `file`, to the new file `into`.

    Args:
        origins: where it may come from.
        into: the file to write, on the disk when this returns.
        sha256: what it must be, 64 hex digits.
        url: where it is; redirections are followed to where it may come from, too.
        file: else the path of it on this device.
        keep_free: bytes that must stay free on the disk.
        stopped: asked again and again; once true, it is given up.

    Raises InputError where it may not come from there or cannot be had, DamagedBundleError where it is another,
    BundleTooLargeError, and BundleError where it cannot be written.
    """
    deadline = time.monotonic() + FETCH_SECONDS
    digest = hashlib.sha256()
    what = url or file or ""

    def check() -> None:
        if stopped():
            raise InputError(f"{what}: given up, the service is stopping")
        if time.monotonic() > deadline:
            raise InputError(f"{what}: did not come within {FETCH_SECONDS:.0f} s")

    with _opened(origins, url, file, check) as source, _written(into) as target:
        for chunk in _chunks(source, what):
            digest.update(chunk)
            _write(target, chunk)
            if target.tell() > _MOST_BYTES:
                raise BundleTooLargeError(f"{what}: has over {_MOST_BYTES >> 30} GiB; no bundle is so large")
            if shutil.disk_usage(into.parent).free < keep_free:
                raise BundleTooLargeError(
                    f"{what}: the disk is full with it, but for {keep_free >> 20} MiB that stay free; make room"
                )
            check()
    if digest.hexdigest() != sha256:
        found = digest.hexdigest()
        raise DamagedBundleError(f"{what}: its SHA-256 is {found}, not the one that was named; copy it again")


class _Watched(io.RawIOBase):
    """What a server sends, headers too, with a look at the time before each piece that is waited for."""

    def __init__(self, sent: io.RawIOBase, check: Callable[[], None]) -> None:
        self._sent = sent
        self._check = check

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._check()
        return self._sent.readinto(buffer)

    def close(self) -> None:
        self._sent.close()
        super().close()


class _Http(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https; `check` raises where an answer is not to be waited for any more."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connects(http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connects(http.client.HTTPSConnection), req)

    def _connects(self, kind: type[http.client.HTTPConnection]) -> Any:
        check = self._check

        class Response(http.client.HTTPResponse):
            def __init__(self, *given: Any, **named: Any) -> None:
                super().__init__(*given, **named)
                self.fp = BufferedReader(_Watched(self.fp.detach(), check))

        def connect(*given: Any, **named: Any) -> http.client.HTTPConnection:
            connection = kind(*given, **named)
            connection.response_class = Response
            return connection

        return connect


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to where bundles may come from."""

    max_redirections = 5

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            self._origins.check_url(newurl)
        except InputError as error:
            raise InputError(f"{req.full_url}: leads elsewhere: {error}") from None
        # What comes with it is of no use; urllib would read it all.
        fp.close()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _opened(
    origins: Origins, url: str | None, file: str | None, check: Callable[[], None]
) -> Iterator[BufferedReader | http.client.HTTPResponse]:
    if url is None:
        with origins.open_file(file or "") as source:
            yield source
        return
    origins.check_url(url)
    opener = urllib.request.OpenerDirector()
    # Not what urllib would add by itself: it also opens files, FTP and data.
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(check),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirections(origins),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"User-Agent": "whycam", "Accept-Encoding": "identity"})
    with _told(url):
        response = opener.open(request, timeout=_WAIT_SECONDS)
    with response:
        yield response


def _chunks(source: BufferedReader | http.client.HTTPResponse, what: str) -> Iterator[bytes]:
    while True:
        with _told(what):
            # What has come, not all of it: who sends byte by byte must not keep us from looking at the time.
            chunk = source.read1(_CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{what}: the server answers {error.code} {error.reason}") from None
    except TimeoutError:
        raise InputError(f"{what}: nothing came for {_WAIT_SECONDS:.0f} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "reason", error)
        raise InputError(f"{what}: cannot be had ({' '.join(str(reason).split()) or type(error).__name__})") from None


@contextmanager
def _written(into: Path) -> Iterator[BinaryIO]:
    try:
        target = into.open("xb")
    except OSError as error:
        raise _unwritable(into, error) from error
    with target:
        yield target
        try:
            target.flush()
            os.fsync(target.fileno())
        except OSError as error:
            raise _unwritable(into, error) from error


def _write(target: BinaryIO, chunk: bytes) -> None:
    try:
        target.write(chunk)
    except OSError as error:
        raise _unwritable(Path(target.name), error) from error


def _unwritable(into: Path, error: OSError) -> BundleError:
    return BundleError(f"{into}: cannot be written ({error.strerror or error}); make room or allow it")
