"""The shape of completions: what counts as there, as text and as a time."""

import pytest
from msgspec import Raw

from groxy.dialects._embedded import is_there
from groxy.dialects.completions.shapes import seconds_of, text_of


@pytest.mark.parametrize("raw", [b"", b"null", b"{}", b"[]", b'""', b"false", b"0"])
def test_an_empty_field_is_not_there(raw):
    assert not is_there(Raw(raw))


@pytest.mark.parametrize("raw", [b'"x"', b"1", b"true", b'{"a":1}'])
def test_a_field_that_says_something_is_there(raw):
    assert is_there(Raw(raw))


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("a", "a"), (7, "7"), (1.5, "1.5"), (True, "true")]
)
def test_text_is_text_whatever_it_came_as(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(("raw", "seconds"), [(b"7", 7), (b"", 0), (b'"x"', 0), (b"1e999", 0)])
def test_a_time_that_is_none_is_zero(raw, seconds):
    assert seconds_of(Raw(raw)) == seconds
