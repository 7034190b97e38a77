"""The daemon's log: one line a record on standard error, for people or as JSON.

No payload, token or engine id is ever passed to it. What a client or a library put into a value
cannot forge a line, colour a terminal or show a password: see `_redact` and `_escape`.
"""

import logging
import re
import sys
import traceback
from collections.abc import Callable, MutableMapping
from typing import Final, Literal, TextIO

import structlog
from aiohttp.http_exceptions import HttpProcessingError

_Record = MutableMapping[str, object]
_Processor = Callable[[object, str, _Record], _Record | str]

_MAX_VALUE: Final = 1000
"""Characters of one value; the rest is cut."""
_MAX_FRAMES: Final = 20
"""Lines of a traceback: its last ones, which say what went wrong."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s]+@")
_COLOURS: Final = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_FOREIGN_PER_MINUTE: Final = 20


def configure_logs(stream: TextIO, *, style: Literal["console", "json"], level: str) -> None:
    """Send all records, those of libraries included, to the stream; called once, before anything starts.

    `level` is the lowest that is written: `debug`, `info`, `warning` or `error`.
    Libraries are heard from `warning` on, and not more than 20 records a minute of each.
    """
    renderer: _Processor = _render_json if style == "json" else _ConsoleRenderer(colours=stream.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _format_exception,
            _bound_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=_Unbreakable(stream)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ForeignRecords()]
    root.setLevel(logging.WARNING)


def mark_logs(**fields: object) -> None:
    """Put these fields into every record from now on: which of several processes writes it."""

    def mark(_logger: object, _name: str, record: _Record) -> _Record:
        return {**record, **fields}

    first, *others = structlog.get_config()["processors"]
    structlog.configure(processors=[first, mark, *others])


class Audit:
    """One line per connection to a namespace that was opened, refused or closed, and who it was."""

    def __init__(self) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def opened(self, *, user: str, address: str, namespace: str, rapid: bool = False) -> None:
        """A client is authenticated and sees the namespace; `rapid` when its user connects too often."""
        more = {"rapid": True} if rapid else {}
        self._log.info("connection.opened", user=user, address=address, namespace=namespace, **more)

    def refused(self, *, user: str | None, address: str, namespace: str, reason: str) -> None:
        """A client was not let in; without a valid token nobody knows its user."""
        self._log.info("connection.refused", user=user, address=address, namespace=namespace, reason=reason)

    def closed(self, *, user: str | None, address: str, namespace: str, reason: str) -> None:
        """A client is gone."""
        self._log.info("connection.closed", user=user, address=address, namespace=namespace, reason=reason)


class _Unbreakable:
    """A stream whose reader may go away: a closed pipe must not end the daemon."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            return

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


class _ForeignRecords(logging.Handler):
    """Passes the records of libraries on, each logger's bounded in number by the minute."""

    def __init__(self) -> None:
        super().__init__()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._minute = 0
        self._counts: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        minute = int(record.created // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts = {}
        count = self._counts[record.name] = self._counts.get(record.name, 0) + 1
        if count > _FOREIGN_PER_MINUTE:
            return
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        more = {"note": "further ones of this minute are left out"} if count == _FOREIGN_PER_MINUTE else {}
        error = record.exc_info or None
        if error is not None and isinstance(error[1], HttpProcessingError):
            # What is no HTTP is its sender's fault. The exception quotes it, with the token of its query.
            self._log.warning("http.malformed", message=message, reason=type(error[1]).__name__, **more)
            return
        self._log.log(
            record.levelno, "library.record", logger=record.name, message=message, exc_info=error, **more
        )


def _format_exception(_logger: object, _name: str, record: _Record) -> _Record:
    """Make the traceback text: frames and message alone, never the values of local variables."""
    error = record.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    elif error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        lines = "".join(traceback.format_exception(error)).splitlines()
        record["exception"] = [_redact(line) for line in lines[-_MAX_FRAMES:]]
    return record


def _bound_values(_logger: object, _name: str, record: _Record) -> _Record:
    for key, value in record.items():
        if isinstance(value, str):
            record[key] = _redact(value)
        elif not isinstance(value, int | float | list | None):
            record[key] = _redact(str(value))
    return record


def _redact(text: str) -> str:
    cut = text if len(text) <= _MAX_VALUE else text[:_MAX_VALUE] + "..."
    return _CREDENTIALS.sub("***@", cut)


def _render_json(_logger: object, _name: str, record: _Record) -> str:
    head = {key: record.pop(key) for key in ("timestamp", "level", "event")}
    text = structlog.processors.JSONRenderer()(None, "", head | dict(record))
    return text if isinstance(text, str) else text.decode()


class _ConsoleRenderer:
    """`time level event key=value ...`, then the lines of a traceback, each behind a bar."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: object, _name: str, record: _Record) -> str:
        time, level, event = (_escape(record.pop(key)) for key in ("timestamp", "level", "event"))
        trace = record.pop("exception", [])
        colour = _COLOURS.get(level, "\x1b[31m") if self._colours else ""
        reset = "\x1b[0m" if self._colours else ""
        pairs = " ".join(f"{_escape(key)}={_quote(value)}" for key, value in record.items())
        lines = [f"{time} {colour}{level:<7}{reset} {event:<24} {pairs}".rstrip()]
        lines += [f"  | {_escape(line)}" for line in (trace if isinstance(trace, list) else [trace])]
        return "\n".join(lines)


def _escape(value: object) -> str:
    """The value on one line: nothing in it can end the line or move the terminal's cursor."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", str(value))


def _quote(value: object) -> str:
    text = _escape(value)
    return f'"{text}"' if not text or " " in text or "=" in text else text
