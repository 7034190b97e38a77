"""Logs: what a line looks like, and what nobody can put into it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from aiohttp.http_exceptions import BadStatusLine

from bridge.config.model import Log
from bridge.telemetry.logs import Audit, configure_logs


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def _configured(log: Log, stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    configure_logs(stream, style=log.format, level=log.level)
    return stream


def test_a_console_line_reads_time_level_event_and_fields() -> None:
    """Values with spaces are quoted, and there is no colour off a terminal."""
    stream = _configured(Log())
    structlog.get_logger().info("event.rejected", route="portal", reason="no such field", count=2)
    time, line = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert line.split() == [
        "info",
        "event.rejected",
        "route=portal",
        'reason="no',
        "such",
        'field"',
        "count=2",
    ]
    assert "\x1b" not in line


def test_colours_are_for_terminals() -> None:
    """The level is coloured there."""
    stream = _configured(Log(), _Terminal())
    structlog.get_logger().warning("broker.away")
    assert "\x1b[33mwarning" in stream.getvalue()


def test_json_is_one_object_a_line_with_the_event_first() -> None:
    """Numbers stay numbers, and None stays null."""
    stream = _configured(Log(format="json"))
    Audit().refused(user=None, address="10.0.0.1", namespace="/portal", reason="expired")
    line = stream.getvalue()
    assert line.count("\n") == 1
    record = json.loads(line)
    assert list(record)[:3] == ["timestamp", "level", "event"]
    del record["timestamp"]
    assert record == {
        "level": "info",
        "event": "connection.refused",
        "user": None,
        "address": "10.0.0.1",
        "namespace": "/portal",
        "reason": "expired",
    }


def test_audit_names_who_came_and_went() -> None:
    """Opened and closed carry user, address and namespace."""
    stream = _configured(Log())
    audit = Audit()
    audit.opened(user="ada", address="10.0.0.1", namespace="/portal")
    audit.closed(user="ada", address="10.0.0.1", namespace="/portal", reason="client")
    opened, closed = stream.getvalue().splitlines()
    assert opened.endswith("user=ada address=10.0.0.1 namespace=/portal")
    assert "connection.opened" in opened
    assert closed.endswith("reason=client")


def test_the_level_is_the_lowest_that_is_written() -> None:
    """`warning` leaves out `info`."""
    stream = _configured(Log(level="warning"))
    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    "hostile", ["a\nCRITICAL forged", "\x1b[31mred", "\u2028", "\u202egnp", "\x85x", "\ud800"]
)
@pytest.mark.parametrize("style", ["console", "json"])
def test_no_value_can_forge_a_line_or_steer_a_terminal(hostile: str, style: str) -> None:
    """Control characters, line separators, text direction and lone surrogates are escaped."""
    stream = _configured(Log(format="json" if style == "json" else "console"))
    structlog.get_logger().info("connection.closed", reason=hostile)
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert hostile not in written
    written.encode()


def test_passwords_of_urls_and_long_values_are_cut() -> None:
    """Also inside of an exception's message."""
    stream = _configured(Log())
    try:
        raise OSError("cannot reach amqp://user:hunter2@host/ " + "x" * 3000)
    except OSError:
        structlog.get_logger().exception("broker.failed", url="amqps://user:p@ss@host/")
    written = stream.getvalue()
    assert "hunter2" not in written
    assert "ss@host" not in written
    assert "amqp://***@host/" in written
    assert max(map(len, written.splitlines())) < 1100


def test_a_traceback_is_bounded_and_its_lines_are_marked() -> None:
    """No line of it looks like a record, however deep it is and whatever its message holds."""

    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        raise ValueError("one\n2026-01-01T00:00:00Z info forged")

    stream = _configured(Log())
    try:
        dive(50)
    except ValueError as error:
        structlog.get_logger().error("flow.failed", exc_info=error)
    head, *lines = stream.getvalue().splitlines()
    assert "flow.failed" in head
    assert 1 < len(lines) <= 20
    assert all(line.startswith("  | ") for line in lines)


def test_libraries_are_heard_from_warning_on_and_not_without_end() -> None:
    """A library in a loop fills no disk; another one is still heard."""
    stream = _configured(Log(level="debug"))
    noisy = logging.getLogger("noisy")
    noisy.info("nothing")
    for number in range(1000):
        noisy.warning("again %d", number)
    noisy.error("broken format %d", "x")
    logging.getLogger("other").warning("hello")
    lines = stream.getvalue().splitlines()
    assert 20 <= sum("logger=noisy" in line for line in lines) <= 40
    assert sum("logger=other" in line for line in lines) == 1
    assert any("left out" in line for line in lines)
    assert 'message="again 0"' in lines[0]


def test_what_is_no_http_is_told_without_quoting_it() -> None:
    """The exception holds the client's bytes, and these may hold a token."""
    stream = _configured(Log())
    try:
        raise BadStatusLine("GET /?token=hidden HTTP/9.9")
    except BadStatusLine:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", "192.0.2.1")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith('message="Error handling request from 192.0.2.1" reason=BadStatusLine')
    assert "hidden" not in line


def test_a_reader_that_went_away_does_not_end_the_daemon() -> None:
    """A broken pipe is nothing to raise about."""
    _configured(Log(), _Broken())
    structlog.get_logger().error("anything")
