"""Streams on their way to the caller: what is mended, what is counted, and how they end."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import Counting, EmbeddedError, UsageRules
from groxy.dialects.chat.relay import ChatRelay
from groxy.wire.sse import MAX_EVENT_BYTES
from tests.dialects.chat.odd_replies import ODD_BODIES, ODD_JSON
from tests.dialects.chat.streams import (
    DONE,
    HEAD,
    READ_XAI_USAGE,
    XAI_USAGE,
    Outcome,
    begins,
    call,
    calls,
    choice,
    chunk,
    chunks_of,
    data_of,
    ends,
    event,
    heard_from,
    relayed,
    relayed_whole,
    says,
    usage_event,
)

OPENAI_USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
READ_OPENAI_USAGE = Usage(input_tokens=10, output_tokens=4)
GARBAGE = event(b'{"id":"x","choices":[{"index":0,"delta":{"content":"\xff')


def _failure_kind(outcome: Outcome) -> ErrorKind | None:
    failure = outcome.relay.failure
    assert failure is None or isinstance(failure, GroxyError)
    return failure.kind if failure else None


def _payload(outcome: Outcome) -> Any:
    assert isinstance(outcome.relay.failure, EmbeddedError)
    return json.loads(outcome.relay.failure.payload)


def _completed(outcome: Outcome) -> list[tuple[str, str, str]]:
    """The calls that the official client adds up: id, name and arguments."""
    state = ChatCompletionStreamState()
    for one in outcome.chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(one, strict=True))
    made = state.get_final_completion().choices[0].message.tool_calls or []
    return [(one.id, one.function.name, one.function.arguments) for one in made]


# -------------------------------------------------------------------------- what needs no mending


def test_a_good_stream_is_passed_on_byte_for_byte():
    stream = begins() + says("Hel") + says("lo") + ends() + DONE
    assert relayed(stream).sent == stream


def test_an_event_keeps_its_own_spelling():
    odd = (
        b'data: {"choices" : [ {"index":0,"delta":{"role":"assistant","content":"\\u00e9"},'
        b'"finish_reason":null,"logprobs":{"content":[1e2]}} ], "x":1.50}\n\n'
    )
    assert relayed(odd).passed == odd


def test_done_is_held_back_until_the_books_are_written():
    outcome = relayed(begins(), says("a"), ends(), DONE)
    assert (DONE in outcome.passed, outcome.last) == (False, DONE)


@pytest.mark.parametrize("line", [": OPENROUTER PROCESSING", "id: 7", "retry: 10", "event: x"])
def test_what_is_no_data_is_dropped(line):
    note = line.encode() + b"\n\n"
    stream = begins() + says("a") + ends()
    assert relayed(note, begins(), note, says("a"), note, ends(), note, DONE).sent == stream + DONE


def test_data_over_several_lines_becomes_one_line():
    text = json.dumps(chunk(choice({"role": "assistant", "content": "a"})), indent=1)
    spread = "".join(f"data: {line}\n" for line in text.split("\n")) + "\n"
    outcome = relayed(spread.encode(), ends(), DONE)
    assert outcome.heard.text == "a"


@pytest.mark.parametrize(
    "content", ["<|done|>", "[DONE]", "data: [DONE]", "\n\ndata: [DONE]\n\n", "\u2028\r", "猫"]
)
def test_text_cannot_pass_for_the_frame_of_an_event(content):
    outcome = relayed(begins(), says(content), ends(), DONE)
    assert outcome.heard.text == content


def test_the_tally_has_the_upstreams_own_words():
    tally = relayed(begins(), says("Hel"), says("lo"), ends("length"), DONE).relay.tally
    assert (tally.reply_id, tally.model_served) == ("chatcmpl-1", "grok-4")
    assert ("".join(tally.output), tally.finish_reason) == ("Hello", "length")


def test_the_tally_counts_text_thoughts_and_calls():
    outcome = relayed(
        event(chunk(choice({"role": "assistant", "reasoning_content": "hm "}))),
        says("ok "),
        calls(call('{"a":1}', "look", index=0, id="c", type="function")),
    )
    assert "".join(outcome.relay.tally.output) == 'hm ok look{"a":1}'


def test_the_tally_knows_what_was_called():
    outcome = relayed(
        calls(call("", "look", index=0, id="c1", type="function")),
        calls(call("{}", index=0)),
        calls(call("{}", "go", index=1, id="c2", type="function")),
    )
    tally = outcome.relay.tally
    assert (tally.called, tally.call_ids) == (["look", "go"], ["c1", "c2"])


def test_a_stream_is_kept_by_nobody():
    assert relayed(begins(), says("a"), ends(), DONE).relay.record == b""


# ------------------------------------------------------------------------------------------ roles


def test_a_role_on_every_chunk_is_left_on_the_first():
    pieces = [event(chunk(choice({"role": "assistant", "content": text}))) for text in "abc"]
    outcome = relayed(*pieces, ends(), DONE)
    assert outcome.heard.text == "abc"


@pytest.mark.parametrize("delta", [{"content": "a"}, {"content": "a", "role": None}])
def test_a_first_delta_without_a_role_gets_one(delta):
    outcome = relayed(event(chunk(choice(delta))), ends(), DONE)
    assert outcome.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize("role", ["", "model", "Assistant"])
def test_a_foreign_role_becomes_assistant(role):
    outcome = relayed(event(chunk(choice({"role": role, "content": "a"}))), ends(), DONE)
    assert outcome.heard.text == "a"


@pytest.mark.parametrize("first", [{}, {"role": "assistant"}, {"role": None}])
def test_an_empty_first_delta_opens_the_choice(first):
    outcome = relayed(event(chunk(choice(first))), says("a"), ends(), DONE)
    assert outcome.chunks[0]["choices"][0]["delta"]["role"] == "assistant"


def test_a_null_role_is_taken_off_later_deltas():
    outcome = relayed(begins(), event(chunk(choice({"role": None, "content": "a"}))))
    assert outcome.chunks[1]["choices"][0]["delta"] == {"content": "a"}


@pytest.mark.parametrize("delta", [None, "missing"])
def test_a_choice_without_a_delta_gets_an_empty_one(delta):
    last: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if delta is None:
        last["delta"] = None
    outcome = relayed(begins(), says("a"), event(chunk(last)), DONE)
    assert outcome.chunks[-1]["choices"][0]["delta"] == {}


def test_a_choice_that_comes_twice_in_a_chunk_has_its_role_once():
    twice = [choice({"role": "assistant", "content": text}) for text in "ab"]
    assert relayed(event(chunk(*twice)), ends(), DONE).heard.text == "ab"


# ------------------------------------------------------------------------------------------ usage


def test_usage_on_every_chunk_is_taken_out():
    outcome = relayed(begins(usage=XAI_USAGE), says("a", usage=XAI_USAGE), ends(), DONE)
    assert all("usage" not in one for one in outcome.chunks)


def test_of_usage_on_every_chunk_the_last_counts():
    early = XAI_USAGE | {"completion_tokens": 1, "total_tokens": 127}
    outcome = relayed(begins(usage=early), says("a", usage=early), ends(usage=XAI_USAGE), DONE)
    assert outcome.relay.reported_usage() == READ_XAI_USAGE


def test_usage_in_a_chunk_of_its_own_counts():
    outcome = relayed(begins(), says("a"), ends(), usage_event(XAI_USAGE), DONE)
    assert outcome.relay.reported_usage() == READ_XAI_USAGE


def test_null_usage_on_every_chunk_replaces_nothing():
    outcome = relayed(
        begins(usage=None), usage_event(OPENAI_USAGE), says("a", usage=None), ends(usage=None), DONE
    )
    assert outcome.relay.reported_usage() == READ_OPENAI_USAGE


def test_null_usage_is_passed_on_as_openai_sends_it():
    stream = begins(usage=None) + says("a", usage=None) + ends(usage=None)
    assert relayed(stream, DONE, wants_usage=True).passed == stream


def test_a_caller_who_did_not_ask_gets_no_usage_chunk():
    outcome = relayed(begins(), says("a"), ends(), usage_event(XAI_USAGE), DONE)
    assert all(one["choices"] for one in outcome.chunks)


def test_a_caller_who_asked_gets_usage_in_a_chunk_without_choices_before_done():
    outcome = relayed(begins(), says("a"), ends(), usage_event(XAI_USAGE), DONE, wants_usage=True)
    *_, usage, done = data_of(outcome.sent)
    assert (json.loads(usage)["choices"], done) == ([], b"[DONE]")


def test_usage_is_written_in_openais_counting():
    outcome = relayed(begins(), ends(usage=XAI_USAGE), DONE, wants_usage=True)
    usage = outcome.chunks[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (
        32,
        103,
        135,
    )


def test_usage_can_be_written_as_xai_counts():
    relay = ChatRelay(wants_usage=True, rules=UsageRules(), counting=Counting.XAI)
    relay.feed(begins() + ends(usage=XAI_USAGE) + DONE)
    usage = chunks_of(relay.finish(READ_XAI_USAGE))[-1]["usage"]
    assert (usage["completion_tokens"], usage["total_tokens"]) == (9, 135)


def test_the_cost_is_written_if_asked_for():
    relay = ChatRelay(wants_usage=True, rules=UsageRules(), wants_cost=True)
    relay.feed(begins() + ends() + DONE)
    last = relay.finish(Usage(input_tokens=1, cost_ticks=37_756_000))
    assert b'"cost":0.0037756,' in last


def test_usage_keeps_the_upstreams_further_fields():
    reported = XAI_USAGE | {"cost_in_usd_ticks": 37_756_000}
    outcome = relayed(begins(), ends(), usage_event(reported), DONE, wants_usage=True)
    assert outcome.chunks[-1]["usage"]["cost_in_usd_ticks"] == 37_756_000


def test_the_usage_chunk_keeps_its_further_fields():
    outcome = relayed(
        begins(), ends(), usage_event(XAI_USAGE, citations=["a"]), DONE, wants_usage=True
    )
    assert outcome.chunks[-1]["citations"] == ["a"]


def test_usage_that_the_upstream_left_out_is_written_as_given():
    relay = ChatRelay(wants_usage=True, rules=UsageRules())
    relay.feed(begins() + says("a") + ends() + DONE)
    last = chunks_of(relay.finish(Usage(input_tokens=7, output_tokens=2, estimated=True)))[-1]
    assert last | {"usage": None} == HEAD | {"choices": [], "usage": None}
    assert last["usage"]["total_tokens"] == 9


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -5, "completion_tokens": 10},
        {"prompt_tokens": 10**12, "completion_tokens": 1},
        {"prompt_tokens": "10"},
        {"prompt_tokens": True},
        {"prompt_tokens_details": [1], "completion_tokens_details": "x"},
        {},
        [],
        5,
        "none",
        False,
    ],
)
def test_nonsense_usage_is_not_reported_and_is_replaced(usage):
    outcome = relayed(begins(), ends(), usage_event(usage), DONE, wants_usage=True)
    assert outcome.relay.reported_usage() is None
    assert outcome.chunks[-1]["usage"]["total_tokens"] == 1


def test_a_usage_chunk_that_cannot_be_read_all_the_way_is_written_anew():
    odd = event(b'{"choices":[],"x":1e999,"usage":{"prompt_tokens":5,"y":1e999}}')
    outcome = relayed(begins(), ends(), odd, DONE, wants_usage=True)
    assert outcome.chunks[-1]["usage"]["prompt_tokens"] == 5


# --------------------------------------------------------------------------------- finish reasons


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "function_call"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_use", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("something new", "stop"),
        ("", "stop"),
        (None, "stop"),
    ],
)
def test_a_finish_reason_is_one_of_openais(reason, written):
    outcome = relayed(begins(), says("a"), ends(reason), DONE)
    assert outcome.heard.finish == written


@pytest.mark.parametrize("reason", ["", None, "tool_use", "tool_calls"])
def test_tool_calls_end_as_tool_calls(reason):
    whole = call("{}", "look", id="c", type="function")
    outcome = relayed(begins(), calls(whole, finish=reason), DONE)
    assert outcome.heard.finish == "tool_calls"


def test_an_empty_finish_reason_on_every_chunk_ends_nothing_early():
    pieces = [event(chunk(choice({"content": text}, ""))) for text in "abc"]
    outcome = relayed(*pieces, DONE)
    assert (outcome.heard.text, outcome.heard.finish) == ("abc", "stop")


def test_an_empty_finish_reason_on_every_fragment_of_a_call_ends_it_once():
    outcome = relayed(
        begins(),
        calls(call('{"a"', "look", index=0, id="c", type="function"), finish=""),
        calls(call(":1}", index=0), finish=""),
        DONE,
    )
    assert outcome.heard.calls[0]["arguments"] == '{"a":1}'
    assert outcome.heard.finish == "tool_calls"


def test_an_empty_finish_reason_behind_a_real_one_says_nothing_more():
    outcome = relayed(begins(), says("a"), ends("stop"), ends(""), DONE)
    finishes = [one["choices"][0]["finish_reason"] for one in outcome.chunks]
    assert finishes == [None, None, "stop", None]


def test_a_whole_call_with_an_empty_finish_reason_ends_its_choice():
    whole = call("{}", "look", id="c", type="function")
    outcome = relayed(begins(), calls(whole, finish=""))
    assert outcome.relay.is_complete
    assert outcome.heard.finish == "tool_calls"


def test_a_call_cut_behind_an_empty_finish_reason_is_no_complete_reply():
    half = call('{"path":"/', "delete", index=0, id="c", type="function")
    assert not relayed(begins(), calls(half, finish="")).relay.is_complete


def test_a_finish_reason_missing_before_done_is_added():
    outcome = relayed(begins(), says("a"), DONE)
    assert outcome.chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_an_added_finish_reason_comes_before_the_usage():
    outcome = relayed(begins(), says("a"), usage_event(OPENAI_USAGE), DONE, wants_usage=True)
    assert [bool(one["choices"]) for one in outcome.chunks] == [True, True, True, False]


def test_an_added_chunk_has_the_replys_id_model_and_time():
    added = relayed(begins(), says("a"), DONE).chunks[-1]
    assert added | {"choices": []} == HEAD | {"choices": []}


def test_the_tally_has_the_normal_finish_reason():
    assert relayed(begins(), ends("end_turn")).relay.tally.finish_reason == "stop"


# -------------------------------------------------------------------------------- odd text values


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (0, "0"), (1.5, "1.5"), (-0.5, "-0.5"), (True, "true"), (False, "false")],
)
def test_a_number_as_text_is_written_as_text(value, text):
    outcome = relayed(begins(), says(value), ends(), DONE)
    assert (outcome.heard.text, outcome.relay.tally.output) == (text, [text])


def test_null_as_text_is_no_text():
    outcome = relayed(begins(), says(None), ends(), DONE)
    assert (outcome.heard.text, outcome.relay.tally.output) == ("", [])


def _spelled(text: bytes, **fields: Any) -> bytes:
    """An event whose text is written as it stands here."""
    return says("TEXT", **fields).replace(b"TEXT", text)


def test_a_character_cut_in_half_is_whole_where_its_second_half_came():
    outcome = relayed(begins(), _spelled(rb"a\ud83d"), _spelled(rb"\ude00b"), ends(), DONE)
    assert [one["choices"][0]["delta"].get("content") for one in outcome.chunks] == [
        "",
        "a",
        "\U0001f600b",
        None,
    ]
    assert outcome.relay.tally.output == ["a", "\U0001f600b"]


def test_half_a_character_spoils_no_other_event():
    before, behind = begins() + says("a"), says("b") + ends()
    outcome = relayed(before, _spelled(rb"\ud83d"), _spelled(rb"\ude00"), behind, DONE)
    assert outcome.passed.startswith(before)
    assert outcome.passed.endswith(behind)


@pytest.mark.parametrize("end", [ends() + DONE, DONE, ends("max_tokens")])
def test_half_a_character_at_the_end_of_a_reply_is_replaced(end):
    outcome = relayed(begins(), _spelled(rb"a\ud83d"), end)
    assert (outcome.heard.text, outcome.relay.is_complete) == ("a\ufffd", True)


def test_half_a_character_in_a_stream_that_breaks_off_is_replaced():
    outcome = relayed(begins(), _spelled(rb"a\ud83d"))
    assert (outcome.heard.text, outcome.relay.is_complete) == ("a\ufffd", False)


def test_half_a_character_is_mended_in_a_chunk_with_usage():
    outcome = relayed(
        begins(),
        _spelled(rb"\ud83d", usage=XAI_USAGE),
        _spelled(rb"\ude00", usage=XAI_USAGE),
        ends(),
        DONE,
    )
    assert (outcome.heard.text, "usage" in outcome.chunks[1]) == ("\U0001f600", False)


def test_half_a_character_of_a_whole_reply_is_replaced_in_its_stream():
    body = rb'{"choices":[{"index":0,"message":{"content":"a\ude00"},"finish_reason":"stop"}]}'
    (said, _) = relayed_whole(body).chunks[:2]
    assert said["choices"][0]["delta"]["content"] == "a\ufffd"


def test_openrouters_reasoning_is_also_given_as_reasoning_content():
    outcome = relayed(begins(), event(chunk(choice({"reasoning": "hm"}))), ends(), DONE)
    delta = outcome.chunks[1]["choices"][0]["delta"]
    assert (delta["reasoning"], delta["reasoning_content"]) == ("hm", "hm")


def test_reasoning_beside_an_empty_reasoning_content_is_given_as_both():
    both = event(chunk(choice({"reasoning": "hm", "reasoning_content": ""})))
    assert relayed(begins(), both, ends(), DONE).heard.thoughts == "hm"


def test_reasoning_given_both_ways_is_counted_once():
    both = event(chunk(choice({"reasoning": "hm", "reasoning_content": "hm"})))
    outcome = relayed(begins(), both, ends(), DONE)
    assert outcome.relay.tally.output == ["hm"]


@pytest.mark.parametrize("name", ["id", "model", "created"])
def test_a_head_field_that_is_null_spoils_nothing(name):
    outcome = relayed(begins(**{name: None}), says("a", **{name: None}), ends(), DONE)
    assert outcome.heard.text == "a"


# ------------------------------------------------------------------------------------- tool calls


def test_whole_calls_without_an_index_are_numbered_in_their_order():
    outcome = relayed(
        begins(),
        calls(call('{"a":1}', "one", id="c1", type="function")),
        calls(call('{"b":2}', "two", id="c2", type="function")),
        ends(""),
        DONE,
    )
    assert outcome.heard.calls == {
        0: {"id": "c1", "name": "one", "arguments": '{"a":1}'},
        1: {"id": "c2", "name": "two", "arguments": '{"b":2}'},
    }


def test_two_calls_without_an_index_in_one_chunk_are_numbered():
    both = [call("{}", name, id=name, type="function") for name in ("one", "two")]
    outcome = relayed(begins(), calls(*both), ends(""), DONE)
    assert {at: held["name"] for at, held in outcome.heard.calls.items()} == {0: "one", 1: "two"}


def test_fragments_without_an_index_or_an_id_belong_to_the_last_call():
    outcome = relayed(
        begins(),
        calls(call("", "one", id="c1")),
        calls(call('{"a"')),
        calls(call(":1}")),
        calls(call("", "two", id="c2")),
        calls(call("{}")),
        ends("tool_calls"),
        DONE,
    )
    assert [held["arguments"] for held in outcome.heard.calls.values()] == ['{"a":1}', "{}"]


def test_fragments_without_an_index_are_told_apart_by_their_id():
    outcome = relayed(
        begins(),
        calls(call("1", "one", id="c1")),
        calls(call("2", "two", id="c2")),
        calls(call("1", id="c1")),
        calls(call("2", id="c2")),
        ends("tool_calls"),
        DONE,
    )
    assert [held["arguments"] for held in outcome.heard.calls.values()] == ["11", "22"]


def test_a_call_that_repeats_its_id_is_still_one_call():
    outcome = relayed(
        begins(),
        calls(call("a", "one", id="c1")),
        calls(call("b", id="c1")),
        calls(call("c")),
        ends("tool_calls"),
        DONE,
    )
    assert [held["arguments"] for held in outcome.heard.calls.values()] == ["abc"]


@pytest.mark.parametrize("kind", [{}, {"type": ""}, {"type": None}])
def test_a_call_without_a_type_is_a_function(kind):
    outcome = relayed(begins(), calls(call("{}", "look", index=0, id="c", **kind)), ends(""), DONE)
    fragment = outcome.chunks[1]["choices"][0]["delta"]["tool_calls"][0]
    assert fragment["type"] == "function"


def test_openais_fragments_are_passed_on_byte_for_byte():
    stream = (
        begins()
        + calls(call("", "look", index=0, id="c", type="function"))
        + calls(call('{"a"', index=0))
        + calls(call(":1}", index=0))
        + ends("tool_calls")
    )
    assert relayed(stream, DONE).passed == stream


def test_what_each_fragment_repeats_of_its_call_is_told_once():
    parts = [call(text, "look", index=0, id="c", type="function") for text in ('{"a"', ":1}")]
    outcome = relayed(begins(), *map(calls, parts), ends("tool_calls"), DONE)
    assert _completed(outcome) == [("c", "look", '{"a":1}')]
    assert (outcome.relay.tally.called, outcome.relay.tally.call_ids) == (["look"], ["c"])
    assert "".join(outcome.relay.tally.output) == 'look{"a":1}'


def test_an_id_that_changes_within_a_call_is_told_once():
    outcome = relayed(
        begins(),
        calls(call("", "look", index=0, id="c1", type="function")),
        calls(call('{"a"', index=0, id="c2", type="function")),
        calls(call(":1}", index=0, id="c3", type="function")),
        ends("tool_calls"),
        DONE,
    )
    assert _completed(outcome) == [("c1", "look", '{"a":1}')]


def test_calls_that_share_an_index_are_told_apart_by_their_ids():
    outcome = relayed(
        begins(),
        calls(call('{"a"', "one", index=0, id="c1", type="function")),
        calls(call(":1}", index=0)),
        calls(call('{"b"', "two", index=0, id="c2", type="function")),
        calls(call(":2}", index=0, id="")),
        ends("tool_calls"),
        DONE,
    )
    assert _completed(outcome) == [("c1", "one", '{"a":1}'), ("c2", "two", '{"b":2}')]


def test_calls_that_share_an_index_in_one_chunk_are_told_apart():
    both = [call("{}", name, index=0, id=name, type="function") for name in ("one", "two")]
    outcome = relayed(begins(), calls(*both), ends("tool_calls"), DONE)
    assert _completed(outcome) == [("one", "one", "{}"), ("two", "two", "{}")]


def test_the_first_call_of_a_shared_index_is_passed_on_byte_for_byte():
    stream = begins() + calls(call("{}", "one", index=0, id="c1", type="function"))
    two = calls(call("{}", "two", index=0, id="c2", type="function"))
    assert relayed(stream, two).passed.startswith(stream)


@pytest.mark.parametrize("none", [None, []])
def test_a_delta_with_no_calls_is_no_call(none):
    outcome = relayed(
        begins(), event(chunk(choice({"content": "a", "tool_calls": none}))), ends(""), DONE
    )
    assert outcome.heard.finish == "stop"


# -------------------------------------------------------------------------------- several choices


def test_interleaved_choices_each_have_their_role_once():
    pieces = [
        event(chunk(choice({"role": "assistant", "content": text}, index=index)))
        for text in "ab"
        for index in (0, 1)
    ]
    finishes = [event(chunk(choice({}, "stop", index))) for index in (1, 0)]
    heard = heard_from(relayed(*pieces, *finishes, DONE).sent)
    assert {index: one.text for index, one in heard.items()} == {0: "ab", 1: "ab"}


def test_choices_in_one_chunk_each_have_their_role_once():
    both = [event(chunk(*[choice({"content": "a"}, index=index) for index in (0, 1)]))] * 2
    heard = heard_from(relayed(*both, DONE).sent)
    assert {index: (one.text, one.finish) for index, one in heard.items()} == {
        0: ("aa", "stop"),
        1: ("aa", "stop"),
    }


@pytest.mark.parametrize("reason", [None, ""])
def test_the_calls_of_one_choice_do_not_end_another(reason):
    outcome = relayed(
        calls(call("{}", "look", id="c"), index=1),
        event(chunk(choice({"content": "a"}, reason, index=0))),
        DONE,
    )
    heard = heard_from(outcome.sent)
    assert (heard[0].finish, heard[1].finish) == ("stop", "tool_calls")


def test_each_choice_numbers_its_own_calls():
    outcome = relayed(
        calls(call("{}", "one", id="c1"), index=0),
        calls(call("{}", "two", id="c2"), index=1),
        DONE,
    )
    heard = heard_from(outcome.sent)
    assert (list(heard[0].calls), list(heard[1].calls)) == ([0], [0])


def test_a_choice_cut_while_another_has_ended_is_no_complete_reply():
    cut = relayed(
        event(chunk(choice({"content": "a"}, index=0))),
        event(chunk(choice({"content": "a"}, index=1))),
        event(chunk(choice({}, "stop", 0))),
    )
    assert not cut.relay.is_complete


# ---------------------------------------------------------------------------------- how it ends


def test_nothing_is_complete_before_it_began():
    relay = ChatRelay(wants_usage=False, rules=UsageRules())
    assert (relay.is_complete, relay.is_done) == (False, False)


def test_an_empty_stream_is_no_complete_reply():
    outcome = relayed(b"")
    assert (outcome.passed, outcome.relay.is_complete) == (b"", False)


@pytest.mark.parametrize(
    "stream",
    [
        DONE,
        b": keepalive\n\n" + DONE,
        usage_event(OPENAI_USAGE) + DONE,
        begins() + DONE,
        begins(),
        begins() + says("a"),
        begins() + ends("") + b"",
    ],
    ids=[
        "done alone",
        "comment",
        "usage alone",
        "role alone",
        "cut behind the role",
        "cut in the text",
        "empty reason and no done",
    ],
)
def test_a_stream_without_an_answer_or_an_end_is_no_complete_reply(stream):
    assert not relayed(stream).relay.is_complete


@pytest.mark.parametrize(
    "stream",
    [
        begins() + says("a") + ends() + DONE,
        begins() + says("a") + ends(),
        begins() + says("a") + DONE,
        begins() + ends() + DONE,
        ends(),
    ],
    ids=["as it should be", "without done", "without a reason", "without text", "a reason alone"],
)
def test_a_stream_with_an_answer_and_an_end_is_a_complete_reply(stream):
    assert relayed(stream).relay.is_complete


@pytest.mark.parametrize("cut", range(1, len(says("bcd")) - 1))
def test_a_stream_cut_inside_an_event_is_no_complete_reply(cut):
    outcome = relayed(begins(), says("a"), says("bcd")[:cut])
    assert not outcome.relay.is_complete
    assert outcome.relay.failure is None
    assert outcome.heard.text in ("a", "abcd")


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_choice_cut_inside_an_event_is_not_ended_by_another(cut):
    outcome = relayed(
        event(chunk(choice({"content": "a"}, index=0))),
        event(chunk(choice({"content": "a"}, index=1))),
        event(chunk(choice({}, "stop", 0))),
        event(chunk(choice({}, "stop", 1)))[:cut],
    )
    assert not outcome.relay.is_complete


def test_a_stream_cut_behind_its_finish_reason_is_complete():
    outcome = relayed(begins(), says("a"), ends(), usage_event(OPENAI_USAGE)[:30])
    assert outcome.relay.is_complete
    assert outcome.relay.failure is None


def test_done_counts_without_its_empty_line():
    assert relayed(begins(), says("a"), b"data: [DONE]").relay.is_complete


@pytest.mark.parametrize(
    "done", [b"data:[DONE]\n\n", b"data: [DONE] \n\n", b"data: [DONE]\r\n\r\n"]
)
def test_done_is_known_in_any_dress(done):
    outcome = relayed(begins(), says("a"), done)
    assert (outcome.relay.is_complete, outcome.relay.failure) == (True, None)


@pytest.mark.parametrize(
    "more",
    [says("more"), GARBAGE, event({"error": "late"}), DONE, b"data: " + b"x" * MAX_EVENT_BYTES],
    ids=["text", "garbage", "an error", "done again", "an event without end"],
)
def test_what_follows_done_is_ignored(more):
    good = relayed(begins(), says("a"), ends(), DONE).sent
    relay = ChatRelay(wants_usage=False, rules=UsageRules())
    sent = relay.feed(begins() + says("a") + ends() + DONE + more) + relay.feed(more)
    sent += relay.close()
    assert (sent + relay.finish(Usage()), relay.failure) == (good, None)


# ---------------------------------------------------------------------------------------- failures


def test_a_stream_that_breaks_off_ends_with_the_error_and_no_done():
    relay = ChatRelay(wants_usage=True, rules=UsageRules())
    relay.feed(begins() + says("a"))
    (error,) = data_of(relay.fail(GroxyError(ErrorKind.STREAM_BROKEN, "It broke off.")))
    assert json.loads(error)["error"]["message"] == "It broke off."


@pytest.mark.parametrize(
    "garbage",
    [
        GARBAGE,
        event(b"<html>"),
        event(b""),
        event(b"{"),
        event(b"[]"),
        event(b"null"),
        event(b"5"),
        event(b'"text"'),
        event(b"[" * 100_000),
        event(b'{"choices":"x"}'),
        event(b'{"choices":[5]}'),
        event(b'{"choices":[{"delta":5}]}'),
        event(b'{"choices":[{"index":"a"}]}'),
        event(b'{"choices":[{"delta":{"content":[]}}]}'),
        event(b'{"choices":[{"delta":{"tool_calls":[5]}}]}'),
        event(b'{"choices":[{"delta":{"role":"assistant"},"x":NaN}]}'),
        event(rb'{"choices":[{"delta":{"content":"\ud83d"},"x":NaN}]}'),
        event(rb'{"choices":[{"delta":{"content":"\ud83"}}]}'),
        event(rb'{"choices":[{"delta":{"content":["\ud83d"]}}]}'),
    ],
    ids=lambda garbage: repr(garbage[6:40]),
)
class TestGarbage:
    def test_is_a_failure(self, garbage):
        assert _failure_kind(relayed(begins(), says("a"), garbage, DONE)) is ErrorKind.BAD_REPLY

    def test_makes_the_reply_incomplete(self, garbage):
        assert not relayed(begins(), says("a"), garbage, ends(), DONE).relay.is_complete

    def test_comes_behind_what_came_before_it_in_the_same_chunk(self, garbage):
        good = begins() + says("a")
        assert relayed(good + garbage + says("b")).passed == good

    def test_is_a_failure_before_any_output(self, garbage):
        outcome = relayed(garbage, says("a"), ends(), DONE)
        assert _failure_kind(outcome) is ErrorKind.BAD_REPLY
        assert outcome.passed == b""


def test_an_event_that_cannot_be_mended_is_a_failure():
    odd = event(b'{"choices":[{"index":0,"delta":{"content":"a"}}],"x":1e999}')
    outcome = relayed(odd, says("b"), ends(), DONE)
    assert (_failure_kind(outcome), outcome.passed) == (ErrorKind.BAD_REPLY, b"")


def test_an_event_without_end_is_a_failure_behind_what_came_before():
    good = begins() + says("a")
    relay = ChatRelay(wants_usage=False, rules=UsageRules())
    passed = relay.feed(good + b"data: " + b"x" * MAX_EVENT_BYTES)
    passed += relay.feed(b"x" * 100) + relay.feed(DONE) + relay.close()
    assert isinstance(relay.failure, GroxyError)
    assert (relay.failure.kind, passed, relay.is_done) == (ErrorKind.BAD_REPLY, good, True)


def test_a_failure_says_nothing_of_what_the_upstream_sent():
    failure = relayed(event(b"my secret")).relay.failure
    assert isinstance(failure, GroxyError)
    assert "secret" not in failure.message


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Overloaded", "code": 503},
        "The service is currently unavailable",
        [{"code": 2009, "message": "Unauthorized"}],
        True,
        7,
    ],
)
def test_an_error_in_a_stream_is_handed_on_as_it_came(error):
    payload = {"code": "Some code", "error": error}
    outcome = relayed(begins(), says("a"), event(payload), says("b"), DONE)
    assert _payload(outcome) == payload
    assert outcome.passed == begins() + says("a")


def test_an_error_ends_the_stream():
    outcome = relayed(begins(), event({"error": "x"}))
    assert (outcome.relay.is_done, outcome.relay.is_complete) == (True, False)


def test_an_error_beside_choices_counts():
    payload = chunk(choice({"content": ""}, "error"), error={"code": 429, "message": "Slow down"})
    assert _payload(relayed(begins(), event(payload))) == payload


def test_a_choice_that_failed_without_an_error_object_counts():
    payload = chunk(choice({"content": ""}, "error"))
    assert _payload(relayed(begins(), event(payload))) == payload


@pytest.mark.parametrize("error", [None, {}, "", False, 0, []])
def test_an_empty_error_field_is_none(error):
    outcome = relayed(begins(error=error), says("a", error=error), ends(), DONE)
    assert (outcome.relay.failure, outcome.heard.text) == (None, "a")


def test_of_two_failures_the_first_counts():
    outcome = relayed(begins(), event({"error": "first"}) + event({"error": "second"}))
    assert _payload(outcome) == {"error": "first"}


# -------------------------------------------------------------------- whole replies for a stream

WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1752854522,
    "model": "grok-4",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "finish_reason": "stop",
        }
    ],
    "usage": OPENAI_USAGE,
}


def _whole(**fields: Any) -> bytes:
    return json.dumps(WHOLE | fields).encode()


def _whole_with(message: dict[str, Any], finish: Any, **more: Any) -> bytes:
    return _whole(choices=[{"index": 0, "message": message, "finish_reason": finish} | more])


def test_a_whole_reply_becomes_a_stream():
    outcome = relayed_whole(_whole())
    assert (outcome.heard.text, outcome.heard.finish) == ("Hello", "stop")
    assert data_of(outcome.sent)[-1] == b"[DONE]"


def test_a_whole_replys_usage_counts():
    assert relayed_whole(_whole()).relay.reported_usage() == READ_OPENAI_USAGE


def test_a_whole_replys_usage_is_sent_only_if_asked_for():
    silent, asked = relayed_whole(_whole()), relayed_whole(_whole(), wants_usage=True)
    assert ["usage" in one for one in silent.chunks] == [False, False]
    assert ["usage" in one for one in asked.chunks] == [False, False, True]


@pytest.mark.parametrize("ids", [("c1", "c2"), ("c", "c"), (None, None)])
def test_a_whole_replys_calls_become_fragments_a_client_can_read(ids):
    both = [call("{}", name, id=id_) for name, id_ in zip(("one", "two"), ids, strict=True)]
    body = _whole_with({"role": "assistant", "content": None, "tool_calls": both}, "")
    heard = relayed_whole(body).heard
    assert [held["name"] for held in heard.calls.values()] == ["one", "two"]
    assert heard.finish == "tool_calls"


def test_a_whole_replys_choices_are_all_there():
    choices = [{"index": at, "message": {"content": str(at)}} for at in range(3)]
    heard = heard_from(relayed_whole(_whole(choices=choices)).sent)
    assert {index: one.text for index, one in heard.items()} == {0: "0", 1: "1", 2: "2"}


def test_a_whole_replys_further_fields_survive():
    body = _whole_with({"content": "a"}, "stop", logprobs={"content": []})
    first = relayed_whole(body).chunks[0]
    assert first["choices"][0]["logprobs"] == {"content": []}


@pytest.mark.parametrize(
    "body",
    [
        {"code": "The service is currently unavailable", "error": "Try again"},
        {"error": {"message": "no"}, "choices": []},
        {"error": {"message": "no"}, "choices": WHOLE["choices"]},
        {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "no"}}]},
    ],
)
def test_an_error_in_place_of_a_stream_is_handed_on_as_it_came(body):
    outcome = relayed_whole(json.dumps(body).encode())
    assert (_payload(outcome), outcome.passed) == (body, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"[]",
        b"null",
        b'{"choices":5}',
        b'{"choices":[5]}',
        b'{"choices":[{"message":[1]}]}',
        b'{"choices":[{"message":{"tool_calls":[5]}}]}',
        b'{"choices":[{"message":{"content":"a"}}]',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_reply_is_a_bad_reply(body):
    assert _failure_kind(relayed_whole(body)) is ErrorKind.BAD_REPLY


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"choices":null}', b'{"id":"a"}'])
def test_a_reply_without_an_answer_is_not_complete(body):
    assert not relayed_whole(body).relay.is_complete


def test_a_whole_reply_written_over_several_lines_becomes_a_stream():
    outcome = relayed_whole(json.dumps(WHOLE, indent=2).encode())
    assert outcome.heard.text == "Hello"


# -------------------------------------------------------------------------------------- properties


@given(st.lists(ODD_BODIES, min_size=1, max_size=4), st.booleans())
def test_no_stream_makes_the_relay_raise(bodies, wants_usage):
    outcome = relayed(*[event(body) for body in bodies], DONE, wants_usage=wants_usage)
    assert isinstance(outcome.relay.failure, EmbeddedError | GroxyError | None)
    assert outcome.sent.endswith(DONE) == outcome.relay.is_complete


@given(ODD_BODIES, st.booleans())
def test_no_whole_body_makes_the_relay_raise(body, wants_usage):
    outcome = relayed_whole(body, wants_usage=wants_usage)
    assert isinstance(outcome.relay.failure, EmbeddedError | GroxyError | None)
    assert outcome.sent.endswith(DONE) == outcome.relay.is_complete


_TEXTS = st.text(max_size=4)
_GOOD_CALLS = st.builds(
    call,
    _TEXTS,
    index=st.integers(0, 1),
    id=st.sampled_from([None, "c1", "c2"]),
    type=st.sampled_from([None, "", "function"]),
)
_GOOD_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["assistant", None]),
        "content": st.none() | _TEXTS | st.integers(0, 9) | st.booleans(),
        "reasoning": _TEXTS,
        "reasoning_content": _TEXTS,
        "tool_calls": st.none() | st.lists(_GOOD_CALLS, max_size=2),
        "extra": ODD_JSON,
    },
)
_GOOD_EVENTS = st.builds(
    lambda delta, index, usage, extra: event(
        chunk(choice(delta, None, index, extra=extra), extra=extra)
        | ({"usage": usage} if usage else {})
    ),
    _GOOD_DELTAS,
    st.integers(0, 1),
    st.sampled_from([None, XAI_USAGE, OPENAI_USAGE]),
    ODD_JSON,
)
_ANY_EVENTS = st.lists(
    _GOOD_EVENTS
    | st.sampled_from([ends(), ends(""), usage_event(XAI_USAGE), b": note\n\n", b"\r\n"])
    | st.sampled_from([GARBAGE, event({"error": "x"}), DONE]),
    max_size=6,
)


def _seen(outcome: Outcome) -> tuple[object, ...]:
    relay = outcome.relay
    failure = relay.failure
    kind = failure.kind if isinstance(failure, GroxyError) else type(failure)
    return outcome.sent, relay.tally, relay.reported_usage(), kind, relay.is_complete


@given(_ANY_EVENTS, st.booleans(), st.data())
def test_any_split_of_a_stream_gives_the_same_bytes_and_the_same_tally(events, wants_usage, data):
    stream = b"".join(events)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    whole = relayed(stream, wants_usage=wants_usage)
    assert _seen(relayed(*pieces, wants_usage=wants_usage)) == _seen(whole)


@given(st.lists(_GOOD_EVENTS, min_size=1, max_size=5))
def test_any_stream_satisfies_a_strict_client_and_says_what_was_counted(events):
    outcome = relayed(*events, DONE)
    heard = heard_from(outcome.sent)
    assert all(one.finish for one in heard.values()) or not outcome.last
    counted = sorted("".join(outcome.relay.tally.output))
    said = "".join(
        one.text + one.thoughts + "".join(held["arguments"] for held in one.calls.values())
        for one in heard.values()
    )
    assert counted == sorted(said)


@given(st.lists(_GOOD_EVENTS, min_size=1, max_size=5))
def test_unknown_fields_survive_every_mend(events):
    relay = ChatRelay(wants_usage=False, rules=UsageRules())
    for one in events:
        (sent,) = chunks_of(one)
        (got,) = chunks_of(relay.feed(one))
        assert got["extra"] == sent["extra"]
        assert got["choices"][0]["extra"] == sent["choices"][0]["extra"]
        before, after = sent["choices"][0]["delta"], got["choices"][0]["delta"]
        assert ("extra" in after, after.get("extra")) == ("extra" in before, before.get("extra"))


# ------------------------------------------------------------------------------------------- cuts


def _cut(*pieces: bytes, wants_usage: bool = False) -> tuple[ChatRelay, bytes]:
    relay = ChatRelay(wants_usage=wants_usage, rules=UsageRules())
    passed = b"".join([relay.feed(piece) for piece in pieces])
    passed += relay.cut()
    return relay, passed + relay.finish(READ_OPENAI_USAGE)


def test_a_cut_ends_the_choice_for_its_length_and_nothing_that_was_sent_is_lost():
    relay, sent = _cut(begins() + says("Hel"), says("lo"))
    one = heard_from(sent)[0]
    assert (one.text, one.finish) == ("Hello", "length")
    assert data_of(sent)[-1] == b"[DONE]"
    assert relay.is_complete
    assert relay.is_done
    assert relay.tally.finish_reason == "length"


def test_a_cut_tells_usage_to_who_asked_for_it():
    _, sent = _cut(begins() + says("Hel", usage=OPENAI_USAGE), wants_usage=True)
    last = chunks_of(sent)[-1]
    assert last["choices"] == []
    assert last["usage"].items() >= OPENAI_USAGE.items()


def test_a_cut_ends_every_choice_that_began_and_leaves_ends_alone():
    _, sent = _cut(
        begins() + says("a") + ends("stop"),
        event(chunk(choice({"role": "assistant", "content": "b"}, index=1))),
        event(chunk(choice({"role": "assistant", "content": "c"}, index=3))),
    )
    finishes = {index: one.finish for index, one in heard_from(sent).items()}
    assert finishes == {0: "stop", 1: "length", 3: "length"}


def test_a_cut_inside_a_tool_call_is_one_for_length():
    first = call('{"ci', "get_weather", index=0, id="c1", type="function")
    _, sent = _cut(begins() + calls(first))
    one = heard_from(sent)[0]
    assert (one.calls[0]["arguments"], one.finish) == ('{"ci', "length")


def test_what_comes_after_a_cut_is_not_passed_on():
    relay = ChatRelay(wants_usage=False, rules=UsageRules())
    relay.feed(begins() + says("a"))
    relay.cut()
    assert relay.feed(says("b") + ends()) == b""
    assert relay.close() == b""
    assert relay.tally.output == ["a"]


def test_a_cut_after_the_end_changes_nothing():
    relay, sent = _cut(begins() + says("a") + ends("stop"))
    assert heard_from(sent)[0].finish == "stop"
    assert relay.tally.finish_reason == "stop"


def test_a_cut_does_not_make_a_failure_a_success():
    relay = ChatRelay(wants_usage=False, rules=UsageRules())
    relay.feed(begins() + GARBAGE + b'"}}]}\n\n')
    assert relay.failure is not None
    assert relay.cut() == b""
    assert not relay.is_complete


def test_a_stream_that_was_cut_can_still_fail():
    relay = ChatRelay(wants_usage=False, rules=UsageRules())
    relay.feed(begins() + says("a"))
    relay.cut()
    last = relay.fail(GroxyError(ErrorKind.INTERNAL, "No."))
    assert b'"error"' in last
    assert b"[DONE]" not in last


@given(st.integers(0, 2000))
def test_the_official_client_follows_a_cut_anywhere(at: int):
    first = call('{"ci', "get_weather", index=0, id="c1", type="function")
    whole = begins() + says("Hi") + says(" there") + calls(first) + calls(call('ty":1}', index=0))
    at %= len(whole)
    relay = ChatRelay(wants_usage=True, rules=UsageRules())
    passed = relay.feed(whole[:at])
    sent = passed + relay.cut() + relay.finish(READ_OPENAI_USAGE)
    state = ChatCompletionStreamState()
    for one in chunks_of(sent):
        state.handle_chunk(ChatCompletionChunk.model_validate(one, strict=True))
    # Its `get_final_completion` raises for every reply that was cut, an upstream's own too.
    made = state.current_completion_snapshot
    assert [choice.finish_reason for choice in made.choices] == ["length"] * bool(passed)
    assert made.usage is not None
    assert made.usage.completion_tokens == 4
