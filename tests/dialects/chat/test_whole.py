"""Whole replies: passed on untouched where they are good, mended where they are not."""

import json
from typing import Any

import pytest
from hypothesis import given

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import Counting, EmbeddedError, UsageRules
from groxy.dialects.chat.whole import ChatReply
from tests.dialects.chat.odd_replies import ODD_BODIES
from tests.dialects.chat.streams import READ_XAI_USAGE, XAI_USAGE, call

USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
READ_USAGE = Usage(input_tokens=10, output_tokens=4)
COUNTED = Usage(input_tokens=7, output_tokens=2, estimated=True)
MESSAGE = {"role": "assistant", "content": "Hello", "refusal": None}
HEAD = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1752854522,
    "model": "grok-4",
    "system_fingerprint": "fp_3a7881249c",
}


def _body(message: Any = MESSAGE, finish: Any = "stop", usage: Any = USAGE, **fields: Any) -> bytes:
    choices = [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}]
    return json.dumps(HEAD | {"choices": choices, "usage": usage} | fields).encode()


def _reply(body: bytes) -> ChatReply:
    return ChatReply(body, UsageRules())


def _written(body: bytes) -> dict[str, Any]:
    """The reply as the gateway writes it: with the usage reported, or else with its own count."""
    reply = _reply(body)
    written: dict[str, Any] = json.loads(reply.encode(reply.reported_usage() or COUNTED))
    return written


def _choice(body: bytes) -> dict[str, Any]:
    choice: dict[str, Any] = _written(body)["choices"][0]
    return choice


def _refusal(body: bytes) -> GroxyError:
    with pytest.raises(GroxyError) as caught:
        _reply(body)
    return caught.value


# --------------------------------------------------------------------------- what needs no mending


@pytest.mark.parametrize(
    "body",
    [
        _body(),
        _body(usage=USAGE | {"completion_tokens_details": {"reasoning_tokens": 3}, "x": 1}),
        _body(
            MESSAGE | {"content": None, "tool_calls": [call("{}", "a", id="c", type="function")]}
        ),
        _body(MESSAGE | {"reasoning_content": "hm", "annotations": []}),
        json.dumps(json.loads(_body()), indent=3).encode(),
        _body().replace(b"Hello", b"\\u0048\\u00e9"),
        _body() + b"\n",
    ],
)
def test_a_good_reply_is_passed_on_byte_for_byte(body):
    reply = _reply(body)
    usage = reply.reported_usage()
    assert usage is not None
    assert reply.encode(usage) == body


def test_the_tally_has_the_upstreams_own_words():
    tally = _reply(_body(finish="length")).tally
    assert (tally.reply_id, tally.model_served, tally.finish_reason) == (
        "chatcmpl-1",
        "grok-4",
        "length",
    )


def test_the_tally_counts_text_thoughts_and_calls():
    message = MESSAGE | {"reasoning_content": "hm ", "tool_calls": [call("{}", "look", id="c")]}
    assert sorted("".join(_reply(_body(message)).tally.output)) == sorted("Hellohm look{}")


def test_the_tally_counts_every_choice():
    choices = [{"index": at, "message": {"content": str(at)}} for at in range(3)]
    assert _reply(_body(choices=choices)).tally.output == ["0", "1", "2"]


# ------------------------------------------------------------------------------------------- usage


def test_reasoning_beside_the_completion_is_counted_into_it():
    assert _reply(_body(usage=XAI_USAGE)).reported_usage() == READ_XAI_USAGE


def test_reasoning_beside_the_completion_is_written_into_it():
    usage = _written(_body(usage=XAI_USAGE))["usage"]
    assert (usage["completion_tokens"], usage["total_tokens"]) == (103, 135)


def test_a_reply_whose_usage_is_mended_keeps_its_other_fields():
    before, after = json.loads(_body(usage=XAI_USAGE)), _written(_body(usage=XAI_USAGE))
    assert after | {"usage": None} == before | {"usage": None}


def test_usage_keeps_the_upstreams_further_fields():
    usage = XAI_USAGE | {"cost_in_usd_ticks": 37_756_000}
    written = _written(_body(usage=usage))["usage"]
    assert (written["cost_in_usd_ticks"], written["num_sources_used"]) == (37_756_000, 0)


