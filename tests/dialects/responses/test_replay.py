"""Whole replies as streams."""

import json
from typing import Any

import pytest

from groxy.dialects.responses.replay import events_of
from tests.dialects.responses.streams import (
    FUNCTION,
    asked,
    call,
    checked_reply,
    final,
    heard,
    kinds,
    message,
    relayed,
    reply,
    stream,
    thoughts,
)


def replayed(*output: Any, **fields: Any) -> list[dict[str, Any]]:
    return list(events_of(reply(output, **fields)))


def test_every_kind_of_item_is_told_the_way_it_streams() -> None:
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": None}
    refusal = message("x", "msg_2") | {"content": [{"type": "refusal", "refusal": "No."}]}
    told = replayed(thoughts(), search, message(), refusal, call())
    assert kinds(told) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_the_typed_client_accepts_it() -> None:
    source = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    events = [
        (one.pop("type"), one)
        for one in replayed(thoughts(), message(annotations=[source]), call())
    ]
    _, sent = relayed(stream(*events), asked(tools=[FUNCTION]))
    assert "output_text.annotation.added" in kinds(heard(sent))
    checked_reply(final(sent))


def test_an_opened_item_is_empty_and_under_way() -> None:
    added = [
        one["item"]
        for one in replayed(thoughts(), message(), call())
        if "added" in one["type"] and "item" in one
    ]
    assert [item["status"] for item in added] == ["in_progress"] * 3
    assert (added[0]["summary"], added[1]["content"], added[2]["arguments"]) == ([], [], "")
    assert "encrypted_content" not in added[0]


def test_a_cut_reply_ends_as_one() -> None:
    assert replayed(status="incomplete")[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize("output", [None, 7, "x", [7, None], [{"type": 7}], [{"type": "message"}]])
def test_output_of_any_shape_is_told(output) -> None:
    told = list(events_of({"output": output}))
    assert told[0]["type"] == "response.created"
    assert told[-1]["type"] == "response.completed"
    json.dumps(told)
