"""Calls on their way back to callers who know the tools otherwise."""

import json
from typing import Any

import pytest
from msgspec import Raw

from groxy.dialects.responses.returned import changed_by, returned_event, returned_item
from groxy.dialects.responses.tools import offering_of
from tests.dialects.responses.streams import CUSTOM, FUNCTION, asked, call, message

SPACE = {"type": "namespace", "name": "sky", "description": "", "tools": [FUNCTION]}
OFFERING = offering_of(asked(tools=[CUSTOM, SPACE]).fields)


def returned(item: Any) -> Any:
    raw = item if isinstance(item, bytes) else json.dumps(item).encode()
    return json.loads(bytes(returned_item(Raw(raw), OFFERING)))


def test_a_custom_tools_call_is_one_again() -> None:
    assert returned(call('{"input":"a\\nb"}', "apply_patch")) == {
        "id": "fc_1",
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "apply_patch",
        "input": "a\nb",
    }


def test_a_call_in_a_namespace_says_so_again() -> None:
    assert returned(call()) == call() | {"namespace": "sky"}


@pytest.mark.parametrize("item", [call(name="other"), message(), {"type": "custom_tool_call"}])
def test_other_items_stay_as_they_are(item) -> None:
    assert returned(item) == item


def test_nothing_is_looked_at_where_no_tool_was_changed() -> None:
    plain = offering_of(asked().fields)
    assert changed_by(Raw(json.dumps(call()).encode()), plain) is None


def test_fragments_of_json_are_held_back() -> None:
    assert returned_event("response.function_call_arguments.delta", {"delta": '{"in'}) is None


@pytest.mark.parametrize(
    ("arguments", "text"), [('{"input":"a"}', "a"), ("raw", "raw"), (None, ""), (7, "")]
)
def test_whole_arguments_are_the_input(arguments, text) -> None:
    kind = "response.function_call_arguments.done"
    done = returned_event(kind, {"arguments": arguments, "name": "n", "item_id": "x"})
    expected = "response.custom_tool_call_input.done"
    assert done == (expected, {"item_id": "x", "type": expected, "input": text})
