"""Which tools are whose."""

import pytest

from groxy.dialects.messages.shapes import OfferedTool


@pytest.mark.parametrize(
    ("kind", "is_custom", "is_web_search"),
    [
        (None, True, False),
        ("custom", True, False),
        ("web_search_20250305", False, True),
        ("web_search_20260209", False, True),
        ("bash_20250124", False, False),
        ("web_fetch_20250910", False, False),
    ],
)
def test_a_tool_is_the_callers_or_the_upstreams(kind, is_custom, is_web_search):
    tool = OfferedTool(type=kind, name="x")
    assert (tool.is_custom, tool.is_web_search) == (is_custom, is_web_search)
