"""What bounds the cost of a Responses reply."""

import pytest

from groxy.dialects.responses import DIALECT
from tests.dialects.responses.streams import CUSTOM, FUNCTION, asked


@pytest.mark.parametrize(
    ("tools", "count"),
    [
        ([], 0),
        ([FUNCTION, CUSTOM], 0),
        ([FUNCTION, {"type": "web_search"}, {"type": "x_search"}], 2),
        ([{"type": "local_shell"}, {"type": "apply_patch"}], 0),
        ([{"type": "mcp", "server_label": "x"}, {"type": "new"}], 2),
        ([{"type": "namespace", "name": "x", "tools": [FUNCTION]}], 0),
    ],
)
def test_tools_of_the_upstreams_own_are_counted(tools, count) -> None:
    assert DIALECT.bound_of(asked(tools=tools)).server_tools == count


def test_tools_that_stand_in_the_input_are_counted_too() -> None:
    said = [
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]},
        {"role": "user", "content": "Hi"},
    ]
    assert DIALECT.bound_of(asked(said)).server_tools == 1


def test_a_bound_is_told_in_the_reply_too() -> None:
    lower = DIALECT.bounded(asked(max_output_tokens=1000), 50)
    fields = DIALECT.outgoing(lower, model="m", effort=None, stream=False)
    assert bytes(fields["max_output_tokens"]) == b"50"
