"""Input items: checked, kept with type and id, and sent again without what only we gave them."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw

from groxy.core.errors import GroxyError
from groxy.dialects.responses.items import (
    check_data,
    input_items,
    is_own_summary,
    kept_value,
    raw_items,
    read_items,
    resent,
)


def listed(held: Any) -> list[dict[str, Any]]:
    return [json.loads(bytes(raw)) for raw in input_items(json.dumps(held).encode())]


def test_text_becomes_a_message_of_the_user() -> None:
    (item,) = listed("Hi")
    assert item.pop("id").startswith("msg_")
    assert item == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "Hi"}],
    }


def test_text_of_the_assistant_is_output() -> None:
    (item,) = listed([{"role": "assistant", "content": "Hi"}])
    assert item["content"] == [{"type": "output_text", "text": "Hi", "annotations": []}]


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        ("reasoning", "rs_"),
        ("function_call", "fc_"),
        ("function_call_output", "fco_"),
        ("custom_tool_call", "ctc_"),
        ("custom_tool_call_output", "ctco_"),
        ("compaction", "cmp_"),
        ("web_search_call", "item_"),
    ],
)
def test_an_item_without_an_id_gets_one(kind, prefix) -> None:
    assert listed([{"type": kind}])[0]["id"].startswith(prefix)


def test_an_item_keeps_its_id_and_what_nobody_knows() -> None:
    item = {"type": "reasoning", "id": "mine", "new": {"a": 1}}
    assert listed([item]) == [item]


def test_two_items_never_share_a_new_id() -> None:
    one, other = listed(["same"] * 0 + [{"role": "user", "content": "x"}] * 2)
    assert one["id"] != other["id"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_items_of_any_shape_are_listed_or_refused(held) -> None:
    try:
        listed(held)
    except GroxyError as error:
        assert error.param == "input"  # noqa: PT017 - both ends are right


@pytest.mark.parametrize("raw", [b"[1]", b'[{"type":7}]', b'[{"content":{}}]'])
def test_a_broken_item_is_named_by_its_place(raw) -> None:
    with pytest.raises(GroxyError) as caught:
        read_items(raw)
    assert (caught.value.param or "").startswith("input.0")


def test_items_are_read_in_their_order() -> None:
    items = read_items(b'[{"role":"user","content":"a"},{"type":"reasoning"}]')
    assert [item.kind for item in items] == ["message", "reasoning"]


def test_raw_items_are_not_touched() -> None:
    (raw,) = raw_items(b'[ {"b":1, "a":2} ]')
    assert bytes(raw) == b'{"b":1, "a":2}'


@pytest.mark.parametrize(
    ("item", "is_stripped"),
    [
        ({"type": "message", "role": "user", "content": "x"}, True),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, True),
        ({"type": "message", "role": "assistant", "content": []}, False),
        ({"type": "reasoning", "encrypted_content": "x"}, False),
        ({"type": "function_call", "call_id": "c"}, False),
    ],
)
def test_ids_of_what_callers_wrote_are_taken_off(item, is_stripped) -> None:
    raw = Raw(json.dumps(item | {"id": "x", "status": "completed"}).encode())
    got = json.loads(bytes(resent(raw)))
    assert ("id" in got) is not is_stripped
    assert ("status" in got) is not is_stripped


def test_what_cannot_be_read_is_sent_as_it_is() -> None:
    assert resent(Raw(b"7")) == Raw(b"7")


def test_only_our_own_summaries_are_ours() -> None:
    ours, theirs, none = read_items(
        b'[{"type":"compaction","encrypted_content":"groxy-x"},'
        b'{"type":"compaction","encrypted_content":"x"},{"type":"reasoning"}]'
    )
    assert is_own_summary(ours)
    assert not is_own_summary(theirs)
    assert not is_own_summary(none)


@pytest.mark.parametrize("url", [None, "", "https://x.ai/a.png", "data:image/png;base64,QUJD"])
def test_sound_addresses_pass(url) -> None:
    check_data(url, "here")


def test_bare_base64_passes_where_it_may_stand() -> None:
    check_data("QUJD", "here", may_be_bare=True)


@pytest.mark.parametrize(("raw", "value"), [(b"1", 1), (b"{", None), (None, None)])
def test_a_fields_value_is_read_if_it_can_be(raw, value) -> None:
    fields = {} if raw is None else {"a": Raw(raw)}
    assert kept_value(fields, "a") == value
