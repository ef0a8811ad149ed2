"""Output items whose end has not come: whatever was told of them, they end as an item does."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.dialects.responses.drafts import Drafts
from groxy.dialects.responses.reading import Event, read_event
from tests.dialects.responses.streams import call, calls, message, texts

PART = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def told(*events: Any) -> Drafts:
    """What is open after these events."""
    drafts = Drafts()
    for kind, fields in events:
        event: Event = read_event(b"", json.dumps({"type": kind} | fields).encode())
        if kind == "response.output_item.added":
            drafts.begin(event)
        elif kind == "response.output_item.done":
            drafts.end(event)
        else:
            drafts.take(kind, event)
    return drafts


def ends(drafts: Drafts) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in drafts.ends()]


def test_nothing_is_open_after_the_end_of_an_item() -> None:
    assert ends(told(*texts("Hi"), *calls("{}", output_index=1))) == []


def test_a_text_that_the_upstream_ended_is_the_one_that_counts() -> None:
    done = ("response.output_text.done", PART | {"text": "Hello"})
    *_, item = ends(told(*texts("Hi")[:3], done))
    assert item["item"]["content"][0]["text"] == "Hello"


def test_items_without_an_index_are_known_by_their_id() -> None:
    item = message("") | {"status": "in_progress", "content": []}
    delta = {"item_id": "msg_1", "content_index": 0, "delta": "Hi"}
    drafts = told(
        ("response.output_item.added", {"item": item}), ("response.output_text.delta", delta)
    )
    assert ends(drafts)[-1]["item"]["content"][0]["text"] == "Hi"
    ended = read_event(
        b"", json.dumps({"type": "response.output_item.done", "item": item}).encode()
    )
    drafts.end(ended)
    assert ends(drafts) == []


def test_a_native_custom_call_ends_with_its_input() -> None:
    item = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c", "name": "x", "input": ""}
    at = {"item_id": "ctc_1", "output_index": 0}
    drafts = told(
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.custom_tool_call_input.delta", at | {"delta": "*** Beg"}),
    )
    done, end = ends(drafts)
    assert (done["type"], done["input"]) == ("response.custom_tool_call_input.done", "*** Beg")
    assert end["item"]["input"] == "*** Beg"


def test_a_picture_under_way_fails() -> None:
    item = {"id": "ig_1", "type": "image_generation_call", "status": "generating", "result": None}
    (end,) = ends(told(("response.output_item.added", {"output_index": 0, "item": item})))
    assert end["item"] == item | {"status": "failed"}


def test_a_call_is_ended_with_its_name() -> None:
    drafts = told(*calls('{"a', name="look")[:2])
    done, end = ends(drafts)
    assert (done["name"], done["arguments"]) == ("look", '{"a')
    assert end["item"] == call('{"a', name="look") | {"status": "incomplete"}


@pytest.mark.parametrize("item", ["x", None, [], 5])
def test_an_item_that_is_none_is_not_open(item) -> None:
    assert ends(told(("response.output_item.added", {"output_index": 0, "item": item}))) == []


KINDS = st.sampled_from(
    [
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_text.annotation.added",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.done",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.done",
        "response.something.new",
    ]
)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, -1, 2**70, 1.5, True, None, "msg_1", "", [], {}, {"type": "refusal"}]
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "output_index",
            "content_index",
            "summary_index",
            "item_id",
            "delta",
            "text",
            "refusal",
            "arguments",
            "input",
            "part",
            "annotation",
            "item",
        ]
    ),
    ODD | st.just(message()) | st.just(call()),
)


@given(st.lists(st.tuples(KINDS, FIELDS), max_size=12))
def test_no_order_of_events_and_no_value_crashes_it(events) -> None:
    opened = {"output_index": 0, "item": message() | {"status": "in_progress", "content": []}}
    drafts = told(("response.output_item.added", opened), *events)
    for one in ends(drafts):
        assert one["type"].endswith((".done", ".delta"))
