"""The official OpenAI client's Responses, over a relayed and over translated lanes."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.e2e.running import KEY, Gateway, config_toml, poll, running, running_over

pytestmark = pytest.mark.e2e

_MODEL = "grok-4.3"
_SEALED = "reasoning.encrypted_content"
_BACK = "I got my earlier thoughts back."
_WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
_TIME: Any = {
    "type": "function",
    "name": "get_time",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    "strict": True,
}
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAA"
    "ABJRU5ErkJggg=="
)


@pytest.fixture(scope="module", params=["built-in", "chat", "messages"])
def lane(request) -> str:
    """What serves: the built-in sandbox in the same dialect, or one that speaks another only."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def gateway(lane, tmp_path_factory) -> Iterator[Gateway]:
    with running_over(lane, tmp_path_factory.mktemp(f"responses-{lane}")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway) -> Iterator[openai.OpenAI]:
    with _client(gateway) as client:
        yield client


def _client(gateway: Gateway, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)


def _streamed(client: openai.OpenAI, **fields: Any) -> list[Any]:
    with client.responses.create(model=_MODEL, stream=True, **fields) as stream:
        return list(stream)


# ------------------------------------------------------------------------------ plain answers


def test_a_whole_answer(client):
    reply = client.responses.create(model=_MODEL, input="Hello, gateway", instructions="Be brief.")
    assert reply.status == "completed"
    assert reply.id.startswith("resp_")
    assert "instructions of 2 words" in reply.output_text
    assert "“Hello, gateway”" in reply.output_text
    (message,) = reply.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens


def test_a_streamed_answer_is_the_whole_one_in_pieces(client):
    whole = client.responses.create(model=_MODEL, input="Hello, pieces")
    events = _streamed(client, input="Hello, pieces")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:3]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1]
    assert final.type == "response.completed"
    assert text == final.response.output_text == whole.output_text
    assert final.response.usage == whole.usage
    kinds = Counter(event.type for event in events)
    assert kinds["response.output_text.delta"] > 3, "it came in one piece"
    assert kinds["response.output_item.added"] == kinds["response.output_item.done"] == 1


def test_the_helper_for_streams_ends_with_the_whole_answer(client):
    with client.responses.stream(model=_MODEL, input="Hello, helper") as stream:
        snapshots = [event.snapshot for event in stream if event.type.endswith("text.delta")]
        final = stream.get_final_response()
    assert "“Hello, helper”" in final.output_text
    assert snapshots[-1] == final.output_text


def test_a_limit_of_tokens_leaves_the_answer_incomplete(client):
    reply = client.responses.create(model=_MODEL, input="Hello", max_output_tokens=16)
    assert reply.status == "incomplete"
    assert reply.incomplete_details.reason == "max_output_tokens"
    assert reply.usage.output_tokens == 16

    *_, last = _streamed(client, input="Hello", max_output_tokens=16)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == "max_output_tokens"


def test_what_was_asked_stands_in_the_reply(client):
    reply = client.responses.create(
        model=_MODEL,
        input="Hello",
        temperature=0.5,
        max_output_tokens=500,
        metadata={"order": "7"},
        tools=[_TIME],
    )
    assert (reply.temperature, reply.max_output_tokens) == (0.5, 500)
    assert reply.metadata == {"order": "7"}
    assert reply.tools[0].name == "get_time"


def test_pictures_and_whole_conversations_are_taken(client):
    turns: Any = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": _PIXEL, "detail": "low"},
            ],
        },
    ]
    reply = client.responses.create(model=_MODEL, input=turns)
    assert "message number 2" in reply.output_text
    assert "I see 1 picture." in reply.output_text
    assert "“What is this?”" in reply.output_text


# ------------------------------------------------------------------------------------- tools


def test_a_tool_is_called_and_its_result_told_from_memory(client):
    called = client.responses.create(
        model=_MODEL, input="call get_weather for Oslo", tools=[_WEATHER, _TIME]
    )
    (call,) = called.output
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert json.loads(call.arguments) == {"city": "city"}

    told = client.responses.create(
        model=_MODEL,
        previous_response_id=called.id,
        tools=[_WEATHER, _TIME],
        input=[
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": "Rain, 7 degrees",
            }
        ],
    )
    assert told.previous_response_id == called.id
    assert "The tool `get_weather` returned: “Rain, 7 degrees”" in told.output_text


def test_a_tool_loop_works_without_anything_being_kept(client):
    items: Any = [{"role": "user", "content": "call get_weather and get_time"}]
    called = client.responses.create(
        model=_MODEL, input=items, tools=[_WEATHER, _TIME], store=False
    )
    assert [item.name for item in called.output] == ["get_weather", "get_time"]
    items += called.output
    items += [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"From {item.name}"}
        for item in called.output
    ]
    told = client.responses.create(model=_MODEL, input=items, tools=[_WEATHER, _TIME], store=False)
    assert "“From get_weather”" in told.output_text
    assert "“From get_time”" in told.output_text