def test_more_cached_tokens_than_prompt_are_not_passed_on():
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 50}}
    assert _written(_body(usage=usage))["usage"]["prompt_tokens_details"]["cached_tokens"] == 10


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -10, "completion_tokens": 4},
        {"prompt_tokens": 10, "completion_tokens": -4},
        {"prompt_tokens": 10**10, "completion_tokens": 4},
        {"prompt_tokens": "10", "completion_tokens": "4"},
        {"prompt_tokens": 10.5},
        {"prompt_tokens_details": [], "completion_tokens_details": 5},
        [],
        "usage",
        7,
    ],
)
def test_usage_that_makes_no_sense_is_replaced_by_what_was_counted(usage):
    body = _body(usage=usage)
    assert _reply(body).reported_usage() is None
    written = _written(body)["usage"]
    assert (written["prompt_tokens"], written["completion_tokens"], written["total_tokens"]) == (
        7,
        2,
        9,
    )


def test_missing_usage_is_written():
    body = json.dumps({k: v for k, v in json.loads(_body()).items() if k != "usage"}).encode()
    assert _written(body)["usage"]["total_tokens"] == 9


def test_another_usage_than_the_one_reported_is_written():
    written = json.loads(_reply(_body()).encode(Usage(input_tokens=1, output_tokens=1)))
    assert written["usage"]["total_tokens"] == 2


def test_usage_as_xai_counts_is_passed_on_byte_for_byte_where_it_is_wanted():
    body = _body(usage=XAI_USAGE)
    assert ChatReply(body, UsageRules(), counting=Counting.XAI).encode(READ_XAI_USAGE) == body


def test_the_cost_is_written_if_asked_for():
    reply = ChatReply(_body(), UsageRules(), wants_cost=True)
    usage = Usage(input_tokens=10, output_tokens=4, cost_ticks=5)
    assert json.loads(reply.encode(usage))["usage"]["cost_in_usd_ticks"] == 5


def test_the_tally_knows_what_was_called():
    calls = [call("{}", "look", id="c1"), call("{}", "go", id="c2"), call("{}")]
    tally = _reply(_body(MESSAGE | {"tool_calls": calls})).tally
    assert (tally.called, tally.call_ids) == (["look", "go"], ["c1", "c2"])


@pytest.mark.parametrize("created", [None, "soon", -1, 1e300])
def test_a_time_of_any_kind_spoils_nothing(created):
    assert _choice(_body(created=created))["message"]["content"] == "Hello"


def test_a_reply_is_kept_by_nobody():
    assert _reply(_body()).record == b""


# ------------------------------------------------------------------------------------------- mends


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("", "stop"),
        (None, "stop"),
        ("tool_use", "tool_calls"),
        ("new", "stop"),
    ],
)
def test_a_finish_reason_is_one_of_openais(reason, written):
    assert _choice(_body(finish=reason))["finish_reason"] == written


@pytest.mark.parametrize("reason", ["", None, "tool_use"])
def test_tool_calls_end_as_tool_calls(reason):
    body = _body(MESSAGE | {"tool_calls": [call("{}", "look", id="c")]}, reason)
    assert _choice(body)["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("kind", [{}, {"type": ""}, {"type": None}])
def test_a_call_without_a_type_is_a_function(kind):
    body = _body(MESSAGE | {"tool_calls": [call("{}", "look", id="c", **kind)]}, "tool_calls")
    assert _choice(body)["message"]["tool_calls"][0]["type"] == "function"


@pytest.mark.parametrize("role", ["model", "", None])
def test_a_foreign_role_becomes_assistant(role):
    assert _choice(_body(MESSAGE | {"role": role}))["message"]["role"] == "assistant"


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (0, "0"), (1.5, "1.5"), (True, "true")])
def test_a_number_as_text_is_written_and_counted_as_text(value, text):
    body = _body(MESSAGE | {"content": value})
    assert _choice(body)["message"]["content"] == text
    assert _reply(body).tally.output == [text]


