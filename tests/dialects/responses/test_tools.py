"""Tools: flat names upstream, and the caller's own names on the way back."""

import json
from typing import Any

import pytest
from msgspec import Raw

from groxy.core.request import ServerTool, Tool
from groxy.dialects.responses.tools import (
    CUSTOM_PARAMETERS,
    NO_PARAMETERS,
    call_item,
    kind_of,
    offering_of,
    unwrapped_input,
    wrapped_input,
)
from tests.dialects.responses.streams import CUSTOM, FUNCTION


def offering(*tools: Any, said: Any = "Hi") -> Any:
    return offering_of(
        {"input": Raw(json.dumps(said).encode()), "tools": Raw(json.dumps(tools).encode())}
    )


def space(name: str, *tools: Any) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "description": "", "tools": list(tools)}


def test_a_function_is_offered_as_it_is() -> None:
    (offered,) = offering(FUNCTION).functions.values()
    assert not offered.is_changed
    assert offered.tool == Tool(
        name="get_weather",
        description="Tells the weather.",
        parameters=json.dumps(FUNCTION["parameters"]).encode(),
        strict=True,
    )


def test_a_custom_tool_takes_one_text() -> None:
    offered = offering(CUSTOM).functions["apply_patch"]
    assert offered.is_custom
    assert offered.tool.parameters == CUSTOM_PARAMETERS


@pytest.mark.parametrize("parameters", [{}, None])
def test_a_function_that_takes_nothing_has_an_empty_schema(parameters) -> None:
    tool = {"type": "function", "name": "f", "parameters": parameters}
    assert offering(tool).functions["f"].parameters == NO_PARAMETERS


def test_same_names_in_two_namespaces_stay_apart() -> None:
    got = offering(space("a", FUNCTION), space("b", FUNCTION))
    assert list(got.functions) == ["get_weather", "b__get_weather"]
    assert got.sent_name("get_weather", "b") == "b__get_weather"
    assert got.sent_name("get_weather", "a") == "get_weather"
    assert got.sent_name("unknown", None) == "unknown"


def test_hosted_tools_keep_their_settings() -> None:
    got = offering({"type": "x_search", "from_date": "2026-01-01"})
    assert got.server_tools == (
        ServerTool(kind="x_search", settings=b'{"from_date":"2026-01-01"}'),
    )


def test_tools_inside_the_input_are_offered_too() -> None:
    item = {"type": "additional_tools", "tools": [CUSTOM]}
    assert list(offering(FUNCTION, said=[item]).functions) == ["get_weather", "apply_patch"]


@pytest.mark.parametrize("raw", [b"7", b'"x"', b"[7]", b"[[]]", b'[{"type":7}]', b"{"])
def test_tools_that_cannot_be_read_are_none(raw) -> None:
    got = offering_of({"tools": Raw(raw), "input": Raw(raw)})
    assert (got.functions, got.hosted) == ({}, [])


@pytest.mark.parametrize("name", [None, 7, "unknown", "get_weather"])
def test_only_tools_of_another_form_are_changed(name) -> None:
    assert offering(FUNCTION, CUSTOM).changed(name) is None


def test_wrapping_and_unwrapping_an_input_loses_nothing() -> None:
    text = 'a "quoted"\nline – ✓'
    assert unwrapped_input(wrapped_input(text)) == text


@pytest.mark.parametrize("odd", ["", "{", "7", '{"input":7}', '{"other":"x"}', "\ud800"])
def test_arguments_that_hold_no_input_stay_as_they_are(odd) -> None:
    assert unwrapped_input(odd) == odd


def test_a_call_in_a_namespace_says_so() -> None:
    got = offering(space("a", FUNCTION))
    item = call_item(
        got.changed("get_weather"),
        item_id="fc_1",
        call_id="c",
        name="get_weather",
        arguments="{}",
        status="completed",
    )
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "a", "get_weather")


@pytest.mark.parametrize(("raw", "kind"), [(b'"x"', "x"), (b"7", ""), (b"{", "")])
def test_a_type_is_read_if_it_can_be(raw, kind) -> None:
    assert kind_of({"type": Raw(raw)}) == kind
    assert kind_of({}) == ""
