"""A request travels in the dialect that its account speaks, and arrives whole."""

import json
from dataclasses import replace
from typing import Any

from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.upstreams.openai_compatible import UPSTREAM as PLAIN
from tests.gateway.stage import Reply, Seat, Stage, good

CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
TURNS = [
    {"role": "user", "content": "Look!"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call-1", "content": "I see."},
]


def response(*output: dict[str, Any]) -> Reply:
    body = {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "grok-4.7",
        "output": list(output),
        "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
    }
    return Reply(script=[json.dumps(body).encode()], content_type="application/json")


SAID = {
    "type": "message",
    "id": "m1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Well.", "annotations": []}],
}
CALLED = {
    "type": "function_call",
    "id": "f1",
    "call_id": "call-1",
    "name": "look",
    "arguments": "{}",
    "status": "completed",
}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed-1"}


def sent(seat: Seat, at: int = -1) -> Any:
    return json.loads(seat.asked[at].body)


async def test_a_request_in_an_accounts_own_dialect_keeps_fields_nobody_knows() -> None:
    stage = Stage(seat := Seat(good()))
    await stage.ask(made_up={"a": 1})
    assert sent(seat)["made_up"] == {"a": 1}
    assert seat.asked[0].url.endswith("/chat/completions")


async def test_messages_reach_xai_as_responses() -> None:
    stage = Stage(seat := Seat(response(SAID)))
    body = {
        "model": "grok-4.3",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    client = await stage.once_more(body, dialect=MESSAGES)
    assert seat.asked[0].url.endswith("/responses")
    assert sent(seat)["store"] is False
    assert client.json["content"] == [{"type": "text", "text": "Well."}]
    assert stage.entry.upstream_dialect == "responses"
    assert stage.entry.dialect == "messages"


async def test_search_on_chat_reaches_xai_as_tools_of_responses() -> None:
    stage = Stage(seat := Seat(response(SAID)))
    client = await stage.ask(search_parameters={"mode": "on", "sources": [{"type": "web"}]})
    assert client.status == 200
    assert [tool["type"] for tool in sent(seat)["tools"]] == ["web_search"]


async def test_a_model_that_answers_on_responses_alone_serves_chat() -> None:
    stage = Stage(Seat(good()), Seat(good()), seat := Seat(response(SAID)))
    client = await stage.ask(model="grok-4.20-multi-agent")
    assert client.json["choices"][0]["message"]["content"] == "Well."
    assert seat.asked[0].url.endswith("/responses")


async def test_thoughts_come_back_in_a_tool_loop_over_chat() -> None:
    stage = Stage(seat := Seat(response(THOUGHT, CALLED), response(SAID)))
    first = await stage.ask(
        model="grok-4.7", tools=[LOOK], messages=[{"role": "user", "content": "Look!"}]
    )
    (call,) = first.json["choices"][0]["message"]["tool_calls"]
    assert call["id"] == "call-1"
    second = await stage.once_more({"model": "grok-4.7", "tools": [LOOK], "messages": TURNS})
    assert second.json["choices"][0]["message"]["content"] == "Well."
    replayed = [item for item in sent(seat)["input"] if item["type"] == "reasoning"]
    assert [item["encrypted_content"] for item in replayed] == ["sealed-1"]
    kinds = [item["type"] for item in sent(seat)["input"]]
    assert kinds.index("reasoning") < kinds.index("function_call")


MESSAGES_BODY: dict[str, Any] = {
    "model": "grok-4.7",
    "max_tokens": 100,
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    "messages": [{"role": "user", "content": "Look!"}],
}


async def messages_loop(stage: Stage, **fields: Any) -> list[Any]:
    """Go through a tool loop in Messages; return the blocks of the reply that called."""
    body = MESSAGES_BODY | fields
    first = await stage.once_more(body, dialect=MESSAGES)
    content: list[Any] = first.json["content"]
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": "I see."}
    turns = [
        *MESSAGES_BODY["messages"],
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result]},
    ]
    await stage.once_more(body | {"messages": turns}, dialect=MESSAGES)
    return content