def test_streamed_calls_come_together(client):
    events = _streamed(
        client,
        input="call get_weather and get_time [[sandbox: fragments]]",
        tools=[_WEATHER, _TIME],
    )
    pieces: dict[str, str] = {}
    for event in events:
        if event.type == "response.function_call_arguments.delta":
            pieces[event.item_id] = pieces.get(event.item_id, "") + event.delta
    done = {
        event.item_id: event.arguments
        for event in events
        if event.type == "response.function_call_arguments.done"
    }
    calls = events[-1].response.output
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert {call.id: call.arguments for call in calls} == done == pieces
    assert [json.loads(call.arguments) for call in calls] == [{"city": "city"}, {}]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_time"}])
def test_a_tool_that_must_be_called_is(client, choice):
    reply = client.responses.create(model=_MODEL, input="Hello", tools=[_TIME], tool_choice=choice)
    assert [item.name for item in reply.output] == ["get_time"]


def test_tools_are_not_called_in_parallel_when_that_is_ruled_out(client):
    reply = client.responses.create(
        model=_MODEL,
        input="call get_weather and get_time",
        tools=[_WEATHER, _TIME],
        parallel_tool_calls=False,
    )
    assert len(reply.output) == 1
    assert reply.parallel_tool_calls is False


# --------------------------------------------------------------------------- structured output


class Person(pydantic.BaseModel):
    name: str
    age: int
    tags: list[str]


def test_a_pydantic_model_is_filled(client):
    reply = client.responses.parse(model=_MODEL, input="A person", text_format=Person)
    assert isinstance(reply.output_parsed, Person)


def test_a_pydantic_model_is_filled_from_a_stream(client):
    with client.responses.stream(model=_MODEL, input="A person", text_format=Person) as stream:
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, Person)


# ----------------------------------------------------------------------------------- reasoning


def test_reasoning_is_shown_and_counted(client):
    reply = client.responses.create(model=_MODEL, input="Hello", reasoning={"effort": "high"})
    thought, message = reply.output
    assert thought.type == "reasoning"
    assert "The request has 1 word." in thought.summary[0].text
    assert message.type == "message"
    counted = reply.usage.output_tokens_details.reasoning_tokens
    assert 0 < counted < reply.usage.output_tokens


