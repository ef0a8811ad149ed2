"""What bounds the cost of a Messages reply."""

from typing import Any

import pytest

from groxy.dialects.messages import DIALECT
from tests.dialects.messages.streams import asked, body_of, decoded

OWN = {"name": "look", "input_schema": {}}


def bounded(most: int, **fields: Any) -> dict[str, Any]:
    """What an upstream gets of a request with a lower bound."""
    lower = DIALECT.bounded(asked(**fields), most)
    return decoded(DIALECT.outgoing(lower, model="m", effort=None, stream=False))


@pytest.mark.parametrize(
    ("tools", "count"),
    [
        ([OWN, OWN | {"type": "custom"}], 0),
        ([OWN, {"type": "web_search_20250305", "name": "web_search"}], 1),
        ([{"type": "code_execution_20250825", "name": "code_execution"}], 1),
        ([{"type": "bash_20250124", "name": "bash"}], 0),
        ([{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}], 0),
    ],
)
def test_tools_of_the_upstreams_own_are_counted(tools, count) -> None:
    assert DIALECT.bound_of(asked(tools=tools)).server_tools == count


def test_servers_with_tools_are_counted() -> None:
    server = {"type": "url", "url": "https://x", "name": "x"}
    assert DIALECT.bound_of(asked(mcp_servers=[server, server])).server_tools == 2


def test_a_request_that_asks_only_to_be_counted_has_no_bound_and_no_max_cost() -> None:
    body = body_of(max_cost=1).replace(b'"max_tokens": 100, ', b"")
    request = DIALECT.decode_count_request(body)
    assert DIALECT.bound_of(request).max_tokens is None
    assert "max_cost" not in request.fields


@pytest.mark.parametrize(
    ("most", "budget"), [(9000, 8000), (8001, 8000), (8000, 4000), (3000, 1500), (1500, 1024)]
)
def test_thoughts_fit_into_the_lower_bound(most, budget) -> None:
    thinking = {"type": "enabled", "budget_tokens": 8000, "display": "full"}
    fields = bounded(most, max_tokens=20_000, thinking=thinking)
    assert fields["max_tokens"] == most
    assert fields["thinking"] == thinking | {"budget_tokens": budget}


def test_there_are_no_thoughts_where_none_would_fit() -> None:
    thinking = {"type": "enabled", "budget_tokens": 8000}
    fields = bounded(1024, max_tokens=20_000, thinking=thinking)
    assert fields["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "disabled"}, None])
def test_thoughts_without_a_budget_stay_as_they_are(thinking) -> None:
    assert bounded(10, max_tokens=20_000, thinking=thinking)["thinking"] == thinking
