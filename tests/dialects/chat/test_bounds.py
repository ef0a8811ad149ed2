"""What bounds the cost of a chat reply."""

import json
from typing import Any

import pytest

from groxy.dialects._base import Asked, OutputBound
from groxy.dialects.chat import DIALECT

FUNCTION = {"type": "function", "function": {"name": "look"}}


def asked(**fields: Any) -> Asked:
    body = {"model": "grok-4.7", "messages": [{"role": "user", "content": "Hi"}]} | fields
    return DIALECT.decode_request(json.dumps(body).encode())


def tokens(request: Asked) -> dict[str, Any]:
    """The bounds that an upstream gets."""
    fields = DIALECT.outgoing(request, model="m", effort=None, stream=True)
    return {name: json.loads(bytes(raw)) for name, raw in fields.items() if "tokens" in name}


def test_choices_are_those_that_are_made() -> None:
    assert DIALECT.bound_of(asked(n=3)).choices == 3
    assert DIALECT.bound_of(asked(n=3, best_of=5)).choices == 5


def test_of_two_bounds_the_higher_counts_for_an_upstream_may_go_by_either() -> None:
    for low, high in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens",) * 2):
        request = asked(**{low: 10} | {high: 1000})
        assert DIALECT.bound_of(request).max_tokens == 1000
    request = asked(max_tokens=1000, max_completion_tokens=10)
    assert DIALECT.bound_of(request).max_tokens == 1000


def test_both_bounds_are_lowered() -> None:
    request = asked(max_tokens=1000, max_completion_tokens=10)
    lower = DIALECT.bounded(request, 100)
    assert tokens(lower) == {"max_tokens": 100, "max_completion_tokens": 10}
    assert DIALECT.bound_of(lower).max_tokens == 100


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({}, {"max_completion_tokens": 100}),
        ({"max_tokens": 1000}, {"max_tokens": 100}),
        ({"max_completion_tokens": 1000}, {"max_completion_tokens": 100}),
        ({"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 100}),
        ({"max_tokens": 50}, {"max_tokens": 50}),
    ],
)
def test_the_field_is_the_one_that_the_caller_used(fields, written) -> None:
    lower = DIALECT.bounded(asked(**fields), 100)
    assert tokens(lower) == written
    assert DIALECT.canonical(lower).options.max_output_tokens == min(written.values(), key=str)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 0),
        ({"tools": None}, 0),
        ({"tools": [FUNCTION, FUNCTION]}, 0),
        ({"tools": [FUNCTION, {"type": "web_search"}, {"type": "x_search"}]}, 2),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, 0),
        ({"tools": [{"type": "live_search", "sources": []}]}, 1),
        ({"search_parameters": {"mode": "auto"}}, 2),
        ({"search_parameters": {"mode": "off"}}, 0),
        ({"search_parameters": None}, 0),
        ({"plugins": [{"id": "web"}]}, 1),
        ({"web_search_options": {}}, 1),
        ({"web_search_options": None}, 0),
    ],
)
def test_tools_of_the_upstreams_own_are_counted(fields, count) -> None:
    assert DIALECT.bound_of(asked(**fields)) == OutputBound(server_tools=count)
