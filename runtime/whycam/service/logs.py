"""The service's log: entries with fields for systemd's journal, one line each on stderr elsewhere."""

from __future__ import annotations

import logging
import os
import re
import socket
import struct
import sys
import time
from pathlib import Path

JOURNAL = "/run/systemd/journal/socket"
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_FIELDS = {"camera": "WHYCAM_CAMERA", "alert_id": "WHYCAM_ALERT"}
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]*(?:@[^/\s@]*)*@")


def set_up_logging(level: str) -> None:
    """Log everything from `level` on, to the journal where it listens to this process, else to stderr."""
    handler: logging.Handler
    if _journal_listens():
        handler = JournalHandler(JOURNAL)
        handler.setFormatter(_Plain("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Line())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # A log that cannot be written, to a full disk say, is no reason to print tracebacks into it.
    logging.raiseExceptions = False


def without_secrets(text: str) -> str:
    """`text` with the user and password of every address in it replaced by `***`."""
    return _CREDENTIALS.sub(r"\1***@", text)


class _Plain(logging.Formatter):
    """The message and what was raised, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class _Line(_Plain):
    """`TIME LEVEL CAMERA alert=ID: message`; what was raised follows on lines of its own."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(about)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        about = [getattr(record, "camera", None) or record.name]
        if alert := getattr(record, "alert_id", None):
            about.append(f"alert={alert}")
        record.about = " ".join(about)
        return super().format(record)


class JournalHandler(logging.Handler):
    """Sends records to systemd's journal, by its native protocol.

    Fields, beside the journal's own: `WHYCAM_CAMERA` and `WHYCAM_ALERT`, the episode's id, so that
    `journalctl WHYCAM_ALERT=ID` shows all that was done about one alert.
    """

    def __init__(self, address: str) -> None:
        """Send to the socket at `address`. Raises OSError where nobody listens there."""
        super().__init__()
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(address)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry; where the journal is gone it is looked for again, once."""
        try:
            entry = self._entry(record)
            try:
                self._socket.send(entry)
            except OSError:
                self._socket.connect(self._address)
                self._socket.send(entry)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()
        super().close()

    def _entry(self, record: logging.LogRecord) -> bytes:
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(next((number for level, number in _PRIORITIES if record.levelno >= level), 7)),
            "SYSLOG_IDENTIFIER": "whycam",
            "LOGGER": record.name,
            "THREAD_NAME": str(record.threadName),
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": str(record.funcName),
        }
        for attribute, name in _FIELDS.items():
            if value := getattr(record, attribute, None):
                fields[name] = str(value)
        # Each value with its length, so that no value can be taken for another field.
        parts = []
        for name, value in fields.items():
            data = value.encode("utf-8", "replace")[:_MOST_BYTES]
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        return b"".join(parts)


_MOST_BYTES = 48 * 1024
"""Of one field: a datagram holds no more than about 200 KiB."""


def _journal_listens() -> bool:
    # $JOURNAL_STREAM names the journal's end of stderr; a child whose stderr was redirected inherits it too.
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return (device, inode) == (str(stderr.st_dev), str(stderr.st_ino)) and Path(JOURNAL).exists()
