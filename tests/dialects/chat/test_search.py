"""xAI's live search as the tools that took its place."""

import json
from typing import Any

import msgspec
import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat.search import is_on, search_tools
from groxy.dialects.chat.shapes import SearchParameters


def _search(**fields: Any) -> SearchParameters:
    return msgspec.convert(fields, SearchParameters)


def _tools(**fields: Any) -> dict[str, Any]:
    tools, _ = search_tools(_search(**fields))
    return {tool.kind: json.loads(tool.settings) for tool in tools}


def _refused(**fields: Any) -> GroxyError:
    with pytest.raises(GroxyError) as caught:
        search_tools(_search(**fields))
    return caught.value


@pytest.mark.parametrize(
    ("search", "expected"),
    [(None, False), (_search(mode="off"), False), (_search(mode="on"), True), (_search(), True)],
)
def test_a_search_is_on_unless_it_is_off(search, expected):
    assert is_on(search) is expected


@pytest.mark.parametrize("fields", [{}, {"sources": []}, {"sources": None}])
def test_without_sources_the_web_and_x_are_searched(fields):
    assert _tools(**fields) == {"web_search": {}, "x_search": {}}


@pytest.mark.parametrize("kind", ["web", "news"])
def test_news_are_searched_on_the_web(kind):
    source = {"type": kind, "excluded_websites": ["a.com"]}
    assert _tools(sources=[source]) == {"web_search": {"excluded_domains": ["a.com"]}}


def test_sources_of_one_kind_are_one_tool():
    sources = [
        {"type": "web", "excluded_websites": ["a.com", "b.com"]},
        {"type": "news", "excluded_websites": ["b.com", "c.com"]},
    ]
    assert _tools(sources=sources)["web_search"] == {
        "excluded_domains": ["a.com", "b.com", "c.com"]
    }


def test_of_allowed_and_excluded_places_the_allowed_count():
    source = {"type": "web", "allowed_websites": ["a.com"], "excluded_websites": ["b.com"]}
    assert _tools(sources=[source]) == {"web_search": {"allowed_domains": ["a.com"]}}


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        ({"included_x_handles": ["a"]}, {"allowed_x_handles": ["a"]}),
        ({"x_handles": ["a"]}, {"allowed_x_handles": ["a"]}),
        ({"excluded_x_handles": ["b"]}, {"excluded_x_handles": ["b"]}),
        ({"included_x_handles": ["a"], "excluded_x_handles": ["b"]}, {"allowed_x_handles": ["a"]}),
    ],
)
def test_handles_on_x_are_kept(source, settings):
    assert _tools(sources=[{"type": "x"} | source]) == {"x_search": settings}


def test_dates_are_for_x():
    tools = _tools(sources=[{"type": "x"}], from_date="2026-01-01", to_date="2026-02-01")
    assert tools == {"x_search": {"from_date": "2026-01-01", "to_date": "2026-02-01"}}


def test_what_the_tools_cannot_be_told_is_named():
    _, lost = search_tools(_search(from_date="2026-01-01", max_search_results=5))
    assert lost == ["search_parameters.from_date", "search_parameters.max_search_results"]


def test_feeds_are_refused_by_their_place():
    error = _refused(sources=[{"type": "web"}, {"type": "rss"}])
    expected = (ErrorKind.UNSUPPORTED, "search_parameters.sources.1.type")
    assert (error.kind, error.param) == expected


def test_a_source_of_no_kind_is_a_bad_request_that_does_not_repeat_it():
    error = _refused(sources=[{"type": "my secret"}])
    assert error.kind is ErrorKind.BAD_REQUEST
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("source", "most"),
    [
        ({"type": "web", "allowed_websites": [str(at) for at in range(6)]}, "5"),
        ({"type": "news", "excluded_websites": [str(at) for at in range(6)]}, "5"),
        ({"type": "x", "x_handles": [str(at) for at in range(11)]}, "10"),
    ],
)
def test_lists_too_long_for_xai_are_refused(source, most):
    error = _refused(sources=[source])
    assert error.kind is ErrorKind.BAD_REQUEST
    assert most in error.message
