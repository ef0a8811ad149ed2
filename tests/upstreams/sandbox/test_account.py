"""What the sandbox tells of a key, read back by the upstreams that it plays."""

from decimal import Decimal

import pytest

from groxy.core.errors import ErrorKind
from groxy.upstreams._base import ANTHROPIC_RATES, OPENAI_RATES, PLAIN_RATES
from groxy.upstreams._limits import read_rate_headers
from groxy.upstreams.openrouter import UPSTREAM as OPENROUTER
from groxy.upstreams.sandbox.account import (
    encode_account,
    key_of_openrouter,
    key_of_xai,
    limit_headers,
    redacted,
)
from groxy.upstreams.sandbox.faults import Script
from groxy.upstreams.sandbox.keys import Turn, read_key_script
from groxy.upstreams.xai import UPSTREAM as XAI

NOW = 1_790_000_000.0


def xai(script=""):
    turn = Turn(script=read_key_script(script))
    return XAI.read_key(encode_account(key_of_xai("xai-0123456789abcdef", turn)))


def openrouter(script="", **told):
    turn = Turn(script=read_key_script(script))
    return OPENROUTER.read_key(encode_account(key_of_openrouter(turn, Script(**told))))


def test_a_key_may_do_everything():
    assert xai() == XAI.read_key(b'{"acls":["api-key:model:*"]}')
    assert xai().standing is None
    assert openrouter().windows == {}


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("blocked", "the key is blocked"),
        ("blocked=team", "the team is blocked"),
        ("blocked=disabled", "the key is disabled"),
    ],
)
def test_a_blocked_key_says_so(script, note):
    facts = xai(script)
    assert (facts.standing, facts.note) == (ErrorKind.UPSTREAM_AUTH, note)


def test_a_key_for_some_models_names_them():
    assert xai("models=grok-4.7+grok-4.3").models == {"grok-4.7", "grok-4.3"}


def test_credits_are_told_to_the_last_tick():
    window = openrouter("credits=0.0000000001:20.5:weekly").windows["credits"]
    assert (window.remaining, window.total, window.window_s) == (1, 205_000_000_000, 604_800)
    assert openrouter("credits=0.0000000001:20.5").standing is None


@pytest.mark.parametrize("script", ["", "credits=5:20"])
def test_without_credits_nothing_is_left(script):
    facts = openrouter(script, no_credits=403)
    assert facts.standing is ErrorKind.UPSTREAM_QUOTA
    assert facts.windows["credits"].remaining == 0
    assert facts.windows["credits"].total == 200_000_000_000


def test_dollars_are_numbers_on_the_wire():
    told = key_of_openrouter(Turn(script=read_key_script("credits=2.50:20")), Script())
    assert told["data"]["usage"] == Decimal("17.50")
    assert b'"limit_remaining":2.50,' in encode_account(told)


@pytest.mark.parametrize("key", ["", "short", "elevenchars"])
def test_a_short_key_is_not_shown_at_all(key):
    assert redacted(key) == "xai-...dbox"


def test_of_a_long_key_four_characters_are_shown():
    assert redacted("xai-0123456789abcdef") == "xai-...cdef"


@pytest.mark.parametrize(
    ("shape", "style"),
    [("xai", OPENAI_RATES), ("openai", OPENAI_RATES), ("html", OPENAI_RATES),
     ("anthropic", ANTHROPIC_RATES), ("openrouter", PLAIN_RATES)],
)  # fmt: skip
@pytest.mark.parametrize("reset_s", [0.0, 0.02, 0.5, 1.0, 59.999, 60.0, 90.5, 7200.0])
def test_limits_are_read_as_they_were_written(shape, style, reset_s):
    headers = limit_headers(shape, (100, 42, reset_s), (9000, 8000, reset_s), lambda: NOW)
    facts = read_rate_headers(headers, (style,), clock=lambda: NOW)
    assert facts is not None
    windows = [facts.requests] if style is PLAIN_RATES else [facts.requests, facts.tokens]
    told: list[object] = [
        (each.limit, each.remaining, each.reset_s) for each in windows if each is not None
    ]
    near = pytest.approx(reset_s, abs=0.001)
    assert told == [(100, 42, near), (9000, 8000, near)][: len(windows)]


@pytest.mark.parametrize(
    ("reset_s", "written"), [(0.02, "20ms"), (1, "1s"), (360, "6m0s"), (61.5, "1m1.5s")]
)
def test_durations_are_written_as_openai_does(reset_s, written):
    headers = limit_headers("xai", (1, 1, reset_s), None, lambda: NOW)
    assert headers["x-ratelimit-reset-requests"] == written


def test_limits_that_nobody_named_are_not_written():
    assert limit_headers("xai", None, None, lambda: NOW) == {}
    assert "x-ratelimit-limit-tokens" not in limit_headers("xai", (1, 1, 1), None, lambda: NOW)
