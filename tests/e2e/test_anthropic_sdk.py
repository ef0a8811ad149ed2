"""The official Anthropic client, unmodified, over a relayed and over translated lanes."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pydantic
import pytest

from tests.e2e.running import (
    KEY,
    Gateway,
    config_toml,
    running,
    running_over,
    sandbox_server,
)

pytestmark = pytest.mark.e2e

_MODEL = "grok-4.3"
_BACK = "I got my earlier thoughts back."
_THINK: Any = {"type": "enabled", "budget_tokens": 1024}
_USER: Any = [{"role": "user", "content": "Hello, gateway"}]
_WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
_TIME: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)


@pytest.fixture(scope="module", params=["built-in", "chat", "responses"])
def lane(request) -> str:
    """What serves: the built-in sandbox in the same dialect, or one that speaks another only."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def gateway(lane, tmp_path_factory) -> Iterator[Gateway]:
    with running_over(lane, tmp_path_factory.mktemp(f"messages-{lane}")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway) -> Iterator[anthropic.Anthropic]:
    with _client(gateway) as client:
        yield client


def _client(gateway: Gateway, key: str = KEY, path: str = "") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url + path, api_key=key, max_retries=0)


def _ask(client: anthropic.Anthropic, text: str = "Hello", **fields: Any) -> Any:
    asked: Any = {
        "model": _MODEL,
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": text}],
    }
    return client.messages.create(**(asked | fields))


def _text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


# ------------------------------------------------------------------------------ plain answers


def test_a_whole_answer(client):
    message = _ask(client, "Hello, gateway", system="Be brief.")
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert message.id.startswith("msg_")
    assert message.model == _MODEL
    assert "instructions of 2 words" in _text(message)
    assert "“Hello, gateway”" in _text(message)
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


def test_a_streamed_answer_is_the_whole_one_in_pieces(client):
    whole = _ask(client, "Hello, pieces")
    with _ask(client, "Hello, pieces", stream=True) as stream:
        events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    pieces = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert len(pieces) > 3, "it came in one piece"
    assert "".join(pieces) == _text(whole)
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens == whole.usage.output_tokens


def test_the_helper_for_streams_ends_with_the_whole_message(client):
    whole = _ask(client, "Hello, helper")
    with client.messages.stream(
        model=_MODEL, max_tokens=2000, messages=[{"role": "user", "content": "Hello, helper"}]
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == _text(final) == _text(whole)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens


async def test_the_asynchronous_client_is_served_too(gateway):
    async with (
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client,
        client.messages.stream(model=_MODEL, max_tokens=2000, messages=_USER) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
    assert "“Hello, gateway”" in text


def test_a_key_is_taken_as_a_bearer_token_too(gateway):
    with anthropic.Anthropic(base_url=gateway.url, auth_token=KEY, max_retries=0) as client:
        assert _ask(client).stop_reason == "end_turn"


def test_a_limit_of_tokens_is_kept(client):
    message = _ask(client, max_tokens=5)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 5


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_stop_sequence_ends_the_answer_and_is_told(client, is_stream):
    asked: Any = {"stop_sequences": ["no such words", "You wrote"]}
    if is_stream:
        with client.messages.stream(
            model=_MODEL, max_tokens=2000, messages=_USER, **asked
        ) as stream:
            message = stream.get_final_message()
    else:
        message = _ask(client, **asked)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "You wrote")
    assert _text(message)
    assert "You wrote" not in _text(message)


def test_whole_conversations_and_system_blocks_are_taken(client):
    turns: Any = [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": [{"type": "text", "text": "Two"}]},
        {"role": "user", "content": [{"type": "text", "text": "Three"}]},
    ]
    system: Any = [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    message = _ask(client, messages=turns, system=system, metadata={"user_id": "u1"})
    assert "message number 2" in _text(message)
    assert "instructions of 4 words" in _text(message)
    assert "“Three”" in _text(message)


@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "image/png", "data": _PIXEL},
        {"type": "url", "url": "https://example.com/cat.png"},
    ],
)
def test_a_picture_is_taken_by_address_and_inline(client, source):
    content: Any = [
        {"type": "image", "source": source},
        {"type": "text", "text": "What is this?"},
    ]
    message = _ask(client, messages=[{"role": "user", "content": content}])
    assert "I see 1 picture." in _text(message)
    assert "“What is this?”" in _text(message)
    assert message.usage.input_tokens > 100, "a picture costs tokens"


