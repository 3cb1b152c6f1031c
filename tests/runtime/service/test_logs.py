"""The service's log: what is in a line, in a journal's entry, and in neither."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycam.service import logs


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of our own, without handlers."""
    made = logging.Logger("whycam.test")
    yield made
    for handler in made.handlers:
        handler.close()


def journal(path: Path) -> socket.socket:
    """What a journal listens at."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.settimeout(10)
    listening.bind(str(path))
    return listening


def entry(data: bytes) -> dict[str, str]:
    """The fields of an entry, as the journal takes it apart."""
    fields = {}
    while data:
        name, _, rest = data.partition(b"\n")
        (size,) = struct.unpack("<Q", rest[:8])
        fields[name.decode()] = rest[8 : 8 + size].decode()
        assert rest[8 + size : 9 + size] == b"\n"
        data = rest[9 + size :]
    return fields


def line(record: logging.LogRecord) -> str:
    """As it is on stderr."""
    return logs._Line().format(record)


def record(message: str, **extra: object) -> logging.LogRecord:
    """An entry of level INFO."""
    return logging.makeLogRecord(
        {"name": "whycam.test", "levelno": logging.INFO, "levelname": "INFO", "msg": message, "created": 0.5, **extra}
    )


def test_a_line_says_when_how_bad_which_camera_and_which_alert() -> None:
    made = record("fight raised", camera="gate", alert_id="01a2")
    made.msecs = 500.0
    assert line(made) == "1970-01-01T00:00:00.500Z INFO gate alert=01a2: fight raised"


def test_a_line_of_no_camera_says_which_part() -> None:
    assert " INFO whycam.test: ready" in line(record("ready"))


def test_the_journal_gets_fields_to_look_for(tmp_path: Path, logger: logging.Logger) -> None:
    with journal(tmp_path / "socket") as listening:
        logger.addHandler(logs.JournalHandler(str(tmp_path / "socket")))
        logger.warning("two\nlines: %d", 3, extra={"camera": "gate", "alert_id": "01a2"})
        fields = entry(listening.recv(65536))
    assert fields["MESSAGE"] == "two\nlines: 3"
    assert fields["PRIORITY"] == "4"
    assert (fields["WHYCAM_CAMERA"], fields["WHYCAM_ALERT"]) == ("gate", "01a2")
    assert fields["SYSLOG_IDENTIFIER"] == "whycam"


@given(st.text())
def test_no_text_becomes_another_field(text: str) -> None:
    handler = logs.JournalHandler.__new__(logs.JournalHandler)
    logging.Handler.__init__(handler)
    fields = entry(handler._entry(record("%s", args=(text,))))
    assert set(fields) <= {
        "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "THREAD_NAME", "CODE_FILE", "CODE_LINE", "CODE_FUNC",
    }  # fmt: skip


def test_a_journal_that_was_restarted_is_found_again(tmp_path: Path, logger: logging.Logger) -> None:
    first = journal(tmp_path / "socket")
    logger.addHandler(logs.JournalHandler(str(tmp_path / "socket")))
    first.close()
    logger.info("nobody hears this, and nothing is raised")
    (tmp_path / "socket").unlink()
    with journal(tmp_path / "socket") as again:
        logger.info("here")
        assert entry(again.recv(65536))["MESSAGE"] == "here"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://guard:s3cret@camera/1 does not answer", "rtsp://***@camera/1 does not answer"),
        ("mqtt://me:p@ss:word@host:1883", "mqtt://***@host:1883"),
        ("http://guard@camera and rtsp://a:b@c", "http://***@camera and rtsp://***@c"),
        ("rtsp://camera/a@b", "rtsp://camera/a@b"),
        ("mail guard@camera", "mail guard@camera"),
    ],
)
def test_credentials_in_addresses_are_never_shown(text: str, shown: str) -> None:
    assert logs.without_secrets(text) == shown
    assert shown in line(record("%s", args=(text,)))


def test_credentials_in_what_was_raised_are_not_shown_either() -> None:
    try:
        raise ValueError("rtsp://guard:s3cret@camera")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    assert "s3cret" not in line(made)
    assert "rtsp://***@camera" in line(made)


def test_a_child_with_its_own_stderr_does_not_write_to_the_journal() -> None:
    # It has inherited the variable, which names another file than its stderr.
    done = subprocess.run(
        [sys.executable, "-c", "from whycam.service.logs import *; set_up_logging('info'); logging.info('here')"],
        capture_output=True,
        text=True,
        env={**os.environ, "JOURNAL_STREAM": "1:2"},
    )
    assert "INFO root: here" in done.stderr
