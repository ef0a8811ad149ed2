"""Names beside requests and replies are safe in headers and tell nothing."""

from msgspec import Raw

from groxy.dialects._base import Asked
from groxy.gateway.marks import binding_field, flagged_tools, own_conversation


def test_a_conversation_is_called_the_same_each_turn() -> None:
    assert own_conversation("key-1", "talk") == own_conversation("key-1", "talk")


def test_two_callers_never_share_a_conversation() -> None:
    assert own_conversation("key-1", "talk") != own_conversation("key-2", "talk")


def test_the_name_of_a_conversation_tells_nothing_of_it() -> None:
    assert "talk" not in own_conversation("key-1", "talk")


def test_no_conversation_has_no_name() -> None:
    assert own_conversation("key-1", "") == ""


def test_a_tool_that_was_offered_is_not_flagged() -> None:
    assert flagged_tools(["look"], frozenset({"look"})) == []


def test_a_strange_tool_is_flagged_once() -> None:
    assert flagged_tools(["take", "take"], frozenset({"look"})) == ["take"]


def test_a_name_cannot_break_out_of_its_header() -> None:
    (flagged,) = flagged_tools(["x\r\nset-cookie: a=b" + "y" * 100], frozenset())
    assert "\r" not in flagged
    assert "\n" not in flagged
    assert len(flagged) == 64


def test_few_names_are_told() -> None:
    assert len(flagged_tools([f"tool_{n}" for n in range(100)], frozenset())) == 8


def test_the_field_that_narrows_the_choice_is_named() -> None:
    fields = {"tools": Raw(b"[]"), "n": Raw(b"2")}
    assert binding_field(Asked(model="m", stream=None, fields=fields)) == "n"
    assert binding_field(Asked(model="m", stream=None, fields={"tools": Raw(b"[]")})) == "tools"
    assert binding_field(Asked(model="m", stream=None, fields={})) == ""


def test_functions_of_the_old_form_are_what_narrows_the_choice() -> None:
    fields = {"messages": Raw(b"[]"), "n": Raw(b"1"), "functions": Raw(b"[{}]")}
    assert binding_field(Asked(model="m", stream=None, fields=fields)) == "functions"


def test_a_field_that_is_null_narrows_nothing() -> None:
    fields = {"functions": Raw(b"null"), "n": Raw(b"2")}
    assert binding_field(Asked(model="m", stream=None, fields=fields)) == "n"
