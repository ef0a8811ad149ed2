"""Structured logs, one JSON object a line on standard error.

In: events with plain values. Out: lines without secrets: whatever looks like a key is masked, and
nobody passes a prompt here. `configure` is called once, by whoever owns the process. Logging never
raises: a request must not fail because nobody reads of it.
"""

import asyncio
import atexit
import functools
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Any

import msgspec
import structlog

from groxy.wire.json import encode

_KEY_LIKE = re.compile(
    r"\b(?:(?:sk|xai|adm)[-_][\w.\-]{6,}|Bearer\s+[\w.\-+/=~]{6,})", re.IGNORECASE
)
_SECRET_NAMES = frozenset(
    {
        *("api_key", "app_key", "credential", "password", "secret"),
        *("authorization", "cf-aig-authorization", "x-api-key"),
    }
)
_MASK = "*****"
_HARMLESS = frozenset({int, float, bool, type(None)})

Logger = structlog.stdlib.BoundLogger
_LINGER_S = 0.1
_AT_ONCE_BYTES = 4096
"""A pipe takes so much as one piece, so that lines of several processes stay whole (POSIX)."""
_direct: "_Lines | None" = None
"""Where request lines go without structlog; None while they are not written as JSON."""


def configure(*, level: str, form: str) -> None:
    """Send logs of `level` and above to standard error, as `json` or for a `console`."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.dev.ConsoleRenderer() if form == "console" else _json
    global _direct  # noqa: PLW0603 - logging is one for the process, as structlog's own state is
    if _direct is not None:
        _direct.drain()
    _direct = None
    if form == "console":
        factory: Any = structlog.PrintLoggerFactory(_Patient(sys.stderr))  # type: ignore[arg-type]
    else:
        lines = _Lines(sys.stderr.buffer)
        factory = structlog.BytesLoggerFactory(lines)  # type: ignore[arg-type]
        _direct = lines if threshold <= logging.INFO else None
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


class RequestLine(msgspec.Struct, kw_only=True):
    """The line of one request that has ended. None of it is a caller's prompt."""

    request: str
    key: str
    dialect: str
    stream: bool
    model: str
    served: str
    account: str
    attempts: int
    outcome: str
    input_tokens: int
    output_tokens: int
    ms: float
    part: str = "gateway"
    event: str = "request"
    level: str = "info"
    timestamp: str = ""


def log_request(line: RequestLine) -> None:
    """Write a request's line: as `get_logger(…).info` would, at a tenth of its cost.

    Lines of requests are written a few at once, within a tenth of a second: a system call for each
    took longer than all else of it.
    """
    if _direct is None:
        fields = msgspec.structs.asdict(line)
        for name in ("event", "level", "part", "timestamp"):
            del fields[name]
        get_logger(line.part).info(line.event, **fields)
        return
    line.model = _masked(line.model)
    line.timestamp = _timestamp()
    try:
        written = encode(line)
    except ValueError:  # half a character
        line.model = _writable(line.model)
        written = encode(line)
    _direct.add(written + b"\n")


@functools.lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}"


def _timestamp() -> str:
    """Return now as structlog's own lines have it."""
    at_s, at_us = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(at_s)}.{at_us:06d}Z"


def get_logger(name: str) -> Logger:
    """Return the logger of one part of Groxy."""
    logger: Logger = structlog.get_logger(part=name)
    return logger


class _Patient:
    """A file that may be full or closed by now: then a line is lost, and nothing else."""

    def __init__(self, file: IO[Any]) -> None:
        self._file = file

    def write(self, line: Any) -> None:  # noqa: ANN401 - text or bytes, as the file wants
        with suppress(OSError, ValueError):
            self._file.write(line)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


class _Lines(_Patient):
    """A file of lines, some of which may wait for others, but never change places."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._waiting = b""
        self._lock = threading.Lock()
        self._awaited_by: asyncio.AbstractEventLoop | None = None
        atexit.register(self.drain)

    def add(self, line: bytes) -> None:
        """Write a line soon: with others, or a tenth of a second later."""
        with self._lock:
            if len(self._waiting) + len(line) > _AT_ONCE_BYTES:
                self._drain()
            self._waiting += line
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.drain()
            return
        if self._awaited_by is not loop:
            self._awaited_by = loop
            loop.call_later(_LINGER_S, self._end_wait)

    def write(self, line: bytes) -> None:
        """Write a line after those that wait."""
        with self._lock:
            self._drain()
            super().write(line)

    def drain(self) -> None:
        """Write what waits."""
        with self._lock:
            self._drain()

    def _end_wait(self) -> None:
        self._awaited_by = None
        self.drain()

    def _drain(self) -> None:
        waiting, self._waiting = self._waiting, b""
        if waiting:
            super().write(waiting)
            super().flush()


def _without_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key in _SECRET_NAMES:
            event[key] = _MASK
        elif type(value) is str:  # nearly all are, and nearly none has a key in it
            if _KEY_LIKE.search(value):
                event[key] = _masked(value)
        elif type(value) not in _HARMLESS:
            event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:  # noqa: ANN401 - whatever was logged
    """Return `value` without what looks like a key, however deep it is."""
    if isinstance(value, str):
        return _KEY_LIKE.sub(_MASK, value)
    if type(value) in _HARMLESS:
        return value
    if isinstance(value, Mapping):
        return {
            _masked(str(key)): _MASK if str(key).lower() in _SECRET_NAMES else _masked(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner) for inner in value]
    return _KEY_LIKE.sub(_MASK, repr(value))


def _json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    try:
        return encode(event)
    except (TypeError, ValueError, OverflowError):  # half a character, for one
        return encode({key: _writable(value) for key, value in event.items()})


def _writable(value: object) -> str:
    return str(value).encode(errors="backslashreplace").decode()
