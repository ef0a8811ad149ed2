"""The reply object: every field that clients and Open Responses require, as its caller asked.

In: a request, and where there is one an upstream's object. Out: the object for the caller. Fields
and their defaults: the Open Responses specification and xAI's OpenAPI document, 2026.
"""

from typing import Any

from msgspec import Raw

from groxy.core.errors import GroxyError
from groxy.core.ids import new_id
from groxy.dialects._base import Asked, Frame
from groxy.dialects.responses.errors import failure_of
from groxy.dialects.responses.items import kept_value
from groxy.dialects.responses.request import SEALED
from groxy.dialects.responses.sending import LAST, EventWriter
from groxy.wire.json import UNREADABLE, Fields, decode_fields

_DEFAULTS: dict[str, Any] = {
    "background": False,
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "output": [],
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
    "metadata": {},
}
_ECHOED = frozenset(_DEFAULTS) - {
    "background",
    "completed_at",
    "error",
    "incomplete_details",
    "output",
    "service_tier",
    "usage",
}
_FORCED = (
    # What the gateway changes on the way, so that an upstream's word for it is not the caller's.
    "id",
    "object",
    "instructions",
    "metadata",
    "previous_response_id",
    "prompt_cache_key",
    "store",
    "tool_choice",
    "tools",
)


def reply_id(frame: Frame) -> str:
    """Return the id of a reply."""
    return "resp_" + frame.reply_id


def blank_reply(asked: Asked, frame: Frame) -> dict[str, Any]:
    """Return the object of a reply that has just begun."""
    head = {"id": reply_id(frame), "object": "response", "created_at": frame.created}
    head |= {"status": "in_progress", "model": asked.model}
    return head | _DEFAULTS | _echo(asked.fields)


def _echo(fields: Fields) -> dict[str, Any]:
    echo: dict[str, Any] = {
        name: raw for name, raw in fields.items() if name in _ECHOED and bytes(raw) != b"null"
    }
    text = kept_value(fields, "text") if "text" in echo else None
    if isinstance(text, dict):
        echo["text"] = {"format": {"type": "text"}} | text
    return echo


def wants_sealed(asked: Asked) -> bool:
    """True when the caller asked for sealed thoughts in the reply."""
    include = kept_value(asked.fields, "include")
    return not asked.keeps or (isinstance(include, list) and SEALED in include)


def mended_reply(blank: dict[str, Any], raw: Raw) -> dict[str, Any]:
    """Return an upstream's object for the caller: ours over it, its own where it knows better."""
    try:
        fields = decode_fields(raw)
    except UNREADABLE:
        fields = {}
    told = {
        name: value
        for name, value in fields.items()
        if bytes(value) != b"null" or blank.get(name) is None
    }
    return blank | told | {name: blank[name] for name in _FORCED}


def failed_reply(reply: dict[str, Any], error: GroxyError) -> dict[str, Any]:
    """Return `reply` as one that failed."""
    return reply | {"status": "failed", "error": failure_of(error), "usage": None}


def unstarted_failure(error: GroxyError) -> bytes:
    """Return the end of a stream of which nothing but keep-alives had left.

    Who asked for what is not known here: the object has the defaults of a request that asked for
    nothing.
    """
    head = {"id": new_id("resp_"), "object": "response", "created_at": 0, "model": ""}
    reply = failed_reply(head | _DEFAULTS, error)
    return EventWriter().write("response.failed", {"response": reply}) + LAST
