"""Messages usage: the only place that reads and writes its token counts.

Anthropic counts what was read from a cache, and written to one, beside `input_tokens`, and thoughts
inside `output_tokens` (platform.claude.com, prompt caching, 2026); xAI does alike on /v1/messages.
"""

from typing import Any

import msgspec

from groxy.core.usage import Usage, clamped
from groxy.dialects._base import UsageRules
from groxy.dialects._bills import ABSURD_TOKENS, Billed, bill_of
from groxy.wire.json import UNREADABLE, Fields, decode_any, decode_fields


class _Details(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(Billed):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _Details | None = None


_INPUT_COUNTS = frozenset(
    {"input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
)

_decoder = msgspec.json.Decoder(_Usage)


def merged(earlier: Fields, raw: bytes | msgspec.Raw) -> Fields:
    """Return what `message_start` said of usage with what a `message_delta` says laid over it.

    Input of 0 in all its counts is a blank and no count: what was said before stands. A single 0 is
    one, as all of the input may have been read from a cache.
    """
    try:
        later = decode_fields(raw)
    except UNREADABLE:
        return earlier
    later = {name: value for name, value in later.items() if bytes(value) != b"null"}
    if all(bytes(later[name]) == b"0" for name in _INPUT_COUNTS & later.keys()):
        known = _INPUT_COUNTS & earlier.keys()
        later = {name: value for name, value in later.items() if name not in known}
    return earlier | later


def read_usage(raw: bytes | msgspec.Raw, rules: UsageRules) -> Usage | None:
    """Return the usage an upstream reported, or None when it is missing, zero or nonsense."""
    try:
        wire = _decoder.decode(raw)
    except UNREADABLE:
        return None
    read, written = wire.cache_read_input_tokens or 0, wire.cache_creation_input_tokens or 0
    fresh, output = wire.input_tokens or 0, wire.output_tokens or 0
    if min(fresh, output, read, written) < 0:
        return None
    reasoning = (wire.output_tokens_details and wire.output_tokens_details.thinking_tokens) or 0
    if reasoning > output:
        # It cannot be a part of less than itself: they stand beside each other.
        output += reasoning
    total_input = fresh + read + written
    if total_input + output <= 0 or max(total_input, output) > ABSURD_TOKENS:
        return None
    return clamped(
        Usage(
            input_tokens=total_input,
            cached_tokens=read,
            output_tokens=output,
            reasoning_tokens=reasoning,
            cost_ticks=bill_of(wire, rules),
        )
    )


def written_usage(usage: Usage, reported: bytes | msgspec.Raw = b"") -> dict[str, Any]:
    """Return `usage` in Anthropic's counting, over what the upstream `reported`: its extras stay.

    What was written to a cache stays apart where the upstream said so.
    """
    try:
        written = decode_any(reported)
    except UNREADABLE:
        written = {}
    if not isinstance(written, dict):
        written = {}
    created = written.get("cache_creation_input_tokens")
    uncached = usage.input_tokens - usage.cached_tokens
    created = created if type(created) is int and 0 < created <= uncached else 0
    written["input_tokens"] = uncached - created
    written["cache_creation_input_tokens"] = created
    written["cache_read_input_tokens"] = usage.cached_tokens
    written["output_tokens"] = usage.output_tokens
    if usage.reasoning_tokens:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return written


def is_written_alike(usage: Usage, reported: bytes | msgspec.Raw) -> bool:
    """True when what the upstream reported already is what a caller should read."""
    if not reported or usage.estimated:
        return False
    try:
        wire = _decoder.decode(reported)
    except UNREADABLE:
        return False
    read, created = wire.cache_read_input_tokens or 0, wire.cache_creation_input_tokens or 0
    details = wire.output_tokens_details or _Details()
    return (
        wire.input_tokens is not None
        and wire.input_tokens + read + created == usage.input_tokens
        and read == usage.cached_tokens
        and wire.output_tokens == usage.output_tokens
        and (details.thinking_tokens or 0) == usage.reasoning_tokens
    )
