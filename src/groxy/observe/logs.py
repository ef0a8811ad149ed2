"""Structured logs, one JSON object a line on standard error.

In: events with plain values. Out: lines without secrets: whatever looks like a key is masked, and
nobody passes a prompt here. `configure` is called once, by whoever owns the process.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from groxy.wire.json import encode

_KEY_LIKE = re.compile(r"\b(?:sk|xai|adm|Bearer)[-_ ][\w.\-]{6,}", re.IGNORECASE)
_SECRET_NAMES = frozenset({"api_key", "app_key", "authorization", "credential", "password"})

Logger = structlog.stdlib.BoundLogger


def configure(*, level: str, form: str) -> None:
    """Send logs of `level` and above to standard error, as `json` or for a `console`."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.dev.ConsoleRenderer() if form == "console" else _json
    factory: Any = (
        structlog.PrintLoggerFactory(sys.stderr)
        if form == "console"
        else structlog.BytesLoggerFactory(sys.stderr.buffer)
    )
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


def get_logger(name: str) -> Logger:
    """Return the logger of one part of Groxy."""
    logger: Logger = structlog.get_logger(part=name)
    return logger


def _without_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key in _SECRET_NAMES:
            event[key] = "*****"
        elif isinstance(value, str) and _KEY_LIKE.search(value):
            event[key] = _KEY_LIKE.sub("*****", value)
    return event


def _json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    return encode(event, enc_hook=repr)