def test_the_beta_client_is_served_with_its_query_and_without(client):
    beta: Any = {"model": _MODEL, "max_tokens": 2000, "messages": _USER, "betas": ["some-beta"]}
    for query in ({}, {"beta": "true"}):
        raw = client.beta.messages.with_raw_response.create(extra_query=query, **beta)
        assert ("beta=true" in str(raw.http_request.url)) is bool(query)
        assert "“Hello, gateway”" in _text(raw.parse())
    with client.beta.messages.stream(extra_query={"beta": "true"}, **beta) as stream:
        assert "“Hello, gateway”" in _text(stream.get_final_message())


# ------------------------------------------------------------------------------------- tools


def test_a_whole_tool_loop_ends_in_an_answer_from_the_results(client):
    turns: Any = [{"role": "user", "content": "call get_weather and get_time"}]
    called = _ask(client, messages=turns, tools=[_WEATHER, _TIME])
    assert called.stop_reason == "tool_use"
    calls = [block for block in called.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [
        ("get_weather", {"city": "city"}),
        ("get_time", {}),
    ]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"From {call.name}"}
        for call in calls
    ]
    turns += [
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": results},
    ]
    told = _ask(client, messages=turns, tools=[_WEATHER, _TIME])
    assert told.stop_reason == "end_turn"
    assert "`get_weather` returned: “From get_weather”" in _text(told)
    assert "`get_time` returned: “From get_time”" in _text(told)


