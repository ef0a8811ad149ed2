"""Every client dialect over every upstream dialect, whole and streamed, end to end."""

import asyncio
import json
from typing import Any

import pytest

from tests.inprocess import KEY
from tests.interop import asking
from tests.interop.conftest import CALLERS, bridge_to, until

TOOL_CALLERS = ("chat", "responses", "messages")
every_caller = pytest.mark.parametrize("caller", CALLERS)
every_tool_caller = pytest.mark.parametrize("caller", TOOL_CALLERS)


@every_caller
async def test_text_is_answered_with_real_usage(bridge, caller, stream) -> None:
    found = await bridge.ask(caller, asking.text(caller, "Hello there!"), stream=stream)
    assert found.error is None
    assert "You wrote: “Hello there!”" in found.text
    assert found.reason == "stop"
    request, (attempt,) = await bridge.booked()
    assert found.input_tokens == request.input_tokens > 0
    assert found.output_tokens == request.output_tokens > 0
    assert request.cost_ticks > 0
    assert attempt.outcome == "ok"


@every_tool_caller
async def test_instructions_reach_the_model(bridge, caller, stream) -> None:
    found = await bridge.ask(caller, asking.text(caller, "Hello!"), stream=stream)
    assert "I was given instructions of 2 words." in found.text


@every_caller
async def test_a_reply_cut_by_its_limit_says_so(bridge, caller, stream) -> None:
    limit = "max_output_tokens" if caller == "responses" else "max_tokens"
    body = asking.text(caller, "Hello!") | {limit: 5}
    found = await bridge.ask(caller, body, stream=stream)
    assert found.reason == "length"
    assert found.output_tokens == 5


@every_tool_caller
async def test_a_tool_is_called(bridge, caller, stream) -> None:
    body = asking.with_tools(caller, "Please use get_weather.")
    found = await bridge.ask(caller, body, stream=stream)
    (call,) = found.calls.values()
    assert call[0] == "get_weather"
    assert set(call[1]) == {"city"}
    assert found.reason == "tool_calls"


@every_tool_caller
async def test_parallel_calls_stay_apart(bridge, caller, stream) -> None:
    body = asking.with_tools(caller, "Use get_weather and get_time.")
    found = await bridge.ask(caller, body, stream=stream)
    assert [name for name, _ in found.calls.values()] == ["get_weather", "get_time"]
    assert [set(arguments) for _, arguments in found.calls.values()] == [{"city"}, {"zone"}]


@every_tool_caller
async def test_calls_in_fragments_arrive_whole(bridge, caller, stream) -> None:
    body = asking.with_tools(caller, "Use get_weather and get_time. [[sandbox: fragments]]")
    found = await bridge.ask(caller, body, stream=stream)
    assert [set(arguments) for _, arguments in found.calls.values()] == [{"city"}, {"zone"}]


@every_tool_caller
async def test_a_tool_loop_comes_to_its_end(bridge, caller, stream) -> None:
    first = asking.with_tools(caller, "Use get_weather and get_time.")
    asked = await bridge.ask(caller, first, stream=stream)
    results = {call_id: f"result of {name}" for call_id, (name, _) in asked.calls.items()}
    found = await bridge.ask(
        caller, asking.loop(caller, first, asked.whole, results), stream=stream
    )
    assert "The tool `get_weather` returned: “result of get_weather”" in found.text
    assert "The tool `get_time` returned: “result of get_time”" in found.text
    assert found.reason == "stop"


@every_tool_caller
async def test_a_picture_is_seen(bridge, caller, stream) -> None:
    found = await bridge.ask(caller, asking.with_picture(caller, "What is it?"), stream=stream)
    assert "I see 1 picture." in found.text


@every_tool_caller
async def test_a_schema_is_kept_to(bridge, caller, stream) -> None:
    found = await bridge.ask(caller, asking.with_schema(caller, "Are you sure?"), stream=stream)
    assert set(json.loads(found.text)) == {"answer", "sure"}


@every_tool_caller
async def test_thoughts_are_told(bridge, caller, stream) -> None:
    found = await bridge.ask(caller, asking.with_reasoning(caller, "Why?"), stream=stream)
    assert found.thoughts.startswith("The request has 1 word.")
    assert "You wrote: “Why?”" in found.text


@pytest.mark.parametrize("caller", ["responses", "messages"])
@pytest.mark.parametrize("speaks", ["responses", "messages"])
async def test_sealed_thoughts_survive_the_round_trip(tmp_path, speaks, caller, stream) -> None:
    async with bridge_to(tmp_path, speaks) as bridge:
        first = asking.with_reasoning(caller, "Use get_weather.")
        first["tools"] = asking.with_tools(caller, "x")["tools"]
        asked = await bridge.ask(caller, first, stream=stream)
        assert asked.sealed
        results = dict.fromkeys(asked.calls, "sunny")
        second = asking.loop(caller, first, asked.whole, results)
        found = await bridge.ask(caller, second, stream=stream)
        assert "I got my earlier thoughts back." in found.text


