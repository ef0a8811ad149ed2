"""One reply, read with care before it is asked for a thousand times a second.

In: a started subject. Out: that its replies say what the upstream said, and how many events its
streams have; `MeasureError` when they do not, or when the upstream was asked in another dialect
than the subject is there to measure.
"""

import json
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

from asks import WHOLE, WHOLE_TEXT, Ask, stream_text
from processes import get
from replies import Content, content_of_stream, content_of_whole
from subjects import Subject

_LIMIT_S = 60.0
_OK_STATUS = 200
_SHOWN_BYTES = 300


class MeasureError(Exception):
    """A subject does not do what is to be measured."""


def probe_whole(subject: Subject) -> None:
    """Check that a whole reply says what the upstream said; raise MeasureError if not."""
    found = _content(_ask_once(subject, WHOLE), content_of_whole)
    if found.text != WHOLE_TEXT or not found.has_usage:
        raise MeasureError(f"a whole reply reads {found.text!r}, usage: {found.has_usage}")


def probe_stream(subject: Subject, ask: Ask) -> int:
    """Return how many events a stream of this kind has here, once it is known to be whole."""
    fast = Ask(events=ask.events, events_per_write=ask.events_per_write, usage=ask.usage)
    found = _content(_ask_once(subject, fast), content_of_stream)
    if found.text != stream_text(ask.events) or not found.has_usage:
        raise MeasureError(f"a stream has {found.events} events, usage: {found.has_usage}")
    return found.events


def headers_of(subject: Subject) -> dict[str, str]:
    """Return the headers of a request, by name."""
    headers = dict(line.split(": ", 1) for line in subject.headers)
    return headers | {"Content-Type": "application/json"}


def stats_of(upstream_port: int) -> dict[str, int]:
    """Return what the upstream has served so far."""
    stats: dict[str, int] = json.loads(get(upstream_port, "/stats")[1])
    return stats


def _content(body: bytes, read: Callable[[bytes], Content]) -> Content:
    try:
        return read(body)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise MeasureError(f"a reply makes no sense: {_shown(body)}") from None


def _ask_once(subject: Subject, ask: Ask) -> bytes:
    dialect = subject.upstream_dialect
    before = stats_of(subject.upstream_port)[dialect]
    port = subject.port or subject.upstream_port
    connection = HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S)
    try:
        connection.request("POST", "/v1/chat/completions", ask.body(), headers_of(subject))
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as error:
        raise MeasureError(f"no reply: {type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != _OK_STATUS:
        raise MeasureError(f"status {response.status}: {_shown(body)}")
    if stats_of(subject.upstream_port)[dialect] == before:
        raise MeasureError(f"the upstream was not asked in the dialect {dialect}")
    return body


def _shown(body: bytes) -> str:
    return body[:_SHOWN_BYTES].decode(errors="replace")