def test_the_result_of_a_tool_that_failed_is_told_in_blocks(client):
    turns: Any = [{"role": "user", "content": "call get_weather for Oslo"}]
    called = _ask(client, messages=turns, tools=[_WEATHER])
    result = {
        "type": "tool_result",
        "tool_use_id": called.content[0].id,
        "is_error": True,
        "content": [{"type": "text", "text": "No such city"}],
    }
    turns += [
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    assert "No such city" in _text(_ask(client, messages=turns, tools=[_WEATHER]))


@pytest.mark.parametrize("words", ["", "[[sandbox: fragments]]"])
def test_streamed_calls_come_together(client, words):
    with client.messages.stream(
        model=_MODEL,
        max_tokens=2000,
        tools=[_WEATHER, _TIME],
        messages=[{"role": "user", "content": f"call get_weather and get_time {words}"}],
    ) as stream:
        pieces: dict[int, str] = {}
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                pieces[event.index] = pieces.get(event.index, "") + event.delta.partial_json
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    calls = [block for block in final.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [
        ("get_weather", {"city": "city"}),
        ("get_time", {}),
    ]
    assert [json.loads(text or "{}") for text in pieces.values()] == [call.input for call in calls]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_time"}])
def test_a_tool_that_must_be_called_is(client, choice):
    message = _ask(client, tools=[_TIME], tool_choice=choice)
    assert [block.name for block in message.content] == ["get_time"]


def test_no_tool_is_called_when_that_is_ruled_out(client):
    message = _ask(client, "call get_time", tools=[_TIME], tool_choice={"type": "none"})
    assert message.stop_reason == "end_turn"


def test_tools_are_not_called_in_parallel_when_that_is_ruled_out(client):
    message = _ask(
        client,
        "call get_weather and get_time",
        tools=[_WEATHER, _TIME],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert len(message.content) == 1


class Person(pydantic.BaseModel):
    name: str
    age: int
    tags: list[str]


def test_a_pydantic_model_is_filled(client):
    message = client.messages.parse(
        model=_MODEL, max_tokens=2000, messages=_USER, output_format=Person
    )
    assert isinstance(message.parsed_output, Person)


# ------------------------------------------------------------------------------------ thinking


def test_thinking_comes_first_and_counts_as_output(client):
    message = _ask(client, thinking=_THINK)
    thought, text = message.content
    assert (thought.type, text.type) == ("thinking", "text")
    assert "The request has 1 word." in thought.thinking
    assert message.usage.output_tokens > _ask(client).usage.output_tokens


@pytest.mark.parametrize("thinking", [anthropic.omit, {"type": "disabled"}])
def test_who_asks_for_no_thinking_gets_text_first(client, thinking):
    message = _ask(client, model="grok-4.20-0309", thinking=thinking)
    assert message.content[0].type == "text"


@pytest.mark.parametrize("is_stream", [False, True])
def test_thinking_that_is_sent_back_is_known_again_where_the_lane_has_a_place(
    client, lane, is_stream
):
    if is_stream:
        with client.messages.stream(
            model=_MODEL, max_tokens=2000, messages=_USER, thinking=_THINK
        ) as stream:
            kinds = [event.type for event in stream]
            first = stream.get_final_message()
        assert kinds.index("thinking") < kinds.index("text")
    else:
        first = _ask(client, messages=_USER, thinking=_THINK)
    has_a_place = lane != "chat"
    assert bool(first.content[0].signature) is has_a_place
    turns = [
        *_USER,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "And now?"},
    ]
    second = _ask(client, messages=turns, thinking=_THINK)
    assert (_BACK in _text(second)) is has_a_place
    assert "“And now?”" in _text(second)


def test_thinking_survives_a_tool_loop(client, lane):
    turns: Any = [{"role": "user", "content": "call get_weather for Oslo"}]
    called = _ask(client, messages=turns, tools=[_WEATHER], thinking=_THINK)
    assert [block.type for block in called.content] == ["thinking", "tool_use"]
    result = {
        "type": "tool_result",
        "tool_use_id": called.content[1].id,
        "content": "Rain, 7 degrees",
    }
    turns += [
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    told = _ask(client, messages=turns, tools=[_WEATHER], thinking=_THINK)
    assert "“Rain, 7 degrees”" in _text(told)
    assert (_BACK in _text(told)) is (lane != "chat")


def test_thinking_that_was_not_asked_for_survives_a_tool_loop(client, lane):
    model = "grok-4.20-0309"
    turns: Any = [{"role": "user", "content": "call get_weather for Oslo"}]
    called = _ask(client, model=model, messages=turns, tools=[_WEATHER])
    (call,) = called.content
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain, 7 degrees"}
    turns += [
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    told = _ask(client, model=model, messages=turns, tools=[_WEATHER])
    assert (_BACK in _text(told)) is (lane == "responses")


# ----------------------------------------------------------------------------- counts and models


def test_tokens_are_counted_as_they_are_billed(client):
    asked: Any = {"system": "Be brief.", "tools": [_WEATHER], "messages": _USER}
    counted = client.messages.count_tokens(model=_MODEL, **asked)
    assert counted.input_tokens == _ask(client, **asked).usage.input_tokens
    bare = client.messages.count_tokens(model=_MODEL, messages=_USER)
    assert 0 < bare.input_tokens < counted.input_tokens


def test_the_beta_client_counts_too(client):
    counted = client.beta.messages.count_tokens(model=_MODEL, messages=_USER)
    assert counted.input_tokens > 0


def test_models_are_listed_once_each_and_found(client):
    listed = [model.id for model in client.models.list(limit=5)]
    assert len(listed) == len(set(listed))
    assert _MODEL in listed
    assert "claude-grok-4-3" in listed, "clients that want such a name find one"
    for name in (_MODEL, "claude-grok-4-3"):
        found = client.models.retrieve(name)
        assert (found.id, found.type) == (name, "model")
        assert found.display_name
        assert found.created_at.year > 2020
        assert _ask(client, model=name).stop_reason == "end_turn"


# -------------------------------------------------------------------------------------- errors


def test_a_wrong_key_is_a_401_in_anthropics_envelope(gateway):
    with _client(gateway, "sk-wrong") as client:
        for ask in (
            lambda: _ask(client),
            client.models.list,
            lambda: client.messages.count_tokens(model=_MODEL, messages=_USER),
        ):
            with pytest.raises(anthropic.AuthenticationError) as caught:
                ask()
            assert caught.value.type == "authentication_error"
            body: Any = caught.value.body
            assert body["type"] == "error"
            assert set(body["error"]) == {"type", "message"}


def test_an_unknown_model_is_refused_by_name(client):
    with pytest.raises(anthropic.BadRequestError) as caught:
        _ask(client, model="gpt-4o")
    assert caught.value.type == "invalid_request_error"
    assert "gpt-4o" in caught.value.message
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.models.retrieve("gpt-4o")
    assert missing.value.type == "not_found_error"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role"),
        ({"extra_body": {"temperature": 9}}, "temperature"),
        ({"tools": [{"name": "x"}]}, "tools.0"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice"),
    ],
)
def test_a_wrong_value_is_a_400_that_names_the_field(client, fields, named):
    with pytest.raises(anthropic.BadRequestError) as caught:
        _ask(client, **fields)
    assert caught.value.type == "invalid_request_error"
    assert named in caught.value.message


def test_a_base_url_with_v1_is_told_what_is_wrong_with_it(gateway):
    with (
        _client(gateway, path="/v1") as client,
        pytest.raises(anthropic.NotFoundError) as caught,
    ):
        _ask(client)
    assert "base URL without /v1" in caught.value.message


def test_openrouters_prefix_answers_too(gateway):
    with _client(gateway, path="/api") as client:
        assert _ask(client, model="x-ai/grok-4").stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("words", "expected", "kind"),
    [
        ("status=429 retry_after=2", anthropic.RateLimitError, "rate_limit_error"),
        ("status=500", anthropic.InternalServerError, "api_error"),
        ("status=529", anthropic.InternalServerError, "api_error"),
        ("error_200", anthropic.InternalServerError, "api_error"),
        ("wrong_key", anthropic.InternalServerError, "api_error"),
        ("no_credits", anthropic.InternalServerError, "api_error"),
        ("status=504", anthropic.APIStatusError, "timeout_error"),
        ("too_long", anthropic.BadRequestError, "invalid_request_error"),
        ("refused", anthropic.PermissionDeniedError, "permission_error"),
        ("status=413", anthropic.APIStatusError, "request_too_large"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_what_goes_wrong_is_told_in_the_clients_own_classes(
    client, words, expected, kind, is_stream
):
    with pytest.raises(expected) as caught:
        _ask(client, f"[[sandbox: {words}]]", stream=is_stream)
    assert caught.value.type == kind
    if "retry_after" in words:
        assert caught.value.response.headers["retry-after"] == "2"


def test_a_whole_reply_that_breaks_off_is_an_error(client):
    with pytest.raises(anthropic.InternalServerError) as caught:
        _ask(client, "Hello [[sandbox: cut_after=3]]")
    assert caught.value.type == "api_error"


@pytest.mark.parametrize("words", ["cut_after=8", "error_after=8", "garbage_after=8"])
def test_a_stream_that_breaks_off_raises_in_the_client(client, words):
    kinds: list[str] = []
    with (
        _ask(client, f"Hello [[sandbox: {words}]]", stream=True) as stream,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        kinds.extend(event.type for event in stream)
    assert "content_block_delta" in kinds
    assert caught.value.type == "api_error"
    with (
        client.messages.stream(
            model=_MODEL,
            max_tokens=2000,
            messages=[{"role": "user", "content": f"Hello [[sandbox: {words}]]"}],
        ) as helped,
        pytest.raises(anthropic.APIStatusError),
    ):
        helped.get_final_message()


def test_odd_streams_are_read_all_the_same(client):
    with client.messages.stream(
        model=_MODEL,
        max_tokens=2000,
        messages=[{"role": "user", "content": "Hello [[sandbox: split=5 comments no_done]]"}],
    ) as stream:
        assert "“Hello”" in _text(stream.get_final_message())


def test_request_ids_reach_the_client_with_answers_and_with_errors(client):
    assert _ask(client)._request_id.startswith("req_")
    with pytest.raises(anthropic.BadRequestError) as caught:
        _ask(client, model="gpt-4o")
    assert (caught.value.request_id or "").startswith("req_")


def test_the_clients_own_retry_gets_an_answer_after_one_failure(gateway, lane):
    with anthropic.Anthropic(base_url=gateway.url, api_key=KEY, max_retries=1) as client:
        message = _ask(client, f"Again over {lane} [[sandbox: status=429 retry_after=1 times=1]]")
    assert message.stop_reason == "end_turn"


def test_the_books_show_what_the_client_was_told_and_which_lane_it_took(gateway, client, lane):
    raw = client.messages.with_raw_response.create(
        model=_MODEL, max_tokens=2000, messages=_USER, thinking=_THINK
    )
    usage = raw.parse().usage
    row = gateway.entry(raw.headers["x-request-id"])
    assert (row.input_tokens, row.output_tokens) == (usage.input_tokens, usage.output_tokens)
    served_in = "messages" if lane == "built-in" else lane
    assert (row.dialect, row.upstream_dialect) == ("messages", served_in)


def test_no_account_that_can_be_used_is_an_overload(tmp_path):
    with sandbox_server(tmp_path) as base_url:
        account = f"""
[[accounts]]
name = "rejected"
upstream = "xai"
api_key = "xai-e2e"
base_url = "{base_url}"
"""
        gateway = Gateway(folder=tmp_path, config=config_toml(account))
        with running(gateway), _client(gateway) as client:
            with pytest.raises(anthropic.InternalServerError):
                _ask(client, "[[sandbox: wrong_key]]")
            with pytest.raises(anthropic.APIStatusError) as caught:
                _ask(client)
    assert caught.value.type == "overloaded_error"
    assert isinstance(caught.value, anthropic.ServiceUnavailableError)
    assert int(caught.value.response.headers["retry-after"]) > 0
