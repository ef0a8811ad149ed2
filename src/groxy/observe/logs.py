"""Structured logs, one JSON object a line on standard error.

In: events with plain values. Out: lines without secrets: whatever looks like a key is masked, and
nobody passes a prompt here. `configure` is called once, by whoever owns the process. Logging never
raises and never waits for who reads it (`lines.py`): a request must not fail because nobody does.
"""

import functools
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from groxy.observe.lines import Lines, drain_all
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
_Renderer = Callable[[object, str, MutableMapping[str, Any]], bytes]
_lines: Lines | None = None
"""Standard error, as it was when logging began."""
_direct: Lines | None = None
"""Where request lines go without structlog; None while they are not written as JSON."""


def configure(*, level: str, form: str) -> None:
    """Send logs of `level` and above to standard error, as `json` or for a `console`."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer = _console(sys.stderr.encoding) if form == "console" else _json
    global _lines, _direct  # noqa: PLW0603 - logging is one for the process, as structlog's own state is
    tell = functools.partial(_loss, renderer)
    if _lines is None or _lines.file is not sys.stderr.buffer:
        _lines = Lines(sys.stderr.buffer, tell)
    _lines.tell = tell
    _direct = _lines if form != "console" and threshold <= logging.INFO else None
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(_lines),  # type: ignore[arg-type]
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

    Lines of requests are written a few at once, within a tenth of a second: to wake a thread for
    each would take longer than all else of it.
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


def flush() -> None:
    """Wait until what was logged is written; not long, for its reader may stand still."""
    drain_all()


def _loss(renderer: _Renderer, lost: int) -> bytes:
    """Return the line that stands where lines were lost."""
    event = {"event": "lines are lost", "part": "log", "lines": lost, "level": "warning"}
    why = {"reason": "who reads them was too slow", "timestamp": _timestamp()}
    return renderer(None, "warning", event | why) + b"\n"


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


def _console(encoding: str) -> _Renderer:
    render = structlog.dev.ConsoleRenderer()

    def rendered(logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
        return render(logger, method, event).encode(encoding, "backslashreplace")

    return rendered


def _json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    try:
        return encode(event)
    except (TypeError, ValueError, OverflowError):  # half a character, for one
        return encode({key: _writable(value) for key, value in event.items()})


def _writable(value: object) -> str:
    return str(value).encode(errors="backslashreplace").decode()
