"""The official OpenAI client, unmodified, against the gateway: every feature and every error."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pydantic
import pytest
import pytest_asyncio

from tests.e2e.running import KEY, Gateway, account_toml, config_toml, running
from tests.e2e.scripted import (
    TEXT,
    USAGE,
    chunk_of,
    end_well,
    fails,
    says,
    streams,
    whole_reply,
)

pytestmark = pytest.mark.e2e

_MAX_BODY_BYTES = 1024 * 1024
_USER: Any = [{"role": "user", "content": "Hello, gateway"}]
_WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
_TIME: Any = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
}
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAA"
    "ABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory) -> Iterator[Gateway]:
    """A gateway with nothing but the sandbox."""
    config = config_toml(extra=f"[server]\nmax_body_bytes = {_MAX_BODY_BYTES}")
    with running(Gateway(folder=tmp_path_factory.mktemp("sandboxed"), config=config)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def seat(upstream):
    return upstream.seat("sdk", ("grok-4.3", "plain"))


@pytest.fixture(scope="module")
def with_account(seat, tmp_path_factory) -> Iterator[Gateway]:
    """A gateway with one account at the scripted upstream."""
    config = config_toml(account_toml("first", seat))
    with running(Gateway(folder=tmp_path_factory.mktemp("account"), config=config)) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _no_old_calls(seat) -> None:
    seat.clear()


def _base_url(gateway: Gateway) -> str:
    return f"{gateway.url}/v1"


@pytest_asyncio.fixture
async def client(sandboxed) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=_base_url(sandboxed), api_key=KEY, max_retries=0
    ) as client:
        yield client


@pytest_asyncio.fixture
async def scripted(with_account) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=_base_url(with_account), api_key=KEY, max_retries=0
    ) as client:
        yield client


@pytest.fixture
def blocking(sandboxed) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=_base_url(sandboxed), api_key=KEY, max_retries=0) as client:
        yield client


# ------------------------------------------------------------------------------ plain answers


def test_a_whole_answer_for_the_blocking_client(blocking):
    reply = blocking.chat.completions.create(model="grok-4", messages=_USER)
    assert "Hello, gateway" in reply.choices[0].message.content
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens > 0
    assert reply.usage.completion_tokens > 0
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_streamed_answer_for_the_blocking_client(blocking):
    with blocking.chat.completions.create(model="grok-4", messages=_USER, stream=True) as stream:
        chunks = list(stream)
    assert "Hello, gateway" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks), "usage comes only when asked for"


async def test_a_streamed_answer_has_a_role_first_and_a_finish_last(client):
    stream = await client.chat.completions.create(model="grok-4", messages=_USER, stream=True)
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices[0].delta.role] == [
        "assistant"
    ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


async def test_usage_comes_last_and_without_choices_when_asked_for(client):
    stream = await client.chat.completions.create(
        model="grok-4", messages=_USER, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_helper_for_streams_ends_with_the_whole_answer(client):
    async with client.chat.completions.stream(model="grok-4", messages=_USER) as stream:
        final = await stream.get_final_completion()
    assert "Hello, gateway" in final.choices[0].message.content


async def test_all_roles_are_taken(client):
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": [{"type": "text", "text": "Three"}]},
    ]
    reply = await client.chat.completions.create(model="grok-4", messages=messages)
    assert "Three" in reply.choices[0].message.content


@pytest.mark.parametrize("effort", ["low", "high"])
async def test_reasoning_is_shown_and_counted(client, effort):
    reply = await client.chat.completions.create(
        model="grok-4.3", messages=_USER, reasoning_effort=effort
    )
    thought = reply.usage.completion_tokens_details.reasoning_tokens
    assert reply.choices[0].message.reasoning_content
    assert 0 < thought < reply.usage.completion_tokens
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


async def test_streamed_reasoning_comes_before_the_answer(client):
    stream = await client.chat.completions.create(
        model="grok-4.3", messages=_USER, reasoning_effort="low", stream=True
    )
    deltas = [chunk.choices[0].delta async for chunk in stream]
    kinds = [
        "thought" if getattr(delta, "reasoning_content", None) else "text"
        for delta in deltas
        if getattr(delta, "reasoning_content", None) or delta.content
    ]
    assert kinds == sorted(kinds, reverse=True)
    assert "thought" in kinds


async def test_two_choices_are_two_answers(client):
    reply = await client.chat.completions.create(model="grok-4", messages=_USER, n=2)
    assert [choice.index for choice in reply.choices] == [0, 1]
    first, second = (choice.message.content for choice in reply.choices)
    assert first != second


async def test_two_streamed_choices_each_begin_with_a_role_and_end(client):
    stream = await client.chat.completions.create(model="grok-4", messages=_USER, n=2, stream=True)
    roles: dict[int, str] = {}
    ends: dict[int, str] = {}
    async for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.role:
                assert choice.index not in roles
                roles[choice.index] = choice.delta.role
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    assert roles == {0: "assistant", 1: "assistant"}
    assert ends == {0: "stop", 1: "stop"}


async def test_a_seed_gives_the_same_answer_again(client):
    replies = [
        await client.chat.completions.create(model="grok-4", messages=_USER, seed=seed)
        for seed in (7, 7, 8)
    ]
    first, second, other = (reply.choices[0].message.content for reply in replies)
    assert first == second
    assert first != other


async def test_a_stop_text_ends_the_answer_before_it(client):
    full = await client.chat.completions.create(model="grok-4", messages=_USER)
    words = full.choices[0].message.content.split()
    cut = await client.chat.completions.create(model="grok-4", messages=_USER, stop=[words[3]])
    assert cut.choices[0].message.content.split() == words[:3]
    assert cut.choices[0].finish_reason == "stop"


async def test_a_limit_of_tokens_is_kept(client):
    reply = await client.chat.completions.create(
        model="grok-4", messages=_USER, max_completion_tokens=5
    )
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 5


@pytest.mark.parametrize("url", ["https://example.com/cat.png", _PIXEL])
async def test_a_picture_is_taken_by_address_and_inline(client, url):
    messages: Any = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
            ],
        }
    ]
    reply = await client.chat.completions.create(model="grok-4", messages=messages)
    assert "What is this?" in reply.choices[0].message.content
    assert reply.usage.prompt_tokens > 100, "a picture costs tokens"


# ------------------------------------------------------------------------------------- tools


async def test_a_tool_is_called_when_the_text_asks_for_it(client):
    messages: Any = [{"role": "user", "content": "call get_weather for Oslo"}]
    reply = await client.chat.completions.create(
        model="grok-4", messages=messages, tools=[_WEATHER, _TIME]
    )
    (call,) = reply.choices[0].message.tool_calls
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert "city" in json.loads(call.function.arguments)
    assert reply.choices[0].finish_reason == "tool_calls"


async def test_no_tool_is_called_when_the_text_does_not_ask(client):
    reply = await client.chat.completions.create(model="grok-4", messages=_USER, tools=[_TIME])
    assert reply.choices[0].message.tool_calls is None


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_time"}}]
)
async def test_a_tool_that_must_be_called_is(client, choice):
    reply = await client.chat.completions.create(
        model="grok-4", messages=_USER, tools=[_TIME], tool_choice=choice
    )
    assert reply.choices[0].message.tool_calls[0].function.name == "get_time"


async def test_several_tools_are_called_in_parallel_and_streamed(client):
    messages: Any = [{"role": "user", "content": "call get_weather and get_time"}]
    stream = await client.chat.completions.create(
        model="grok-4", messages=messages, tools=[_WEATHER, _TIME], stream=True
    )
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    reasons = []
    async for chunk in stream:
        choice = chunk.choices[0]
        reasons.append(choice.finish_reason)
        for call in choice.delta.tool_calls or ():
            if call.function.name:
                assert call.id
                names[call.index] = call.function.name
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert names == {0: "get_weather", 1: "get_time"}
    assert all(isinstance(json.loads(text), dict) for text in arguments.values())
    assert reasons[-1] == "tool_calls"


async def test_tools_are_not_called_in_parallel_when_that_is_ruled_out(client):
    messages: Any = [{"role": "user", "content": "call get_weather and get_time"}]
    reply = await client.chat.completions.create(
        model="grok-4", messages=messages, tools=[_WEATHER, _TIME], parallel_tool_calls=False
    )
    assert len(reply.choices[0].message.tool_calls) == 1


@pytest.mark.parametrize("function", [{"name": "now"}, {"name": "now", "parameters": {}}])
async def test_a_tool_without_parameters_is_called_with_an_empty_object(client, function):
    tool: Any = {"type": "function", "function": function}
    reply = await client.chat.completions.create(
        model="grok-4", messages=_USER, tools=[tool], tool_choice="required"
    )
    assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == {}


async def test_a_whole_tool_loop_ends_in_an_answer_from_the_result(client):
    messages: Any = [{"role": "user", "content": "call get_weather for Oslo"}]
    for is_first in (True, False):
        reply = await client.chat.completions.create(
            model="grok-4", messages=messages, tools=[_WEATHER]
        )
        message = reply.choices[0].message
        assert bool(message.tool_calls) is is_first
        messages.append(message)
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": "Rain, 7 degrees"}
            for call in message.tool_calls or ()
        ]
    assert "Rain, 7 degrees" in messages[-1].content


# --------------------------------------------------------------------------- structured output


class Person(pydantic.BaseModel):
    name: str
    age: int
    tags: list[str]


async def test_a_pydantic_model_is_filled(client):
    reply = await client.chat.completions.parse(
        model="grok-4", messages=_USER, response_format=Person
    )
    assert isinstance(reply.choices[0].message.parsed, Person)


async def test_a_pydantic_model_is_filled_from_a_stream(client):
    async with client.chat.completions.stream(
        model="grok-4", messages=_USER, response_format=Person
    ) as stream:
        final = await stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Person)


async def test_a_json_object_is_json(client):
    reply = await client.chat.completions.create(
        model="grok-4", messages=_USER, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(reply.choices[0].message.content), dict)


# --------------------------------------------------------------------------- what passes through


async def test_unknown_fields_arrive_upstream_byte_for_byte(scripted, seat):
    extra = {
        "vendor_option": {"z": 1, "a": [1.50, None, "ü"], "n": {"deep": True}},
        "another": "x\u2028y",
        "huge": 12345678901234567890,
    }
    await scripted.chat.completions.create(
        model="grok-4.3",
        messages=_USER,
        extra_body=extra,
        extra_headers={"Cookie": "a=b", "X-Caller": "1"},
    )
    (call,) = seat.calls
    sent = call.json
    assert {name: sent[name] for name in extra} == extra
    raw = json.dumps(extra["vendor_option"], ensure_ascii=False, separators=(",", ":")).encode()
    assert b'"vendor_option":' + raw in call.body
    assert "cookie" not in call.headers
    assert "x-caller" not in call.headers
    assert call.headers["authorization"] == "Bearer xai-secret-of-first"


async def test_numbers_arrive_upstream_as_they_were_written(with_account, seat):
    body = (
        b'{"model":"grok-4.3","vendor":{"a":1.50,"b":1e2,"c":-0.0,"d":"\\u00fc"},'
        b'"messages":[{"role":"user","content":"Hi","vendor":[1.10]}]}'
    )
    reply = with_account.request("POST", "/v1/chat/completions", body, with_account.auth)
    assert reply.status == 200
    (call,) = seat.calls
    assert b'{"a":1.50,"b":1e2,"c":-0.0,"d":"\\u00fc"}' in call.body
    assert b'[{"role":"user","content":"Hi","vendor":[1.10]}]' in call.body


async def test_logprobs_pass_through_whole_and_streamed(scripted, seat):
    token = {"token": "Hello", "logprob": -0.25, "bytes": [72], "top_logprobs": []}
    logprobs = {"content": [token], "refusal": None}
    choice = whole_reply()["choices"][0] | {"logprobs": logprobs}
    seat.will(says(whole_reply(choices=[choice])))
    reply = await scripted.chat.completions.create(
        model="plain", messages=_USER, logprobs=True, top_logprobs=2
    )
    assert reply.choices[0].logprobs.content[0].logprob == -0.25
    assert seat.calls[0].json["top_logprobs"] == 2

    chunk = chunk_of({"role": "assistant", "content": "Hello"})
    chunk["choices"][0]["logprobs"] = logprobs
    seat.will(streams(chunk, then=end_well))
    stream = await scripted.chat.completions.create(
        model="plain", messages=_USER, logprobs=True, stream=True
    )
    first, *_ = [part async for part in stream]
    assert first.choices[0].logprobs.content[0].token == "Hello"


async def test_a_whole_reply_that_needs_no_mending_arrives_byte_for_byte(with_account, seat):
    reply = whole_reply(vendor={"kept": [1.50]}, system_fingerprint="fp_1")
    seat.will(says(reply))
    answer = with_account.ask()
    assert answer.body == json.dumps(reply).encode()


async def test_what_was_taken_out_is_said_in_a_header_whole_and_streamed(scripted):
    for is_stream in (False, True):
        raw = await scripted.chat.completions.with_raw_response.create(
            model="grok-4.3", messages=_USER, presence_penalty=0.5, stream=is_stream
        )
        assert "presence_penalty dropped" in raw.headers["x-groxy-adjusted"]
        await raw.http_response.aclose()


async def test_the_account_serves_and_the_books_show_its_own_bill(scripted, with_account):
    raw = await scripted.chat.completions.with_raw_response.create(model="grok-4.3", messages=_USER)
    assert raw.parse().choices[0].message.content == TEXT
    row = with_account.entry(raw.headers["x-request-id"])
    assert row.account_id == "first"
    assert row.cost_ticks == USAGE["cost_in_usd_ticks"]
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (20, 4, 7)


async def test_a_search_that_no_upstream_has_is_refused_before_it_can(scripted, seat):
    search = {"mode": "on", "sources": [{"type": "rss", "links": ["https://example.com"]}]}
    with pytest.raises(openai.BadRequestError) as caught:
        await scripted.chat.completions.create(
            model="grok-4.3", messages=_USER, extra_body={"search_parameters": search}
        )
    assert str(caught.value.param).startswith("search_parameters")
    assert seat.calls == []


# -------------------------------------------------------------------------------------- models


async def test_models_are_listed_and_found(client):
    listed = {model.id: model async for model in client.models.list()}
    assert "grok-4.3" in listed
    found = await client.models.retrieve("grok-4.3")
    assert (found.id, found.object) == ("grok-4.3", "model")


async def test_every_listed_model_answers(client):
    async for model in client.models.list():
        if model.id == "v1":  # the one that makes embeddings
            assert (await client.embeddings.create(model="v1", input="x")).data
            continue
        picture = [{"type": "image_url", "image_url": {"url": _PIXEL}}]
        asked = [{"type": "text", "text": "Hello"}, *(picture if "edit" in model.id else [])]
        reply = await client.chat.completions.create(
            model=model.id, messages=[{"role": "user", "content": asked}]
        )
        assert reply.choices[0].message.content


async def test_a_model_that_changes_pictures_asks_for_one(client):
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(model="grok-imagine-image-edit", messages=_USER)
    assert "picture" in raised.value.message


async def test_only_models_of_the_upstreams_list_are_listed(scripted):
    listed = {model.id async for model in scripted.models.list()}
    assert "plain" in listed
    assert "grok-4.3" in listed
    assert "grok-imagine-image" not in listed


async def test_a_model_with_slashes_is_found_and_answers(client):
    assert (await client.models.retrieve("x-ai/grok-4")).id == "x-ai/grok-4"
    reply = await client.chat.completions.create(model="x-ai/grok-4", messages=_USER)
    assert reply.choices[0].message.content


# -------------------------------------------------------------------------------------- errors


async def test_a_wrong_key_is_a_401(sandboxed):
    async with openai.AsyncOpenAI(
        base_url=_base_url(sandboxed), api_key="sk-wrong", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="grok-4", messages=_USER)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.type == "authentication_error"


async def test_an_unknown_model_is_a_400_that_names_the_field(client):
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="gpt-4o", messages=_USER)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_an_unknown_model_is_a_404_when_it_is_looked_up(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-4o")
    assert caught.value.code == "not_found"


async def test_an_unknown_path_is_a_404(client):
    with pytest.raises(openai.NotFoundError):
        await client.fine_tuning.jobs.list()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 9}, "temperature"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
    ],
)
async def test_a_wrong_value_is_a_400_that_names_the_field(client, fields, param):
    asked: Any = {"model": "grok-4", "messages": _USER} | fields
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**asked)
    assert (caught.value.param or "").startswith(param)


async def test_a_body_over_the_limit_is_a_413(client):
    messages: Any = [{"role": "user", "content": "x" * (40 * 1024 * 1024)}]
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model="grok-4", messages=messages)
    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"


def test_a_body_over_the_limit_is_a_413_for_the_blocking_client(blocking):
    messages: Any = [{"role": "user", "content": "x" * (2 * 1024 * 1024)}]
    with pytest.raises(openai.APIStatusError) as caught:
        blocking.chat.completions.create(model="grok-4", messages=messages)
    assert caught.value.status_code == 413


async def test_a_rate_limit_is_a_429_with_the_time_to_wait(client):
    messages: Any = [{"role": "user", "content": "[[sandbox: status=429 retry_after=1]]"}]
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="grok-4", messages=messages)
    assert caught.value.response.headers["retry-after"] == "1"


async def test_an_upstream_that_is_down_is_a_502(client):
    messages: Any = [{"role": "user", "content": "[[sandbox: status=500]]"}]
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="grok-4", messages=messages)
    assert caught.value.status_code == 502
    assert caught.value.type == "upstream_error"


async def test_a_stream_that_breaks_off_raises_in_the_client(client):
    messages: Any = [{"role": "user", "content": "[[sandbox: cut_after=3]]"}]
    stream = await client.chat.completions.create(model="grok-4", messages=messages, stream=True)
    with pytest.raises(openai.APIError) as caught:
        async for _ in stream:
            pass
    assert caught.value.code == "upstream_stream_broken"


async def test_request_ids_reach_the_client_with_answers_and_with_errors(client):
    reply = await client.chat.completions.create(model="grok-4", messages=_USER)
    assert reply._request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="gpt-4o", messages=_USER)
    assert (caught.value.request_id or "").startswith("req_")
    assert caught.value.request_id != reply._request_id


async def test_the_clients_own_retries_are_told_when_they_make_no_sense(with_account, seat):
    """One account only, so one attempt: the client may retry, and its retry is served."""
    seat.will(fails(500))
    async with openai.AsyncOpenAI(
        base_url=_base_url(with_account), api_key=KEY, max_retries=1
    ) as client:
        reply = await client.chat.completions.create(model="grok-4.3", messages=_USER)
    assert reply.choices[0].message.content == TEXT
    assert len(seat.calls) == 2


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
async def test_openrouters_prefix_answers_too(sandboxed, prefix):
    async with openai.AsyncOpenAI(
        base_url=sandboxed.url + prefix, api_key=KEY, max_retries=0
    ) as client:
        reply = await client.chat.completions.create(model="x-ai/grok-4", messages=_USER)
    assert reply.choices[0].message.content