def test_streamed_reasoning_comes_before_the_answer(client):
    events = _streamed(client, input="Hello", reasoning={"effort": "low"})
    kinds = [event.type for event in events if event.type.endswith("text.delta")]
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {"response.output_text.delta", "response.reasoning_summary_text.delta"}
    assert [item.type for item in events[-1].response.output] == ["reasoning", "message"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_sealed_reasoning_comes_back_where_the_lane_has_a_place_for_it(client, lane, is_stream):
    items: Any = [{"role": "user", "content": "Think"}]
    asked: Any = {"input": items, "reasoning": {"effort": "low"}, "include": [_SEALED]}
    if is_stream:
        first = _streamed(client, store=False, **asked)[-1].response
    else:
        first = client.responses.create(model=_MODEL, store=False, **asked)
    has_a_place = lane != "chat"
    assert bool(first.output[0].encrypted_content) is has_a_place
    items += [item.to_dict() for item in first.output]
    items.append({"role": "user", "content": "And now?"})
    second = client.responses.create(model=_MODEL, store=False, **asked)
    assert (_BACK in second.output_text) is has_a_place


def test_kept_reasoning_comes_back_by_itself(client, lane):
    first = client.responses.create(model=_MODEL, input="Think", reasoning={"effort": "low"})
    second = client.responses.create(model=_MODEL, input="And now?", previous_response_id=first.id)
    assert (_BACK in second.output_text) is (lane != "chat")


def test_reasoning_that_was_changed_on_its_way_is_refused_by_who_reads_it(client, lane):
    asked: Any = {"model": _MODEL, "include": [_SEALED], "store": False}
    first = client.responses.create(input="Think", reasoning={"effort": "low"}, **asked)
    thought = first.output[0].to_dict()
    thought["encrypted_content"] = (thought.get("encrypted_content") or "sandbox-sealed-")[:-2]
    items: Any = [
        {"role": "user", "content": "Think"},
        thought,
        {"role": "user", "content": "And now?"},
    ]
    if lane == "chat":  # It has no place for it, so nobody reads it.
        assert _BACK not in client.responses.create(input=items, **asked).output_text
        return
    with pytest.raises(openai.BadRequestError):
        client.responses.create(input=items, **asked)


# ---------------------------------------------------------------------------------- kept replies


def test_a_conversation_goes_on_from_a_kept_reply(client):
    first = client.responses.create(model=_MODEL, input="My name is Roberta.")
    second = client.responses.create(model=_MODEL, input="Next", previous_response_id=first.id)
    third = client.responses.create(model=_MODEL, input="Last", previous_response_id=second.id)
    assert "message number 3" in third.output_text
    assert third.usage.input_tokens > second.usage.input_tokens > first.usage.input_tokens


def test_a_streamed_reply_is_kept_too(client):
    final = _streamed(client, input="Hello, stream")[-1].response
    assert client.responses.retrieve(final.id).output_text == final.output_text
    second = client.responses.create(model=_MODEL, input="Next", previous_response_id=final.id)
    assert "message number 2" in second.output_text


def test_a_kept_reply_is_retrieved_as_it_was(client):
    reply = client.responses.create(model=_MODEL, input="Keep this", metadata={"a": "b"})
    assert client.responses.retrieve(reply.id).to_dict() == reply.to_dict()


def test_the_input_of_a_kept_reply_is_listed_page_by_page(client):
    first = client.responses.create(model=_MODEL, input="First")
    second = client.responses.create(model=_MODEL, input="Second", previous_response_id=first.id)
    pages = client.responses.input_items.list(second.id, order="asc", limit=2)
    listed = list(pages)
    assert [(item.type, item.role) for item in listed] == [
        ("message", "user"),
        ("message", "assistant"),
        ("message", "user"),
    ]
    assert listed[0].content[0].text == "First"
    assert listed[2].content[0].text == "Second"
    newest_first = list(client.responses.input_items.list(second.id))
    assert [item.id for item in newest_first] == [item.id for item in reversed(listed)]


def test_a_deleted_reply_is_gone_and_cannot_be_gone_on_from(client):
    reply = client.responses.create(model=_MODEL, input="Forget this")
    client.responses.delete(reply.id)
    for ask in (
        lambda: client.responses.retrieve(reply.id),
        lambda: client.responses.delete(reply.id),
        lambda: client.responses.input_items.list(reply.id),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model=_MODEL, input="Next", previous_response_id=reply.id)
    assert caught.value.param == "previous_response_id"
    assert caught.value.status_code in {400, 404}


def test_a_reply_that_must_not_be_kept_is_not(client):
    reply = client.responses.create(model=_MODEL, input="Hello", store=False)
    assert reply.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(reply.id)


def test_cancelling_says_that_there_is_nothing_to_cancel(client):
    reply = client.responses.create(model=_MODEL, input="Hello")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.cancel(reply.id)
    assert "background" in caught.value.message


def test_a_reply_in_the_background_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=_MODEL, input="Hello", background=True)
    assert caught.value.param == "background"


def test_another_keys_reply_is_as_if_it_never_was(gateway, client):
    reply = client.responses.create(model=_MODEL, input="Mine")
    other_key = _line_with(gateway.command("key", "create", "--name", "other"), "sk-")
    with _client(gateway, other_key) as other:
        _wait_for_key(other)
        texts = []
        for reply_id in (reply.id, "resp_that_never_was"):
            with pytest.raises(openai.NotFoundError) as caught:
                other.responses.retrieve(reply_id)
            texts.append(caught.value.message.replace(reply_id, "ID"))
            for ask in (
                lambda name=reply_id: other.responses.delete(name),
                lambda name=reply_id: other.responses.cancel(name),
                lambda name=reply_id: other.responses.input_items.list(name),
            ):
                with pytest.raises(openai.NotFoundError):
                    ask()
            with pytest.raises(openai.APIStatusError) as refused:
                other.responses.create(model=_MODEL, input="Next", previous_response_id=reply_id)
            texts.append(refused.value.message.replace(reply_id, "ID"))
    assert texts[:2] == texts[2:], "the two can be told apart"
    assert client.responses.retrieve(reply.id).output_text == reply.output_text


def _line_with(said: str, beginning: str) -> str:
    (found,) = [word for word in said.split() if word.startswith(beginning)]
    return found


def _wait_for_key(client: openai.OpenAI) -> None:
    """A key that was made beside a running gateway is known to it a little later."""

    def is_known() -> bool:
        try:
            return bool(client.models.list().data)
        except openai.AuthenticationError:
            return False

    poll(is_known, within_s=20, what="the new key being known")


def test_a_conversation_survives_a_kill_between_two_turns(tmp_path):
    with running(Gateway(folder=tmp_path, config=config_toml())) as gateway:
        with _client(gateway) as client:
            whole = client.responses.create(
                model=_MODEL, input="Before", reasoning={"effort": "low"}
            )
            streamed = _streamed(client, input="Then", previous_response_id=whole.id)[-1].response
        gateway.kill()
        gateway.start()
        with _client(gateway) as client:
            assert client.responses.retrieve(whole.id).to_dict() == whole.to_dict()
            after = client.responses.create(
                model=_MODEL, input="After", previous_response_id=streamed.id
            )
    assert "message number 3" in after.output_text
    assert _BACK in after.output_text


