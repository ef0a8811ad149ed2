"""Responses streams, same dialect on both sides."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError
from groxy.dialects.responses import DIALECT
from tests.dialects.responses.streams import (
    CUSTOM,
    DONE,
    FUNCTION,
    USAGE,
    XAI,
    asked,
    begun,
    call,
    calls,
    ended,
    event,
    final,
    frame,
    heard,
    kinds,
    message,
    relayed,
    reply,
    stream,
    texts,
    thoughts,
)
from tests.dialects.responses.test_decoder import hostile

BROKEN = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ANSWER = stream(*begun(), *texts("Hi ", "there."), *ended(message()))


def start(request: Any = None) -> Any:
    return DIALECT.relay(request or asked(), XAI, frame())


def unnumbered(*events: Any, named: bool = False) -> bytes:
    sent = [event(kind, **fields) for kind, fields in events]
    return b"".join(one if named else one.partition(b"\n")[2] for one in sent) + DONE


def test_deltas_are_passed_on_as_they_came() -> None:
    _, sent = relayed(ANSWER)
    passed = ANSWER.split(b"\n\n")[2:8]
    assert b"\n\n".join(passed) in sent


def test_the_reply_is_the_gateways_own() -> None:
    request = asked(previous_response_id="resp_0", metadata={"a": "b"})
    _, sent = relayed(ANSWER, request)
    events = heard(sent)
    for one in (events[0], events[1], events[-1]):
        assert one["response"]["id"] == "resp_abc"
        assert one["response"]["store"] is True
        assert one["response"]["previous_response_id"] == "resp_0"
        assert one["response"]["metadata"] == {"a": "b"}
    assert final(sent)["usage"]["output_tokens"] == 119


def test_the_end_is_held_back_until_the_books_are_written() -> None:
    relay = start()
    sent = relay.feed(ANSWER)
    assert relay.is_complete
    assert relay.is_done
    assert b"response.completed" not in sent
    assert b"[DONE]" not in sent
    heard(sent, is_open=True)
    last = final(sent + relay.finish(Usage(input_tokens=1, output_tokens=2)))
    assert last["usage"]["total_tokens"] == 3


def test_the_books_know_what_was_said_and_called() -> None:
    relay, _ = relayed(
        stream(
            *begun(),
            ("response.output_item.done", {"output_index": 0, "item": thoughts()}),
            *texts("Hi", output_index=1),
            *calls('{"city"', ":1}", output_index=2),
            *ended(thoughts(), message("Hi"), call('{"city":1}')),
        )
    )
    tally = relay.tally
    assert tally.reply_id == "a3d1008e-4544-40d4-d075-11527e794e4a"
    assert (tally.model_served, tally.finish_reason) == ("grok-4.7-0901", "tool_calls")
    assert "".join(tally.output) == 'Hm.Hi{"city":1}get_weather'
    assert (tally.sealed, tally.called, tally.call_ids) == (["SEALED"], ["get_weather"], ["call_1"])


def test_output_begins_with_the_first_text_or_call() -> None:
    relay = start()
    relay.feed(stream(*begun(), *texts("Hi")[:2]).removesuffix(DONE))
    assert not relay.tally.has_output
    relay.feed(stream(*texts("Hi")[2:3]))
    assert relay.tally.has_output
    other = start()
    other.feed(stream(*begun(), *calls("{}")[:1]))
    assert other.tally.has_output


def test_what_is_kept_is_what_the_caller_got() -> None:
    relay, sent = relayed(stream(*begun(), *ended(thoughts())))
    record = json.loads(relay.record)
    assert record == {"response": final_of(sent), "output": [thoughts()]}


def final_of(sent: bytes) -> Any:
    return heard(sent)[-1]["response"]


def test_numbers_that_are_missing_are_added() -> None:
    _, sent = relayed(unnumbered(*begun(), *texts("Hi"), *ended(message("Hi"))))
    assert [one["sequence_number"] for one in heard(sent)] == list(range(9))


def test_numbers_that_do_not_rise_are_mended() -> None:
    events = [(kind, {"sequence_number": 0} | fields) for kind, fields in begun() + texts("Hi")]
    _, sent = relayed(unnumbered(*events, *ended(message("Hi"))))
    assert len(heard(sent)) == 9


@pytest.mark.parametrize("number", [True, "3", None, -1, 2**70, 1.5])
def test_numbers_that_are_none_are_replaced(number) -> None:
    events = [(kind, {"sequence_number": number} | fields) for kind, fields in begun()]
    _, sent = relayed(unnumbered(*events, *ended(message("Hi"))))
    assert heard(sent)[0]["sequence_number"] == 0


def test_opening_events_that_are_missing_are_added() -> None:
    for opening in ([], begun()[:1], begun()[1:], begun()):
        _, sent = relayed(stream(*opening, *texts("Hi"), *ended(message("Hi"))))
        told = kinds(heard(sent))
        assert told[0] == "created"
        assert told.count("in_progress") == (0 if opening == begun()[:1] else 1)


def test_logprobs_that_are_missing_are_added() -> None:
    bare = [
        (kind, {name: value for name, value in fields.items() if name != "logprobs"})
        for kind, fields in texts('say "logprobs"')
    ]
    _, sent = relayed(stream(*begun(), *bare, *ended(message('say "logprobs"'))))
    (delta,) = [one for one in heard(sent) if one["type"] == "response.output_text.delta"]
    assert (delta["logprobs"], delta["delta"]) == ([], 'say "logprobs"')


def test_an_event_over_several_lines_becomes_one_line() -> None:
    data = json.dumps({"type": "response.x", "sequence_number": 2}, indent=1)
    lines = "".join(f"data: {line}\n" for line in data.split("\n")) + "\n"
    sent = relayed(stream(*begun()).removesuffix(DONE) + lines.encode())[1]
    block = sent.split(b"\n\n")[2]
    assert block.startswith(b"event: response.x\ndata: {")
    assert block.count(b"\n") == 1


def test_an_event_named_by_its_line_alone_gets_its_type() -> None:
    line = b'event: response.new\ndata: {"a":1}\n\n'
    _, sent = relayed(stream(*begun()).removesuffix(DONE) + line)
    data = sent.split(b"\n\n")[2].split(b"data: ")[1]
    assert json.loads(data) == {"a": 1, "type": "response.new", "sequence_number": 2}


@pytest.mark.parametrize("kind", ["", "a\nb", "ä", "x" * 200, "a b"])
def test_an_event_that_cannot_be_named_is_left_out(kind) -> None:
    odd = b"data: " + json.dumps({"type": kind, "sequence_number": 2}).encode() + b"\n\n"
    _, sent = relayed(stream(*begun()).removesuffix(DONE) + odd)
    assert len(heard(sent, is_open=True)) == 2


def test_done_is_another_word_for_completed() -> None:
    _, sent = relayed(stream(*begun(), *ended(message(), kind="response.done")))
    assert heard(sent)[-1]["type"] == "response.completed"


def test_an_end_that_says_incomplete_is_one_whatever_its_name() -> None:
    end = ended(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    relay, sent = relayed(stream(*begun(), *end))
    assert heard(sent)[-1]["type"] == "response.incomplete"
    assert relay.tally.finish_reason == "length"


def test_an_end_that_has_it_all_is_told_piece_by_piece() -> None:
    output = [thoughts(), message(), call()]
    relay, sent = relayed(stream(*begun(), *ended(*output)), asked(tools=[FUNCTION]))
    told = [one["delta"] for one in heard(sent) if one["type"].endswith(".delta")]
    assert told == ["Hm.", "Hi there.", '{"city":"Oslo"}']
    assert final(sent)["output"] == output
    assert relay.tally.called == ["get_weather"]


def test_an_end_that_lost_the_output_gets_it_back() -> None:
    _, sent = relayed(stream(*begun(), *texts("Hi"), *ended()))
    assert final(sent)["output"] == [message("Hi")]


def test_nothing_follows_the_end() -> None:
    relay, _ = relayed(ANSWER)
    assert relay.feed(ANSWER) == b""
    assert relay.close() == b""


# ------------------------------------------------------------------------------------ custom tools


def test_a_custom_tools_call_is_one_again() -> None:
    whole = call('{"input":"a\\nb"}', "apply_patch")
    sent_calls = calls('{"input":', '"a\\nb"}', name="apply_patch")
    _, sent = relayed(stream(*begun(), *sent_calls, *ended(whole)), asked(tools=[CUSTOM]))
    events = heard(sent)
    assert kinds(events)[2:6] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert (events[3]["delta"], events[4]["input"]) == ("a\nb", "a\nb")
    (item,) = final(sent)["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "a\nb")


def test_a_custom_tools_call_without_fragments_is_one_again() -> None:
    events = [one for one in calls('{"input":"x"}', name="apply_patch") if "delta" not in one[0]]
    whole = call('{"input":"x"}', "apply_patch")
    body = stream(*begun(), *events, *texts("Hi", output_index=1), *ended(whole, message("Hi")))
    _, sent = relayed(body, asked(tools=[CUSTOM]))
    assert [item["type"] for item in final(sent)["output"]] == ["custom_tool_call", "message"]


def test_functions_beside_custom_tools_stay_functions() -> None:
    body = stream(*begun(), *calls("{}"), *ended(call("{}")))
    _, sent = relayed(body, asked(tools=[CUSTOM, FUNCTION]))
    assert final(sent)["output"] == [call("{}")]


def test_calls_that_the_upstream_ran_itself_pass() -> None:
    inner = {"id": "ctc", "type": "custom_tool_call", "call_id": "x", "name": "n", "input": "{}"}
    at = {"output_index": 0, "item_id": "ctc"}
    events = [
        ("response.output_item.added", {"output_index": 0, "item": inner}),
        ("response.custom_tool_call_input.delta", at | {"delta": "{}"}),
        ("response.custom_tool_call_input.done", at | {"input": "{}"}),
        ("response.output_item.done", {"output_index": 0, "item": inner}),
    ]
    relay, sent = relayed(stream(*begun(), *events, *ended(inner)), asked(tools=[CUSTOM]))
    assert final(sent)["output"] == [inner]
    assert relay.tally.called == []


# ---------------------------------------------------------------------------------------- failures


def test_an_error_before_any_output_is_for_the_next_account() -> None:
    error = {"code": "rate_limit_exceeded", "message": "Slow down."}
    failed = reply(status="failed", error=error)
    relay, _ = relayed(stream(*begun(), ("response.failed", {"response": failed})))
    assert isinstance(relay.failure, EmbeddedError)
    assert json.loads(relay.failure.payload) == {"error": error}
    assert not relay.tally.has_output
    assert not relay.is_complete


def test_what_came_before_an_error_in_one_chunk_is_still_told() -> None:
    relay = start()
    sent = relay.feed(stream(*begun(), *texts("Hi")[:3], ("error", {"message": "m"})))
    assert isinstance(relay.failure, EmbeddedError)
    assert kinds(heard(sent, is_open=True))[-1] == "output_text.delta"


def test_a_stream_that_breaks_ends_with_a_failure_that_has_what_came() -> None:
    relay = start(asked(previous_response_id="resp_0"))
    sent = relay.feed(
        stream(*begun(), *texts("Hi"), *texts("More", output_index=1)[:3])[: -len(DONE)]
    )
    sent += relay.close()
    assert not relay.is_complete
    sent += relay.fail(BROKEN)
    events = heard(sent)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["sequence_number"] == events[-2]["sequence_number"] + 1
    last = events[-1]["response"]
    assert last["error"] == {"code": "server_error", "message": BROKEN.message}
    assert (last["id"], last["previous_response_id"]) == ("resp_abc", "resp_0")
    assert last["output"] == [message("Hi")]


def test_a_stream_that_breaks_before_it_began_begins_first() -> None:
    assert kinds(heard(start().fail(BROKEN))) == ["created", "in_progress", "failed"]


def test_half_an_event_is_a_cut_and_not_nonsense() -> None:
    relay, _ = relayed(stream(*begun()).removesuffix(DONE) + b'data: {"type":"resp')
    assert relay.failure is None
    assert not relay.is_complete


def test_done_without_an_end_is_a_cut() -> None:
    relay, _ = relayed(stream(*begun(), *texts("Hi")))
    assert relay.is_done
    assert not relay.is_complete


def test_garbage_is_a_bad_reply() -> None:
    relay, _ = relayed(b"data: {nonsense}\n\n")
    assert isinstance(relay.failure, GroxyError)
    assert relay.failure.kind is ErrorKind.BAD_REPLY


def test_an_event_without_bounds_is_a_bad_reply() -> None:
    relay = start()
    for _ in range(18):
        relay.feed(b"data: " + b"x" * 2**20)
    assert isinstance(relay.failure, GroxyError)


# ----------------------------------------------------------------------------------- whole replies


def test_a_reply_that_came_whole_is_told_as_a_stream() -> None:
    relay = start(asked(tools=[FUNCTION]))
    sent = relay.feed_whole(json.dumps(reply([thoughts(), message(), call()])).encode())
    assert relay.is_complete
    usage = relay.reported_usage()
    assert usage is not None
    last = final(sent + relay.finish(usage))
    assert [item["type"] for item in last["output"]] == ["reasoning", "message", "function_call"]


@pytest.mark.parametrize("body", [b'{"code":"x","error":"Later."}', b"<html>", b"{}"])
def test_an_error_that_came_whole_is_one(body) -> None:
    relay = start()
    assert relay.feed_whole(body) == b""
    assert relay.failure is not None
    assert not relay.is_complete


# ------------------------------------------------------------------------------- hostile upstreams


@given(events=hostile, has_tools=st.booleans())
def test_events_of_any_shape_are_relayed_without_raising(events, has_tools) -> None:
    sent = b"".join([b"data: " + json.dumps(one).encode() + b"\n\n" for one in events])
    request = asked(tools=[CUSTOM, FUNCTION]) if has_tools else asked()
    relay, passed = relayed(sent, request)
    assert not (relay.failure and relay.is_complete)
    if not relay.is_complete:
        passed += relay.fail(BROKEN)
    assert passed.endswith(DONE)
    numbers = [
        json.loads(block.split(b"data: ", 1)[1])["sequence_number"]
        for block in passed.removesuffix(DONE).split(b"\n\n")
        if block
    ]
    assert numbers == sorted(set(numbers))
    relay.reported_usage()


@given(raw=st.binary(max_size=80))
def test_bytes_of_any_kind_are_relayed_without_raising(raw) -> None:
    for body in (raw, b"data: " + raw + b"\n\n"):
        relay, _ = relayed(body)
        relay.fail(BROKEN)
    start().feed_whole(raw)


@given(cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_any_split_gives_the_same_bytes(cuts) -> None:
    custom = calls('{"input":"x"}', name="apply_patch", output_index=1)
    body = stream(*begun(), *texts("Grüße ", "– ✓"), *custom, *ended())
    places = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    relay = start(asked(tools=[CUSTOM]))
    passed = [relay.feed(body[a:b]) for a, b in itertools.pairwise(places)]
    whole = start(asked(tools=[CUSTOM]))
    assert b"".join(passed) == whole.feed(body)
    assert relay.finish(USAGE) == whole.finish(USAGE)


# ------------------------------------------------------------------------------------------- cuts


def cut(sent: bytes, request: Any = None) -> tuple[Any, bytes]:
    relay = start(request)
    passed = relay.feed(sent)
    return relay, passed + relay.cut() + relay.finish(USAGE)


def upto(count: int, *events: Any) -> bytes:
    """The opening and the first events of these."""
    return stream(*begun(), *events[:count]).removesuffix(DONE)


def test_a_cut_ends_parts_and_items_and_the_reply_is_incomplete() -> None:
    relay, sent = cut(upto(4, *texts("Hi ", "there.")))
    assert kinds(heard(sent))[-4:] == [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    last = final(sent)
    assert last["status"] == "incomplete"
    assert last["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["output"][0]["status"] == "incomplete"
    assert last["output"][0]["content"][0]["text"] == "Hi there."
    assert last["usage"]["output_tokens"] == USAGE.output_tokens
    assert last["id"] == "resp_abc"
    assert last["model"] == "grok-4.7-0901"
    assert (relay.is_complete, relay.is_done) == (True, True)
    assert relay.tally.finish_reason == "length"


@pytest.mark.parametrize("count", range(8))
def test_only_what_is_open_is_ended(count) -> None:
    _, sent = cut(upto(count, *texts("Hi ", "there.")))
    told = kinds(heard(sent))
    for kind in ("output_text.done", "content_part.done", "output_item.done"):
        assert told.count(kind) == (count > (0 if kind == "output_item.done" else 1))
    done = [
        (0, []),
        (1, [[]]),
        (2, [[""]]),
        (3, [["Hi "]]),
        (4, [["Hi there."]]),
        (5, [["Hi there."]]),
        (6, [["Hi there."]]),
        (7, [["Hi there."]]),
    ]
    said = [[part["text"] for part in item["content"]] for item in final(sent)["output"]]
    assert (count, said) == done[count]


def test_items_that_ended_before_the_cut_keep_their_status() -> None:
    first = texts("a")
    _, sent = cut(upto(9, *first, *texts("b", output_index=1, item_id="msg_2")))
    statuses = [item["status"] for item in final(sent)["output"]]
    assert statuses == ["completed", "incomplete"]


@pytest.mark.parametrize(("count", "arguments"), [(1, "{}"), (2, '{"ci'), (3, '{"city":"O"}')])
def test_half_a_call_is_ended_as_incomplete(count, arguments) -> None:
    relay, sent = cut(upto(count, *calls('{"ci', 'ty":"O"}')))
    done = next(one for one in heard(sent) if one["type"].endswith("arguments.done"))
    assert (done["arguments"], done["name"]) == (arguments, "get_weather")
    (item,) = final(sent)["output"]
    assert (item["arguments"], item["status"]) == (arguments, "incomplete")
    told = [one["delta"] for one in heard(sent) if one["type"].endswith("arguments.delta")]
    assert "".join(told) == arguments
    assert relay.tally.call_ids == ["call_1"]


def test_half_a_custom_tool_is_ended_as_its_caller_knows_it() -> None:
    request = asked(tools=[CUSTOM])
    half = calls('{"input":"*** Beg', "in", name="apply_patch")
    _, sent = cut(upto(3, *half), request)
    (item,) = final(sent)["output"]
    assert (item["type"], item["status"]) == ("custom_tool_call", "incomplete")
    assert kinds(heard(sent))[-4:-1] == [
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]


def test_half_thoughts_are_ended_with_what_there_is() -> None:
    at = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    part = {"type": "summary_text", "text": ""}
    opened = thoughts("", None) | {"status": "in_progress"}
    _, sent = cut(
        upto(
            3,
            ("response.output_item.added", {"output_index": 0, "item": opened}),
            ("response.reasoning_summary_part.added", at | {"part": part}),
            ("response.reasoning_summary_text.delta", at | {"delta": "Hm"}),
        )
    )
    assert kinds(heard(sent))[-4:-1] == [
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    (item,) = final(sent)["output"]
    assert item["summary"] == [{"type": "summary_text", "text": "Hm"}]


def test_a_refusal_and_open_thoughts_are_ended_in_their_own_events() -> None:
    said = message() | {"status": "in_progress", "content": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    thought = thoughts("", None, "rs_2") | {"status": "in_progress"}
    where = {"item_id": "rs_2", "output_index": 1, "content_index": 0}
    _, sent = cut(
        upto(
            9,
            ("response.output_item.added", {"output_index": 0, "item": said}),
            (
                "response.content_part.added",
                at | {"part": {"type": "refusal", "refusal": ""}},
            ),
            ("response.refusal.delta", at | {"delta": "No"}),
            ("response.output_item.added", {"output_index": 1, "item": thought}),
            ("response.reasoning_text.delta", where | {"delta": "Hm"}),
        )
    )
    told = {one["type"]: one for one in heard(sent)}
    assert told["response.refusal.done"]["refusal"] == "No"
    assert told["response.reasoning_text.done"]["text"] == "Hm"
    refusing, thinking = final(sent)["output"]
    assert refusing["content"] == [{"type": "refusal", "refusal": "No"}]
    assert thinking["content"] == [{"type": "reasoning_text", "text": "Hm"}]


def test_sources_told_before_a_cut_stay() -> None:
    source: dict[str, Any] = {"type": "url_citation", "url": "https://x", "title": "x"}
    source |= {"start_index": 0, "end_index": 1}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "annotation_index": 0}
    cited = ("response.output_text.annotation.added", at | {"annotation": source})
    _, sent = cut(upto(4, *texts("Hi")[:3], cited))
    assert final(sent)["output"][0]["content"][0]["annotations"] == [source]


def test_a_search_under_way_is_ended() -> None:
    action = {"type": "search", "query": "x"}
    item = {"id": "ws_1", "type": "web_search_call", "status": "in_progress", "action": action}
    _, sent = cut(upto(1, ("response.output_item.added", {"output_index": 0, "item": item})))
    assert final(sent)["output"] == [item | {"status": "incomplete"}]


def test_what_comes_after_a_cut_is_not_passed_on() -> None:
    relay = start()
    relay.feed(upto(3, *texts("a", "b")))
    relay.cut()
    assert relay.feed(ANSWER) == b""
    assert relay.close() == b""
    assert relay.cut() == b""
    assert relay.tally.output == ["a"]


def test_a_cut_before_anything_is_an_empty_reply() -> None:
    _, sent = cut(b"")
    assert (final(sent)["status"], final(sent)["output"]) == ("incomplete", [])


def test_a_cut_after_the_end_changes_nothing() -> None:
    relay, sent = cut(ANSWER)
    assert final(sent)["status"] == "completed"
    assert relay.tally.finish_reason == "stop"


def test_a_cut_does_not_make_a_failure_a_success() -> None:
    relay = start()
    relay.feed(upto(3, *texts("a")) + event("error", code="x", message="Busy"))
    assert relay.cut() == b""
    assert not relay.is_complete


def test_a_reply_that_was_cut_is_kept_as_it_was_told() -> None:
    request = asked()
    relay, sent = cut(upto(3, *texts("Hi ", "there.")), request)
    reply_id, content = DIALECT.remembered(request, relay.record)
    assert reply_id == "resp_abc"
    assert json.loads(content)["response"] == final(sent)


def test_the_official_client_follows_a_cut_anywhere() -> None:
    events = [*texts("Hi ", "there."), *calls('{"ci', 'ty":"O"}', output_index=1)]
    whole = stream(*begun(), *events).removesuffix(DONE)
    for at in range(0, len(whole), 7):
        state: Any = ResponseStreamState(input_tools=[], text_format=omit)
        told = heard(cut(whole[:at])[1])
        for one in told:
            state.handle_event(EVENTS.validate_python(one))
        assert told[-1]["type"] == "response.incomplete"
