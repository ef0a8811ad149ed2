"""Who asks the sandbox, and what becomes of it before anything is answered."""

import pytest

from groxy.core.errors import ErrorKind
from groxy.upstreams.sandbox import asks
from groxy.upstreams.sandbox.asks import (
    IN_PROCESS,
    Ask,
    address_of,
    key_of,
    limits_of,
    message_key,
    refusal,
)
from groxy.upstreams.sandbox.faults import take_script
from groxy.upstreams.sandbox.keys import Turn, read_key_script
from tests.upstreams.sandbox.asking import request


def called(text="Hello", **fields):
    """Return the key of a message, taken from a request as the sandbox takes it."""
    script, asked = take_script(request(text, **fields))
    return message_key(asked, script)


def limited(dialect="chat", words="", **turn):
    """Return the headers of limits that a request gets."""
    script, _ = take_script(request(f"[[sandbox: {words}]] Hello" if words else "Hello"))
    ask = Ask(dialect=dialect, headers={}, body=b"", turn=Turn(**turn), script=script)
    return limits_of(ask)


# --------------------------------------------------------------------------------- whose it is


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer xai-1"}, "xai-1"),
        ({"authorization": "bearer  xai-1 "}, "xai-1"),
        ({"x-api-key": "sk-ant-1"}, "sk-ant-1"),
        ({"authorization": "Bearer xai-1", "x-api-key": "sk-ant-1"}, "xai-1"),
        ({"authorization": "Basic eHh4", "x-api-key": "sk-ant-1"}, "sk-ant-1"),
        ({"authorization": "Basic eHh4"}, ""),
        ({"authorization": "Bearer"}, ""),
        ({}, ""),
    ],
)
def test_a_key_is_read_where_clients_of_each_dialect_write_it(headers, key):
    assert key_of(headers) == key


def test_links_lead_to_where_the_request_came():
    assert address_of({"host": "sandbox.test:8001"}) == "http://sandbox.test:8001/v1"


def test_in_process_no_host_is_made_up():
    assert address_of({}) == address_of({"host": ""}) == IN_PROCESS


# ------------------------------------------------------------------------ which message it is


def test_the_same_message_is_known_again():
    assert called("Hello") == called("Hello")


@pytest.mark.parametrize(
    "other",
    ["Hello!", "[[sandbox: status=500 times=1]] Hello", "[[sandbox: status=500 times=2]] Hello"],
)
def test_another_text_or_script_is_another_message(other):
    assert called(other) != called("Hello")


def test_scripts_that_differ_are_told_apart_though_the_text_is_the_same():
    once, twice = (called(f"[[sandbox: status=500 times={times}]] Hello") for times in (1, 2))

    assert once != twice


def test_only_the_last_message_of_the_user_counts():
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    after = [{"role": "assistant", "content": "Hm"}]
    last = [{"role": "user", "content": "Hello"}]

    assert called(messages=before + last) == called(messages=last + after) == called("Hello")
    assert called(messages=last + before) != called("Hello")


def test_a_request_without_a_user_has_a_message_too():
    alone = [{"role": "system", "content": "Be brief."}]

    assert called(messages=alone) == called(messages=alone) != called("Be brief.")


# ---------------------------------------------------------------------------------- refusals


def test_a_key_that_nothing_is_held_against_is_not_refused():
    assert refusal(Turn()) is None
    assert refusal(Turn(limits=(5, 0, 9.0))) is None, "the last of a quota is within it"


@pytest.mark.parametrize("script", ["blocked", "blocked=team", "blocked=disabled"])
def test_a_blocked_key_is_forbidden(script):
    error = refusal(Turn(script=read_key_script(script)))

    assert error is not None
    assert error.kind is ErrorKind.FORBIDDEN


def test_a_key_beyond_its_quota_is_told_when_it_is_full_again():
    error = refusal(Turn(limits=(5, 0, 7.5), is_over=True))

    assert error is not None
    assert (error.kind, error.retry_after_s) == (ErrorKind.RATE_LIMITED, 7.5)


def test_a_blocked_key_is_not_told_to_come_again():
    script = read_key_script("blocked quota=5:9")
    error = refusal(Turn(script=script, limits=(5, 0, 7.5), is_over=True))

    assert error is not None
    assert (error.kind, error.retry_after_s) == (ErrorKind.FORBIDDEN, None)


# ------------------------------------------------------------------------------------- limits


def test_without_limits_there_are_no_headers_of_them():
    assert limited() == {}


def test_the_limits_are_those_of_the_keys_quota():
    assert limited(limits=(5, 4, 1.5)) == {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "1.5s",
    }


def test_what_a_message_names_stands_in_place_of_the_keys_quota():
    headers = limited(words="limits=50:40:2", limits=(5, 4, 1.5))

    assert headers["x-ratelimit-limit-requests"] == "50"
    assert headers["x-ratelimit-remaining-requests"] == "40"


def test_limits_of_tokens_go_beside_the_keys_quota():
    headers = limited(words="token_limits=1000:900:60", limits=(5, 4, 1.5))

    assert headers["x-ratelimit-limit-requests"] == "5"
    assert headers["x-ratelimit-remaining-tokens"] == "900"


def test_limits_of_tokens_alone_are_told_too():
    assert set(limited(words="token_limits=1000:900:60")) == {
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    }


def test_limits_are_written_as_servers_of_the_dialect_write_them(monkeypatch):
    monkeypatch.setattr(asks, "unix_now", lambda: 1_785_585_600.0)

    headers = limited("messages", limits=(5, 4, 1.5))

    assert headers["anthropic-ratelimit-requests-remaining"] == "4"
    assert headers["anthropic-ratelimit-requests-reset"] == "2026-08-01T12:00:01.500Z"


def test_a_message_may_ask_for_the_headers_of_other_servers():
    headers = limited("messages", "shape=openrouter", limits=(5, 4, 1.5))

    assert headers["x-ratelimit-limit"] == "5"
    assert not any(name.startswith("anthropic") for name in headers)