@pytest.mark.parametrize("more", [{}, {"reasoning_content": None}, {"reasoning_content": ""}])
def test_openrouters_reasoning_is_also_given_as_reasoning_content(more):
    message = _choice(_body(MESSAGE | {"reasoning": "hm"} | more))["message"]
    assert (message["reasoning"], message["reasoning_content"]) == ("hm", "hm")


@pytest.mark.parametrize("choice", [{}, {"message": None}, {"message": {}}])
def test_a_choice_without_a_message_gets_one(choice):
    message = _choice(_body(choices=[choice]))["message"]
    assert message == {"role": "assistant", "content": None}


def test_a_mended_reply_keeps_its_unknown_fields():
    body = _body(MESSAGE | {"role": "x", "a": [1, {"b": None}]}, citations=["c"], service_tier="d")
    written = _written(body)
    assert written["choices"][0]["message"]["a"] == [1, {"b": None}]
    assert (written["citations"], written["service_tier"]) == (["c"], "d")


def test_a_mended_reply_is_called_what_it_is():
    assert _written(_body(finish="", object="something"))["object"] == "chat.completion"


@pytest.mark.parametrize("name", ["id", "model", "created"])
def test_a_head_field_that_is_null_spoils_nothing(name):
    assert _choice(_body(**{name: None}))["message"]["content"] == "Hello"


@pytest.mark.parametrize("odd", [b"1e999", b'"\xff"'])
def test_a_reply_that_cannot_be_read_all_the_way_is_passed_on_as_it_is(odd):
    body = _body(finish="")[:-1] + b',"x":' + odd + b"}"
    assert _reply(body).encode(COUNTED) == body


# ---------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "code": 400}},
        {"code": "The service is currently unavailable", "error": "Try again"},
        {"error": [{"code": 2009, "message": "Unauthorized"}], "success": False},
        {"error": {"message": "no"}, "choices": []},
        {"error": {"message": "no"}, "choices": None},
        {"error": {"message": "no"}, "choices": "no"},
        {"error": {"message": "no"}, "id": 5},
        {"error": {"message": "no"}} | json.loads(_body()),
        json.loads(_body(finish="error")),
    ],
)
def test_an_error_in_place_of_a_reply_is_handed_on_as_it_came(body):
    raw = json.dumps(body).encode()
    with pytest.raises(EmbeddedError) as caught:
        _reply(raw)
    assert caught.value.payload == raw


@pytest.mark.parametrize("error", [None, {}, "", False, 0, []])
def test_an_empty_error_field_is_none(error):
    assert _choice(_body(error=error))["message"]["content"] == "Hello"


@pytest.mark.parametrize("error", [None, {}, "", False, 0, []])
def test_an_empty_error_field_explains_no_missing_answer(error):
    body = json.dumps({"error": error, "choices": []}).encode()
    assert _refusal(body).kind is ErrorKind.BAD_REPLY


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!DOCTYPE html><html>502 Bad Gateway</html>",
        b"{",
        _body()[:-1],
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":5}',
        b'{"choices":{}}',
        b'{"choices":[null]}',
        b'{"choices":["a"]}',
        b'{"choices":[{"message":"a"}]}',
        b'{"choices":[{"message":{"content":[]}}]}',
        b'{"choices":[{"message":{"content":"a","tool_calls":[1]}}]}',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
        b'{"choices":[{}],"x":NaN}',
        b'{"choices":' + b"[" * 100_000,
        b'{"choices":[{}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_reply_is_a_bad_reply(body):
    assert _refusal(body).kind is ErrorKind.BAD_REPLY


def test_a_refusal_says_nothing_of_what_the_upstream_sent():
    assert "secret" not in _refusal(b"<html>my secret</html>").message


@given(ODD_BODIES)
def test_no_body_makes_reading_or_writing_raise_anything_else(body):
    try:
        reply = _reply(body)
    except (EmbeddedError, GroxyError):
        return
    written = reply.encode(reply.reported_usage() or COUNTED)
    assert written == body or "choices" in json.loads(written)


@given(ODD_BODIES)
def test_every_reply_written_has_a_usage_that_adds_up(body):
    try:
        written = _written(body)
    except (EmbeddedError, GroxyError, UnicodeDecodeError):
        return
    if b"1e999" in body:
        return  # passed on as it is
    usage = written["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0
