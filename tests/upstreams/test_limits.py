"""Rate limits in the headers of a reply: three styles, every way to tell a time, and nonsense."""

import pytest
from hypothesis import given, strategies as st

from groxy.upstreams._limits import (
    ANTHROPIC_RATES,
    OPENAI_RATES,
    PLAIN_RATES,
    RateFacts,
    RateWindow,
    read_rate_headers,
)

NOW = 1_790_000_000.0
ALL = (OPENAI_RATES, PLAIN_RATES, ANTHROPIC_RATES)


def read(headers, styles=ALL):
    return read_rate_headers(headers, styles, clock=lambda: NOW)


def requests(limit="100", remaining="7", reset=None):
    headers = {"x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": remaining}
    return headers | ({} if reset is None else {"x-ratelimit-reset-requests": reset})


def test_openai_tells_of_requests_and_tokens():
    headers = {
        **requests("60", "59", "1s"),
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read(headers) == RateFacts(
        requests=RateWindow(limit=60, remaining=59, reset_s=1.0),
        tokens=RateWindow(limit=150000, remaining=149984, reset_s=360.0),
    )


def test_tokens_alone_are_enough():
    headers = {"x-ratelimit-limit-tokens": "9", "x-ratelimit-remaining-tokens": "0"}
    assert read(headers) == RateFacts(tokens=RateWindow(limit=9, remaining=0))


def test_openrouter_tells_unix_milliseconds():
    headers = {
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int((NOW + 42) * 1000)),
    }
    assert read(headers) == RateFacts(requests=RateWindow(limit=20, remaining=0, reset_s=42.0))


def test_anthropic_tells_times():
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-09-21T14:14:20Z",
        "anthropic-ratelimit-tokens-limit": "40000",
        "anthropic-ratelimit-tokens-remaining": "39000",
        "anthropic-ratelimit-tokens-reset": "2026-09-21T16:13:25+02:00",
    }
    assert read(headers) == RateFacts(
        requests=RateWindow(limit=50, remaining=49, reset_s=60.0),
        tokens=RateWindow(limit=40000, remaining=39000, reset_s=5.0),
    )


def test_a_style_that_the_upstream_does_not_have_is_not_looked_for():
    assert read({"x-ratelimit-limit": "9", "x-ratelimit-remaining": "1"}, (OPENAI_RATES,)) is None


def test_a_reply_without_such_headers_tells_nothing():
    assert read({}) is None
    assert read({"content-type": "application/json", "retry-after": "3"}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("1d", 86_400.0),
        ("2m59.5s", 179.5),
        ("500µs", 0.0005),
        ("0s", 0.0),
        ("12", 12.0),
        ("0.25", 0.25),
        (" 7 ", 7.0),
        (str(int(NOW) + 30), 30.0),
        (str(int(NOW) - 30), 0.0),
        (str((int(NOW) + 30) * 1000), 30.0),
        ("2026-09-21T14:13:30", 10.0),
    ],
)
def test_a_reset_is_read_however_it_is_told(text, seconds):
    facts = read(requests(reset=text))
    assert facts is not None
    assert facts.requests is not None
    assert facts.requests.reset_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-1", "-5s", "NaN", "Infinity", "1e30", "9" * 40, "99999d", "1s" * 40, "1x",
     "9999-12-31T23:59:59Z", "٣s", "Wed, 21 Oct 2026 07:28:00 GMT"],
)  # fmt: skip
def test_a_reset_that_makes_no_sense_is_passed_over_but_not_the_limit(text):
    assert read(requests(reset=text)) == RateFacts(requests=RateWindow(limit=100, remaining=7))


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("", "1"), ("-1", "-1"), ("NaN", "1"), ("1e30", "1"), ("9" * 31, "1"), ("1.5", "1"),
     ("0", "0"), ("100", ""), ("100", "-7"), ("100", "nan"), ("ten", "1"), ("٣", "1")],
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_passed_over(limit, remaining):
    assert read(requests(limit, remaining)) is None


def test_a_limit_without_what_remains_tells_nothing():
    assert read({"x-ratelimit-limit-requests": "100"}) is None


def test_a_policy_behind_a_limit_is_passed_over():
    assert read(requests("100, 100;w=60", "7;x")) == RateFacts(
        requests=RateWindow(limit=100, remaining=7)
    )


def test_no_more_remains_than_the_limit():
    facts = read(requests("100", "101"))
    assert facts == RateFacts(requests=RateWindow(limit=100, remaining=100))


@given(
    limit=st.text(max_size=40),
    remaining=st.text(max_size=40),
    reset=st.text(max_size=80)
    | st.from_regex(r"\d{0,20}[.smhd+TZ:-]{0,3}\d{0,20}", fullmatch=True),
)
def test_no_header_is_so_strange_that_reading_fails(limit, remaining, reset):
    facts = read(requests(limit, remaining, reset))
    if facts is not None:
        assert facts.requests is not None
        assert 0 <= facts.requests.remaining <= facts.requests.limit < 10**15
        assert facts.requests.reset_s is None or 0 <= facts.requests.reset_s <= 366 * 86_400
