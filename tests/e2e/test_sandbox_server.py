"""The stand-alone sandbox, served over loopback and asked by the official OpenAI client."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
import pytest_asyncio

from groxy.cli.http_server import server_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.server import create_app
from groxy.wire.http import HttpTransport, Outgoing

pytestmark = pytest.mark.e2e

_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
        },
    },
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest_asyncio.fixture
async def base_url() -> AsyncIterator[str]:
    """A sandbox that listens."""
    port = _free_port()
    server = server_of(create_app(), "127.0.0.1", port)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run_here())
        url = f"http://127.0.0.1:{port}/v1"
        async with aiohttp.ClientSession() as session, asyncio.timeout(10):
            while True:
                try:
                    async with session.get(f"{url}/models"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.02)
        yield url
        server.stop()


@pytest_asyncio.fixture
async def client(base_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, without its own retries."""
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


def _user(text: str):
    return [{"role": "user", "content": text}]


async def _health(base_url: str) -> dict[str, int]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(base_url.removesuffix("/v1") + "/health") as reply,
    ):
        found: dict[str, int] = await reply.json()
        return found


async def test_a_whole_answer(client):
    reply = await client.chat.completions.create(
        model="grok-4.7", messages=_user("Hello, whole"), reasoning_effort="low"
    )
    message = reply.choices[0].message
    assert "“Hello, whole”" in message.content
    assert message.reasoning_content
    usage = reply.usage
    thought = usage.completion_tokens_details.reasoning_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + thought


async def test_a_streamed_answer_at_a_pace(client):
    started = time.monotonic()
    stream = await client.chat.completions.create(
        model="grok-4.7",
        messages=_user("Hello [[sandbox: pace=100 tokens=30]]"),
        stream=True,
        stream_options={"include_usage": True},
    )
    arrivals = []
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        arrivals.append(time.monotonic())
    assert arrivals[-1] - started > 0.25
    assert arrivals[-1] - arrivals[0] > 0.2, "it came all at once"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens == 30
    assert chunks[-2].choices[0].finish_reason == "stop"


async def test_tools_are_called_and_their_results_told(client):
    messages = _user("What does get_weather say of Oslo?")
    reply = await client.chat.completions.create(
        model="grok-4.7", messages=messages, tools=[_WEATHER]
    )
    (call,) = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "city", "unit": "celsius"}
    messages += [
        reply.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Rain, 7 degrees"},
    ]
    told = await client.chat.completions.create(
        model="grok-4.7", messages=messages, tools=[_WEATHER]
    )
    assert "get_weather" in told.choices[0].message.content
    assert "Rain, 7 degrees" in told.choices[0].message.content


@pytest.mark.parametrize("words", ["", "[[sandbox: fragments]]"])
async def test_a_streamed_call_comes_together(client, words):
    arguments = ""
    async with client.chat.completions.stream(
        model="grok-4.7",
        messages=_user(f"Now {words}"),
        tools=[_WEATHER],
        tool_choice="required",
    ) as stream:
        async for event in stream:
            if event.type == "tool_calls.function.arguments.done":
                arguments = event.arguments
    assert json.loads(arguments) == {"city": "city", "unit": "celsius"}


async def test_a_schema_is_filled(client):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        },
        "required": ["name", "tags"],
        "additionalProperties": False,
    }
    reply = await client.chat.completions.create(
        model="grok-4.7",
        messages=_user("A person"),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "person", "schema": schema, "strict": True},
        },
    )
    assert json.loads(reply.choices[0].message.content) == {
        "name": "name",
        "tags": ["tags", "tags"],
    }


async def test_an_error_status_reaches_the_client(client):
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(
            model="grok-4.7", messages=_user("[[sandbox: status=429 retry_after=3 shape=openai]]")
        )
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.code == "rate_limit_exceeded"


async def test_the_clients_own_retry_gets_an_answer_after_one_failure(base_url):
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=1) as client:
        reply = await client.chat.completions.create(
            model="grok-4.7", messages=_user("[[sandbox: status=500 times=1 retry_after=0.01]]")
        )
    assert reply.choices[0].finish_reason == "stop"


async def test_the_header_works_without_a_marker(client):
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(
            model="grok-4.7", messages=_user("Hello"), extra_headers={"X-Sandbox": "wrong_key"}
        )


@pytest.mark.parametrize("words", ["", "split=5 comments repeat_role usage=cumulative no_done"])
async def test_odd_streams_are_read_all_the_same(client, words):
    stream = await client.chat.completions.create(
        model="grok-4.7", messages=_user(f"Hello [[sandbox: {words}]]"), stream=True
    )
    text = "".join(
        [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    )
    assert "Groxy sandbox" in text


@pytest.mark.parametrize("streams", [True, False])
async def test_a_cut_drops_the_connection(base_url, streams):
    body = {
        "model": "grok-4.7",
        "stream": streams,
        "messages": _user("Hello [[sandbox: cut_after=3]]"),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/chat/completions", json=body) as reply,
    ):
        assert reply.status == 200
        got = await reply.content.readany()
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()
    assert got
    if streams:
        assert got.count(b"data: ") == 3


async def test_a_cut_is_a_broken_stream_for_the_gateways_client(base_url):
    body = {"model": "m", "stream": True, "messages": _user("[[sandbox: cut_after=3]]")}
    url, content = f"{base_url}/chat/completions", json.dumps(body).encode()
    transport = HttpTransport.create(connect_timeout_s=5)
    reply = await transport.send(Outgoing(url=url, headers={}, body=content))
    try:
        with pytest.raises(GroxyError) as caught:
            await reply.read(100_000)
    finally:
        reply.close()
        await transport.close()
    assert caught.value.kind is ErrorKind.STREAM_BROKEN


async def test_work_stops_when_the_client_leaves(base_url):
    body = {
        "model": "grok-4.7",
        "stream": True,
        "messages": _user("Hello [[sandbox: pace=20 tokens=2000]]"),
    }
    async with aiohttp.ClientSession() as session:
        reply = await session.post(f"{base_url}/chat/completions", json=body)
        await reply.content.readany()
        assert (await _health(base_url))["open_replies"] == 1
        reply.close()
        async with asyncio.timeout(5):
            while (await _health(base_url))["open_replies"]:
                await asyncio.sleep(0.02)
    assert (await _health(base_url))["abandoned"] == 1


async def test_models_are_listed(client):
    listed = [model.id async for model in client.models.list()]
    assert "grok-4.7" in listed
    assert (await client.models.retrieve("anything")).id == "anything"