async def test_thoughts_that_messages_withholds_come_back_in_a_tool_loop() -> None:
    stage = Stage(seat := Seat(response(THOUGHT, CALLED), response(SAID)))
    content = await messages_loop(stage)
    assert [block["type"] for block in content] == ["tool_use"]
    kinds = [item["type"] for item in sent(seat)["input"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
    assert sent(seat)["input"][1]["encrypted_content"] == "sealed-1"


async def test_thoughts_that_messages_tells_are_not_kept() -> None:
    stage = Stage(seat := Seat(response(THOUGHT, CALLED), response(SAID)))
    content = await messages_loop(stage, thinking={"type": "adaptive"})
    assert [block["type"] for block in content] == ["redacted_thinking", "tool_use"]
    replayed = [item for item in sent(seat)["input"] if item["type"] == "reasoning"]
    assert [item["encrypted_content"] for item in replayed] == ["sealed-1"]
    assert not stage.shelf.kept


async def test_thoughts_of_one_caller_do_not_reach_another() -> None:
    stage = Stage(seat := Seat(response(THOUGHT, CALLED), response(SAID)))
    await stage.ask(model="grok-4.7", tools=[LOOK], messages=[{"role": "user", "content": "Look!"}])
    body = {"model": "grok-4.7", "tools": [LOOK], "messages": TURNS}
    await stage.once_more(body, key_id="key-2")
    assert all(item["type"] != "reasoning" for item in sent(seat)["input"])


async def test_a_conversation_is_named_alike_on_each_turn_and_dialect() -> None:
    stage = Stage(seat := Seat(good(), response(SAID)))
    user = {"role": "user", "content": "one two three"}
    await stage.ask()
    said = {"role": "assistant", "content": "Hello"}
    body = {"model": "grok-4.3", "messages": [user, said, {"role": "user", "content": "four"}]}
    await stage.once_more(body | {"search_parameters": {"mode": "on"}})
    name = seat.asked[0].headers["x-grok-conv-id"]
    assert sent(seat)["prompt_cache_key"] == name


async def test_pictures_are_fetched_for_an_upstream_that_cannot() -> None:
    stage = Stage(seat := Seat(good()))
    (account,) = stage.directory.accounts
    options = {"fetches_urls": "no", "dialects": "chat"}
    account.credentials = replace(
        account.credentials, base_url="http://127.0.0.1:1/v1", options=options
    )
    account.upstream = PLAIN
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    text = {"type": "text", "text": "What is it?"}
    client = await stage.ask(messages=[{"role": "user", "content": [text, picture]}])
    assert client.status == 200
    assert stage.fetched == ["https://example.com/a.png"]
    (message,) = sent(seat)["messages"]
    assert message["content"][1]["image_url"]["url"] == "data:image/png;base64,AAAA"


async def test_a_request_cannot_have_any_number_of_files_fetched() -> None:
    stage = Stage(Seat(good()))
    (account,) = stage.directory.accounts
    account.credentials = replace(
        account.credentials, base_url="http://127.0.0.1:1/v1", options={"fetches_urls": "no"}
    )
    account.upstream = PLAIN
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    client = await stage.ask(messages=[{"role": "user", "content": [picture] * 21}])
    assert client.status == 400
    assert stage.fetched == []


async def test_pictures_are_left_to_an_upstream_that_fetches() -> None:
    stage = Stage(seat := Seat(good()))
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    await stage.ask(messages=[{"role": "user", "content": [picture]}])
    assert stage.fetched == []
    assert sent(seat)["messages"][0]["content"] == [picture]


async def test_the_reply_of_responses_is_kept_and_gone_on_from() -> None:
    stage = Stage(seat := Seat(response(SAID), response(SAID)))
    first = await stage.once_more({"model": "grok-4.3", "input": "One?"}, dialect=RESPONSES)
    more = {"model": "grok-4.3", "input": "Two?", "previous_response_id": first.json["id"]}
    second = await stage.once_more(more, dialect=RESPONSES)
    assert second.json["previous_response_id"] == first.json["id"] != second.json["id"]
    assert "previous_response_id" not in sent(seat)
    assert [item["role"] for item in sent(seat)["input"]] == ["user", "assistant", "user"]


async def test_what_is_not_to_be_stored_is_not_kept() -> None:
    stage = Stage(Seat(response(SAID)))
    await stage.once_more({"model": "grok-4.3", "input": "One?", "store": False}, dialect=RESPONSES)
    assert stage.shelf.kept == {}


async def test_a_tool_that_nobody_offered_is_flagged() -> None:
    stage = Stage(Seat(response(CALLED)))
    body = {
        "model": "grok-4.3",
        "input": "Hi",
        "tools": [{"type": "function", "name": "other", "parameters": {"type": "object"}}],
    }
    client = await stage.once_more(body, dialect=RESPONSES)
    assert client.headers["x-groxy-flagged"] == "look"
