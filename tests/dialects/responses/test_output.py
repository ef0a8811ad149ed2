"""Output items while they are written."""

import json

import pytest

from groxy.core.events import Cited
from groxy.dialects.responses.output import CallItem, MessageItem, OutputItem, ReasoningItem
from groxy.dialects.responses.sending import EventWriter


def call(writer: EventWriter | None = None) -> CallItem:
    return CallItem(writer or EventWriter(), "fc_1", 0, call_id="c", name="f", offered=None)


def test_an_item_keeps_the_status_that_it_was_closed_with() -> None:
    item = MessageItem(EventWriter(), "msg_1", 0, 0)
    assert item.written("incomplete", with_sealed=False)["status"] == "incomplete"
    item.closed("completed", with_sealed=False)
    assert item.written("incomplete", with_sealed=False)["status"] == "completed"


def test_a_message_has_no_part_before_it_is_opened() -> None:
    item = MessageItem(EventWriter(), "msg_1", 0, 0)
    assert item.written("in_progress", with_sealed=False)["content"] == []


def test_a_source_that_comes_too_late_is_in_the_final_object_only() -> None:
    item = MessageItem(EventWriter(), "msg_1", 0, 0)
    item.opened()
    item.closed("completed", with_sealed=False)
    assert item.cite(Cited(url="https://x.ai")) == b""
    (part,) = item.written("completed", with_sealed=False)["content"]
    assert part["annotations"][0]["url"] == "https://x.ai"


def test_thoughts_that_are_only_sealed_have_no_summary() -> None:
    item = ReasoningItem(EventWriter(), "rs_1", 0)
    item.sealed = "S"
    sent = item.opened() + item.closed("completed", with_sealed=True)
    assert b"summary_part" not in sent
    assert item.written("completed", with_sealed=True)["encrypted_content"] == "S"
    assert "encrypted_content" not in item.written("completed", with_sealed=False)


@pytest.mark.parametrize(
    ("arguments", "is_whole"), [("{}", True), ('{"a":', False), ("", False), ("\ud800", False)]
)
def test_a_call_knows_when_its_arguments_are_whole(arguments, is_whole) -> None:
    item = call(_silent())
    item.add(arguments)
    assert item.is_whole is is_whole


def test_nothing_is_written_for_no_arguments() -> None:
    assert call().add("") == b""


def test_what_was_filled_in_is_told_as_a_delta_too() -> None:
    sent = call().closed("completed", with_sealed=False)
    delta = json.loads(sent.split(b"\n\n")[0].partition(b"data: ")[2])
    assert (delta["type"], delta["delta"]) == ("response.function_call_arguments.delta", "{}")


def test_an_item_without_a_form_of_its_own_cannot_be_written() -> None:
    with pytest.raises(NotImplementedError):
        OutputItem(EventWriter(), "x", 0).written("completed", with_sealed=False)


def _silent() -> EventWriter:
    writer = EventWriter()
    writer.is_silent = True
    return writer
