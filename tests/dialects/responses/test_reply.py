"""The reply object, and what of an upstream's it takes."""

import json
from typing import Any

import pytest
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.responses import DIALECT
from groxy.dialects.responses.reply import (
    blank_reply,
    failed_reply,
    mended_reply,
    reply_id,
    wants_sealed,
)
from groxy.wire.json import encode
from tests.dialects.responses.streams import FUNCTION, XAI_USAGE, asked, checked_reply, frame

REQUIRED = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
]
"""Of Open Responses, version 2026-04-24."""


def blank(**fields: Any) -> dict[str, Any]:
    return dict(json.loads(encode(blank_reply(asked(**fields), frame()))))


def mended(upstreams: Any, **fields: Any) -> dict[str, Any]:
    raw = upstreams if isinstance(upstreams, bytes) else json.dumps(upstreams).encode()
    held = mended_reply(blank_reply(asked(**fields), frame()), Raw(raw))
    return dict(json.loads(encode(held)))


def test_every_field_that_open_responses_requires_is_there() -> None:
    got = checked_reply(blank())
    assert set(REQUIRED) <= got.keys()
    assert (got["id"], got["created_at"]) == (reply_id(frame()), 1752854522)


def test_what_was_asked_is_echoed() -> None:
    asked_for = {
        "instructions": "Be brief.",
        "tools": [FUNCTION],
        "tool_choice": "required",
        "temperature": 0.3,
        "top_p": 0.9,
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
        "previous_response_id": "resp_0",
        "store": False,
        "truncation": "auto",
        "max_output_tokens": 9,
        "parallel_tool_calls": False,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
    }
    got = checked_reply(blank(**asked_for))
    assert {name: got[name] for name in asked_for} == asked_for


def test_what_was_asked_as_null_has_its_default() -> None:
    assert blank(tools=None, temperature=None, store=None) == blank()


def test_text_settings_keep_their_format() -> None:
    assert blank(text={"verbosity": "low"})["text"] == {
        "format": {"type": "text"},
        "verbosity": "low",
    }


def test_an_upstreams_object_is_taken_where_it_knows_better() -> None:
    got = mended({"model": "served", "temperature": 0.7, "service_tier": "priority", "new": 1})
    assert (got["model"], got["temperature"]) == ("served", 0.7)
    assert (got["service_tier"], got["new"]) == ("priority", 1)


def test_what_the_gateway_changed_on_the_way_is_as_it_was_asked() -> None:
    theirs = {"id": "uuid", "store": False, "previous_response_id": None, "metadata": {}}
    theirs |= {"tools": [{"type": "function"}], "prompt_cache_key": "hashed", "instructions": "x"}
    got = mended(theirs, previous_response_id="resp_0", metadata={"a": "b"}, tools=[FUNCTION])
    assert got["id"] == "resp_abc"
    assert (got["store"], got["previous_response_id"]) == (True, "resp_0")
    assert (got["metadata"], got["tools"]) == ({"a": "b"}, [FUNCTION])
    assert (got["prompt_cache_key"], got["instructions"]) == (None, None)


def test_null_does_not_take_the_place_of_what_clients_require() -> None:
    got = mended({"tools": None, "temperature": None, "usage": None, "created_at": None})
    assert (got["temperature"], got["created_at"], got["usage"]) == (1.0, 1752854522, None)


@pytest.mark.parametrize("odd", [b"7", b"{", b"[]", b'"x"', b"", b"null"])
def test_an_object_that_cannot_be_read_is_ours(odd) -> None:
    assert mended(odd) == blank()


def test_a_failed_reply_has_its_error_inside() -> None:
    error = GroxyError(ErrorKind.UPSTREAM_LIMITED, "Later.", detail="secret")
    got = checked_reply(json.loads(encode(failed_reply(blank() | {"usage": XAI_USAGE}, error))))
    assert (got["status"], got["usage"]) == ("failed", None)
    assert got["error"] == {"code": "rate_limit_exceeded", "message": "Later."}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [({}, False), ({"store": False}, True), ({"include": ["reasoning.encrypted_content"]}, True)],
)
def test_sealed_thoughts_are_wanted_by_those_who_keep_state_themselves(fields, wanted) -> None:
    assert wants_sealed(asked(**fields)) is wanted


def test_a_stream_of_which_nothing_had_left_still_ends_as_clients_expect() -> None:
    sent = DIALECT.encode_stream_error(GroxyError(ErrorKind.NO_ACCOUNT, "No account.", detail="x"))
    name, data = sent.removesuffix(b"\n\ndata: [DONE]\n\n").split(b"\n")
    assert name == b"event: response.failed"
    failed = json.loads(data.removeprefix(b"data: "))
    assert failed["sequence_number"] == 0
    checked_reply(failed["response"])
    assert failed["response"]["error"]["message"] == "No account."
    assert set(REQUIRED) <= failed["response"].keys()


def test_an_error_reply_is_openais_envelope() -> None:
    error = GroxyError(ErrorKind.BAD_REQUEST, "`input` is empty.", param="input", detail="x")
    assert json.loads(DIALECT.encode_error(error)) == {
        "error": {
            "message": "`input` is empty.",
            "type": "validation_error",
            "code": "invalid_value",
            "param": "input",
            "status": 400,
        }
    }
