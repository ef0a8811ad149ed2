"""The sandbox in every dialect that produces text: the same answers, the same ways to fail."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import CallersEnd, EmbeddedError, Frame
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT as COMPLETIONS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.upstreams._base import ErrorReply
from groxy.upstreams.sandbox import UPSTREAM
from groxy.upstreams.sandbox.server import Sandbox
from tests.upstreams.sandbox.asking import data_of

_FRAME = Frame(reply_id="r", created=1, count_input=lambda: 1)
_RULES = UPSTREAM.usage_rules
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_SEALED = "reasoning.encrypted_content"


def _turns(text):
    return [{"role": "user", "content": text}]


_DIALECTS: dict[str, tuple[CallersEnd, Callable[[str], dict[str, Any]]]] = {
    "chat": (CHAT, lambda text: {"messages": _turns(text)}),
    "responses": (RESPONSES, lambda text: {"input": text}),
    "messages": (MESSAGES, lambda text: {"max_tokens": 4096, "messages": _turns(text)}),
    "completions": (COMPLETIONS, lambda text: {"prompt": text}),
}
_STREAMING = {
    "chat": {"stream_options": {"include_usage": True}},
    "completions": {"stream_options": {"include_usage": True}},
}
_PATHS = {name: f"/v1{dialect.upstream_path}" for name, (dialect, _) in _DIALECTS.items()}
every_dialect = pytest.mark.parametrize("name", _DIALECTS)


def _body(name, text="Hello there", **fields):
    _, ask = _DIALECTS[name]
    return json.dumps({"model": "grok-4.7"} | ask(text) | fields).encode()


async def _ask(path, body, sandbox=None):
    reply = (sandbox or Sandbox()).answer("POST", path, {}, body)
    return reply, b"".join([chunk async for chunk in reply.body])


async def _whole(name, text="Hello there", **fields):
    """The reply, read by its dialect."""
    body = _body(name, text, **fields)
    dialect, _ = _DIALECTS[name]
    reply, content = await _ask(_PATHS[name], body)
    assert reply.status == 200, content
    return dialect.read_whole(content, dialect.decode_request(body), _RULES, _FRAME)


async def _streamed(name, text="Hello there", **fields):
    """The relay that read the stream, its failure and all."""
    body = _body(name, text, stream=True, **_STREAMING.get(name, {}), **fields)
    dialect, _ = _DIALECTS[name]
    reply = Sandbox().answer("POST", _PATHS[name], {}, body)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream")
    relay = dialect.relay(dialect.decode_request(body), _RULES, _FRAME)
    async for chunk in reply.body:
        relay.feed(chunk)
    relay.close()
    return relay


async def _stream(name, text="Hello there", **fields):
    body = _body(name, text, stream=True, **_STREAMING.get(name, {}), **fields)
    return (await _ask(_PATHS[name], body))[1]


async def _json(name, text="Hello there", **fields):
    reply, content = await _ask(_PATHS[name], _body(name, text, **fields))
    return reply.status, json.loads(content)


@every_dialect
async def test_whole_and_streamed_say_the_same(name):
    whole, streamed = await _whole(name), await _streamed(name)
    assert streamed.failure is None
    assert streamed.is_complete
    said = "".join(whole.tally.output)
    assert "“Hello there”" in said
    assert "".join(streamed.tally.output) == said
    assert streamed.tally.model_served == whole.tally.model_served == "grok-4.7"
    assert streamed.tally.reply_id == whole.tally.reply_id


@every_dialect
async def test_usage_is_honest_and_told_with_the_bill_where_the_dialect_has_one(name):
    whole = (await _whole(name, "Hi [[sandbox: cached=2]]")).reported_usage()
    assert whole == (await _streamed(name, "Hi [[sandbox: cached=2]]")).reported_usage()
    assert (whole.input_tokens, whole.cached_tokens) == (5, 2)
    assert (whole.cost_ticks is None) is (name == "messages")


async def test_every_dialect_gets_the_same_answer_for_the_same_usage():
    usages = [(await _whole(name)).reported_usage() for name in _DIALECTS]
    assert len({(usage.input_tokens, usage.output_tokens) for usage in usages}) == 1


@every_dialect
async def test_the_same_request_has_the_same_reply(name):
    assert await _stream(name) == await _stream(name)
    assert await _json(name) == await _json(name)


async def test_messages_may_have_a_query():
    reply, content = await _ask("/v1/messages?beta=true", _body("messages"))
    assert (reply.status, json.loads(content)["type"]) == (200, "message")


@every_dialect
async def test_events_are_split_and_commented_without_harm(name):
    relay = await _streamed(name, "Hello there [[sandbox: split=7 comments]]")
    assert relay.failure is None
    assert relay.is_complete
    assert relay.tally.output == (await _streamed(name)).tally.output


@every_dialect
async def test_a_stall_and_a_pace_are_steps_of_the_stream(name):
    for words in ("stall_after=3:0.02", "pace=200 tokens=3", "slow_first=0.02"):
        body = _body(name, f"Hello [[sandbox: {words}]]", stream=True)
        reply, content = await _ask(_PATHS[name], body)
        assert reply.takes_time
        assert content


@every_dialect
async def test_a_whole_reply_takes_as_long_as_its_tokens(name):
    fields = _body(name, "Hello [[sandbox: tokens=8 pace=100]]")
    reply, _ = await _ask(_PATHS[name], fields)
    assert reply.head_after_s == pytest.approx(0.08)


@every_dialect
async def test_a_cut_comes_after_so_many_events(name):
    body = _body(name, "Hello there [[sandbox: cut_after=3]]", stream=True)
    reply = Sandbox().answer("POST", _PATHS[name], {}, body)
    got, error = await _until_error(reply.body)
    assert error.kind is ErrorKind.STREAM_BROKEN
    assert got.count(b"\n\n") == 3


async def _until_error(body):
    got = b""
    try:
        async for chunk in body:
            got += chunk
    except GroxyError as error:
        return got, error
    raise AssertionError("it came to its end")


@every_dialect
async def test_garbage_is_noticed_where_it_stands(name):
    relay = await _streamed(name, "Hello there [[sandbox: garbage_after=9]]")
    assert isinstance(relay.failure, GroxyError)
    assert relay.failure.kind is ErrorKind.BAD_REPLY
    assert relay.tally.output


@every_dialect
async def test_an_error_ends_a_stream_in_the_form_of_the_dialect(name):
    relay = await _streamed(name, "Hello there [[sandbox: error_after=9]]")
    assert not relay.is_complete
    assert relay.tally.output
    assert _kind_of(relay.failure) is ErrorKind.UPSTREAM_DOWN


def _kind_of(failure):
    if isinstance(failure, EmbeddedError):
        return UPSTREAM.read_error(ErrorReply(status=200, body=failure.payload)).kind
    return failure.kind


@every_dialect
async def test_an_error_inside_a_200_is_one(name):
    for words in ("error_200", "error_after=3"):
        with pytest.raises(EmbeddedError) as caught:
            await _whole(name, f"Hello [[sandbox: {words}]]")
        assert _kind_of(caught.value) is ErrorKind.UPSTREAM_DOWN


@every_dialect
async def test_an_error_has_the_usual_shape_of_the_dialect(name):
    status, said = await _json(name, "[[sandbox: status=429 retry_after=3]]")
    assert status == 429
    assert set(said) == ({"type", "error"} if name == "messages" else {"code", "error"})
    _, said = await _json(name, "[[sandbox: status=429 shape=openai]]")
    assert said["error"]["code"] == "rate_limit_exceeded"


@every_dialect
async def test_what_it_refuses_itself_has_that_shape_too(name):
    for body in (b"{", _body(name, "[[sandbox: explode]]"), _body(name, model="")):
        reply, content = await _ask(_PATHS[name], body)
        assert reply.status == 400
        assert ("type" in json.loads(content)) is (name == "messages")


@every_dialect
async def test_usage_may_be_missing(name):
    relay = await _streamed(name, "Hello there [[sandbox: usage=none]]")
    assert (relay.failure, relay.is_complete) == (None, True)
    assert relay.reported_usage() is None
    assert (await _whole(name, "Hello [[sandbox: usage=none]]")).reported_usage() is None


@every_dialect
async def test_usage_may_be_zero(name):
    for reply in (
        await _streamed(name, "Hello there [[sandbox: usage=zero]]"),
        await _whole(name, "Hello there [[sandbox: usage=zero]]"),
    ):
        usage = reply.reported_usage()
        assert usage is None or usage.is_empty


@every_dialect
async def test_done_is_there_unless_it_is_left_out_and_messages_has_none(name):
    last = data_of(b"\n" + await _stream(name))[-1:] == [b"[DONE]"]
    assert (b"[DONE]" in await _stream(name)) is (name != "messages")
    assert last is (name in ("chat", "completions", "responses"))
    relay = await _streamed(name, "Hello there [[sandbox: no_done]]")
    assert (relay.failure, relay.is_complete) == (None, True)
    assert b"[DONE]" not in await _stream(name, "Hello there [[sandbox: no_done]]")


@every_dialect
async def test_the_oddities_of_chat_do_no_harm_elsewhere(name):
    relay = await _streamed(
        name, "Hello there [[sandbox: usage=cumulative empty_finish repeat_role no_index]]"
    )
    assert (relay.failure, relay.is_complete) == (None, True)


@every_dialect
async def test_a_token_limit_is_kept_to(name):
    limit = {"responses": "max_output_tokens", "chat": "max_completion_tokens"}
    fields = {limit.get(name, "max_tokens"): 7}
    assert (await _whole(name, **fields)).reported_usage().output_tokens == 7
    assert (await _streamed(name, **fields)).reported_usage().output_tokens == 7


@pytest.mark.parametrize("name", ["responses", "messages"])
async def test_tools_are_called_and_their_results_told(name):
    if name == "messages":
        tools = [{"name": "get_weather", "input_schema": _SCHEMA}]
    else:
        tools = [{"type": "function", "name": "get_weather", "parameters": _SCHEMA}]
    text = "call get_weather"
    _, reply = await _json(name, text, tools=tools)
    relay = await _streamed(name, text, tools=tools)
    assert relay.is_complete
    assert relay.tally.called == ["get_weather"]
    if name == "messages":
        (call,) = reply["content"]
        assert (call["type"], call["input"]) == ("tool_use", {"city": "city"})
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "Rain"}
        turns = [*_turns(text), {"role": "assistant", "content": [call]}]
        turns.append({"role": "user", "content": [result]})
        _, told = await _json(name, messages=turns, tools=tools)
    else:
        (call,) = reply["output"]
        assert (call["type"], call["arguments"]) == ("function_call", '{"city":"city"}')
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "Rain"}
        _, told = await _json(name, input=[*_turns(text), call, result], tools=tools)
    assert "The tool `get_weather` returned: “Rain”" in json.dumps(told, ensure_ascii=False)


async def test_sealed_thoughts_go_out_and_are_known_when_they_come_back_in_responses():
    fields = {"reasoning": {"effort": "low"}, "include": [_SEALED]}
    _, reply = await _json("responses", **fields)
    thoughts = reply["output"][0]
    assert thoughts["type"] == "reasoning"
    assert thoughts["encrypted_content"].startswith("sandbox-sealed-")
    items = [*_turns("Hello there"), *reply["output"], *_turns("And now?")]
    _, again = await _json("responses", input=items, **fields)
    assert "I got my earlier thoughts back." in json.dumps(again)
    thoughts["encrypted_content"] += "0"
    status, said = await _json("responses", input=items, **fields)
    assert status == 400
    assert "encrypted content" in said["error"]


async def test_sealed_thoughts_go_out_and_are_known_when_they_come_back_in_messages():
    fields = {"output_config": {"effort": "low"}}
    _, reply = await _json("messages", **fields)
    thoughts = reply["content"][0]
    assert thoughts["type"] == "thinking"
    turns = [*_turns("Hello there"), {"role": "assistant", "content": reply["content"]}]
    _, again = await _json("messages", messages=[*turns, *_turns("And now?")], **fields)
    assert "I got my earlier thoughts back." in json.dumps(again)
    thoughts["signature"] = thoughts["signature"][:-1]
    status, said = await _json("messages", messages=[*turns, *_turns("And now?")], **fields)
    assert status == 400
    assert said["error"]["type"] == "invalid_request_error"


async def test_thoughts_that_nobody_asked_for_are_not_told_in_messages():
    for fields in ({}, {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}):
        _, reply = await _json("messages", model="grok-4.20-reasoning", **fields)
        assert [block["type"] for block in reply["content"]] == ["text"]


async def test_sealed_thoughts_are_streamed_where_the_dialect_has_a_place_for_them():
    fields = {"reasoning": {"effort": "low"}, "include": [_SEALED]}
    relay = await _streamed("responses", **fields)
    assert len(relay.tally.sealed) == 1
    assert b"sandbox-sealed-" in await _stream("messages", output_config={"effort": "low"})
    for name in ("chat", "completions"):
        assert b"sandbox-sealed-" not in await _stream(name, model="grok-4.20-reasoning")


async def test_chat_still_gets_the_thoughts_in_words():
    _, reply = await _json("chat", reasoning_effort="low")
    assert reply["choices"][0]["message"]["reasoning_content"]


async def test_tools_of_the_upstream_are_named_and_not_used():
    tools = [{"type": "web_search"}, {"type": "x_search"}]
    _, reply = await _json("responses", tools=tools)
    assert "I was offered web_search, x_search." in json.dumps(reply)
    assert [item["type"] for item in reply["output"]] == ["message"]


async def test_it_cannot_go_on_from_a_reply_that_it_did_not_keep():
    status, said = await _json("responses", previous_response_id="resp_1")
    assert status == 400
    assert "keeps no replies" in said["error"]