# ------------------------------------------------------------------------ counting and compacting


def test_input_is_counted_as_it_is_billed(client):
    asked: Any = {"model": _MODEL, "input": "Hello, counter", "instructions": "Be brief."}
    counted = client.responses.input_tokens.count(**asked)
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == client.responses.create(**asked).usage.input_tokens


def test_what_came_before_is_counted_too(client):
    first = client.responses.create(model=_MODEL, input="Hello")
    alone = client.responses.input_tokens.count(model=_MODEL, input="Next")
    both = client.responses.input_tokens.count(
        model=_MODEL, input="Next", previous_response_id=first.id
    )
    assert both.input_tokens > alone.input_tokens


def test_a_conversation_goes_on_from_its_summary(client):
    first = client.responses.create(model=_MODEL, input="My name is Roberta.")
    compacted = client.responses.compact(
        model=_MODEL,
        previous_response_id=first.id,
        input=[{"role": "user", "content": "I live in Oslo."}],
    )
    assert compacted.object == "response.compaction"
    assert compacted.usage.total_tokens > 0
    *messages, summary = compacted.output
    assert [item.content[0].text for item in messages] == ["My name is Roberta.", "I live in Oslo."]
    assert summary.type == "compaction"
    assert "Roberta" not in summary.encrypted_content

    # The client reads every message of an output as one of the model's, and warns of others.
    items: Any = [item.to_dict(warnings=False) for item in compacted.output]
    items.append({"role": "user", "content": "Where do I live?"})
    after = client.responses.create(model=_MODEL, input=items)
    assert "Where do I live?" in after.output_text
    assert "instructions of" in after.output_text, "the summary comes as a system text"


# -------------------------------------------------------------------------------------- errors


def test_a_wrong_key_is_a_401(gateway):
    with _client(gateway, "sk-wrong") as client, pytest.raises(openai.AuthenticationError):
        client.responses.create(model=_MODEL, input="Hello")


def test_an_unknown_model_is_a_400_that_names_the_field(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-4o", input="Hello")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 7}, "input"),
        ({"temperature": 9}, "temperature"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "tools.0"),
        ({"conversation": "conv_1"}, "conversation"),
    ],
)
def test_a_wrong_value_is_a_400_that_names_the_field(client, fields, param):
    asked: Any = {"model": _MODEL, "input": "Hello"} | fields
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**asked)
    assert (caught.value.param or "").startswith(param)


def test_a_rate_limit_is_a_429_with_the_time_to_wait(client):
    with pytest.raises(openai.RateLimitError) as caught:
        client.responses.create(model=_MODEL, input="[[sandbox: status=429 retry_after=2]]")
    assert caught.value.response.headers["retry-after"] == "2"


@pytest.mark.parametrize("words", ["status=500", "status=529", "error_200", "cut_after=3"])
def test_an_upstream_that_fails_is_a_502(client, words):
    with pytest.raises(openai.InternalServerError) as caught:
        client.responses.create(model=_MODEL, input=f"[[sandbox: {words}]]")
    assert caught.value.status_code == 502
    assert caught.value.type == "upstream_error"


@pytest.mark.parametrize("words", ["cut_after=8", "error_after=8", "garbage_after=8"])
def test_a_stream_that_breaks_off_ends_as_failed_and_is_not_kept(client, words):
    events = _streamed(client, input=f"Hello [[sandbox: {words}]]")
    assert any(event.type == "response.output_text.delta" for event in events)
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error.code == "server_error"
    with pytest.raises(openai.APIStatusError):
        client.responses.create(model=_MODEL, input="Next", previous_response_id=last.response.id)


def test_odd_streams_are_read_all_the_same(client):
    events = _streamed(client, input="Hello [[sandbox: split=5 comments no_done]]")
    assert events[-1].type == "response.completed"
    assert "“Hello”" in events[-1].response.output_text


def test_request_ids_reach_the_client_with_answers_and_with_errors(client):
    reply = client.responses.create(model=_MODEL, input="Hello")
    assert reply._request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-4o", input="Hello")
    assert (caught.value.request_id or "").startswith("req_")


def test_the_books_show_what_the_client_was_told_and_which_lane_it_took(gateway, client, lane):
    raw = client.responses.with_raw_response.create(model=_MODEL, input="Hello, books")
    usage = raw.parse().usage
    row = gateway.entry(raw.headers["x-request-id"])
    assert (row.input_tokens, row.output_tokens) == (usage.input_tokens, usage.output_tokens)
    served_in = "responses" if lane == "built-in" else lane
    assert (row.dialect, row.upstream_dialect) == ("responses", served_in)