@pytest.mark.parametrize("speaks", ["chat", "responses"])
async def test_messages_tells_no_thoughts_that_nobody_asked_for(tmp_path, speaks, stream) -> None:
    async with bridge_to(tmp_path, speaks) as bridge:
        body = asking.text("messages", "Why?") | {"output_config": {"effort": "low"}}
        found = await bridge.ask("messages", body, stream=stream)
        assert (found.thoughts, found.sealed) == ("", [])
        assert "You wrote: “Why?”" in found.text


async def test_thoughts_that_messages_does_not_tell_survive_the_round_trip(
    tmp_path, stream
) -> None:
    async with bridge_to(tmp_path, "responses") as bridge:
        first = asking.with_tools("messages", "Use get_weather.")
        first["output_config"] = {"effort": "low"}
        asked = await bridge.ask("messages", first, stream=stream)
        results = dict.fromkeys(asked.calls, "sunny")
        second = asking.loop("messages", first, asked.whole, results)
        found = await bridge.ask("messages", second, stream=stream)
        assert "I got my earlier thoughts back." in found.text


@every_caller
async def test_an_error_before_the_first_event_keeps_its_status(bridge, caller, stream) -> None:
    body = asking.text(caller, "Hello! [[sandbox: status=429 retry_after=7]]")
    answer = await bridge.send(caller, body, stream=stream)
    assert answer.status == 429
    assert answer.headers["retry-after"] == "7"
    error = answer.json["error"]
    assert error["type"] == "rate_limit_error"
    assert "sandbox" not in error["message"].lower()
    assert (answer.json.get("type") == "error") is (caller == "messages")


@every_caller
async def test_a_refused_request_is_the_callers(bridge, caller, stream) -> None:
    body = asking.text(caller, "Hello! [[sandbox: too_long]]")
    answer = await bridge.send(caller, body, stream=stream)
    assert answer.status == 400
    request, _ = await bridge.booked()
    assert (request.outcome, request.cost_ticks) == ("context_length_exceeded", 0)


@every_caller
@pytest.mark.parametrize("trouble", ["error_after=6", "cut_after=6", "garbage_after=6"])
async def test_a_stream_that_breaks_ends_with_an_error(bridge, caller, trouble) -> None:
    body = asking.text(caller, f"Hello! [[sandbox: {trouble} split=9]]")
    found = await bridge.ask(caller, body, stream=True)
    assert found.error is not None
    assert found.text
    assert found.reason == ""
    request, _ = await bridge.booked()
    assert request.outcome.startswith("upstream_")
    assert request.cost_ticks == 0


@every_caller
async def test_any_split_of_the_upstreams_bytes_reads_the_same(bridge, caller) -> None:
    texts = set()
    for size in (1, 7, 64, 4096):
        body = asking.text(caller, f"Hello “naïve” wörld! [[sandbox: split={size}]]")
        texts.add((await bridge.ask(caller, body, stream=True)).text)
    assert len(texts) == 1


@every_caller
async def test_keep_alive_comments_of_the_upstream_do_not_matter(bridge, caller) -> None:
    body = asking.text(caller, "Hello! [[sandbox: comments]]")
    found = await bridge.ask(caller, body, stream=True)
    assert "You wrote: “Hello!”" in found.text


@every_caller
async def test_a_client_that_leaves_stops_the_upstream_and_pays_for_what_it_got(
    bridge, caller
) -> None:
    body = asking.text(caller, "Hello! [[sandbox: pace=20 tokens=400]]") | {"stream": True}
    sandbox = _sandbox_of(bridge.app)
    await _leave_after(bridge.app, asking.PATHS[caller], body, pieces=3)

    async def is_settled() -> bool:
        return bool(sandbox.abandoned) and not sandbox.open_replies

    await until(is_settled)
    request, (attempt,) = await bridge.booked()
    assert request.outcome == attempt.outcome == "client_disconnected"
    assert 0 < request.output_tokens < 100
    assert request.cost_ticks > 0


def _sandbox_of(app: Any) -> Any:
    (account,) = app.directory.accounts
    return account.transport._sandbox.counts


async def _leave_after(app: Any, path: str, body: Any, *, pieces: int) -> None:
    """Send a request, and leave once so many pieces of the reply have come."""
    left = asyncio.Event()
    content = json.dumps(body).encode()
    sent = {"host": "x", "content-length": str(len(content)), "authorization": f"Bearer {KEY}"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    bodies = [{"type": "http.request", "body": content, "more_body": False}]
    seen = 0

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal seen
        seen += bool(message.get("body"))
        if seen >= pieces:
            left.set()

    await app(scope, receive, send)
