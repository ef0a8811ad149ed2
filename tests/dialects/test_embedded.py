"""An error in place of a reply is told from a reply that is nonsense."""

import pytest
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import EmbeddedError
from groxy.dialects._embedded import failure_in, is_there


@pytest.mark.parametrize("raw", [b"", b"null", b"{}", b"[]", b'""', b"false", b"0"])
def test_a_field_that_says_nothing_is_not_there(raw) -> None:
    assert not is_there(Raw(raw))


@pytest.mark.parametrize("raw", [b'"x"', b"{}".replace(b"}", b'"a":1}'), b"true", b"1", b"[0]"])
def test_a_field_that_says_something_is_there(raw) -> None:
    assert is_there(Raw(raw))


def test_a_body_with_an_error_is_that_error() -> None:
    failure = failure_in(b'{"error":{"message":"m"},"choices":7}', ValueError("x"))
    assert isinstance(failure, EmbeddedError)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":null}', b"\xff"])
def test_another_body_is_nonsense_and_only_the_log_hears_why(body) -> None:
    failure = failure_in(body, ValueError("why"))
    assert isinstance(failure, GroxyError)
    assert failure.kind is ErrorKind.BAD_REPLY
    assert "why" in failure.detail
    assert "why" not in failure.message
