"""Usage in Anthropic's counting: what was cached stands beside the input."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.usage import Usage
from groxy.dialects._base import BillField, UsageRules
from groxy.dialects.messages.usage import is_written_alike, merged, read_usage, written_usage
from tests.dialects.messages.streams import RULES, TICKS

COUNTS = st.integers(0, 10**6)


def _raw(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _read(rules: UsageRules = RULES, **fields: Any) -> Usage | None:
    return read_usage(_raw(**fields), rules)


def test_input_is_what_was_fresh_read_and_written():
    usage = _read(
        input_tokens=10, cache_read_input_tokens=20, cache_creation_input_tokens=5, output_tokens=3
    )
    assert usage == Usage(input_tokens=35, cached_tokens=20, output_tokens=3)


def test_thoughts_are_inside_the_output():
    details = {"thinking_tokens": 4}
    usage = _read(input_tokens=1, output_tokens=9, output_tokens_details=details)
    assert usage == Usage(input_tokens=1, output_tokens=9, reasoning_tokens=4)


def test_more_thoughts_than_output_stand_beside_it():
    details = {"thinking_tokens": 94}
    usage = _read(input_tokens=1, output_tokens=9, output_tokens_details=details)
    assert usage == Usage(input_tokens=1, output_tokens=103, reasoning_tokens=94)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"input_tokens":0,"output_tokens":0}',
        b'{"input_tokens":-4,"output_tokens":9}',
        b'{"input_tokens":5,"output_tokens":-9}',
        b'{"input_tokens":"5"}',
        b'{"input_tokens":5,"cache_read_input_tokens":-5}',
        b'{"input_tokens":9999999999}',
        b'{"input_tokens":1.5}',
        b'{"input_tokens":1',
        b'{"input_tokens":1,"output_tokens_details":7}',
        b"[" * 100_000,
    ],
)
def test_nonsense_is_no_usage(raw):
    assert read_usage(raw, RULES) is None


def test_the_upstreams_bill_is_read_where_its_rules_say_so():
    fields = {"input_tokens": 1, "output_tokens": 1, "cost_in_usd_ticks": 500, "cost": 0.5}
    bills = [
        getattr(_read(rules, **fields), "cost_ticks", None)
        for rules in (RULES, TICKS, UsageRules(bill=BillField.USD))
    ]
    assert bills == [None, 500, 5_000_000_000]


@given(fresh=COUNTS, read=COUNTS, output=COUNTS, reasoning=COUNTS)
def test_what_is_written_is_read_alike(fresh, read, output, reasoning):
    usage = Usage(
        input_tokens=fresh + read,
        cached_tokens=read,
        output_tokens=output + reasoning,
        reasoning_tokens=reasoning,
    )
    written = json.dumps(written_usage(usage)).encode()
    assert read_usage(written, RULES) == (None if usage.is_empty else usage)
    assert is_written_alike(usage, written)


def test_further_fields_of_the_upstream_stay():
    reported = _raw(
        input_tokens=1, output_tokens=1, service_tier="standard", cache_creation_input_tokens=7
    )
    written = written_usage(Usage(input_tokens=30, cached_tokens=3, output_tokens=5), reported)
    assert written == {
        "input_tokens": 20,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 3,
        "output_tokens": 5,
        "service_tier": "standard",
    }


@pytest.mark.parametrize("created", [-1, 10**9, "many", None, 1.5])
def test_cache_writes_that_cannot_be_are_none(created):
    reported = _raw(cache_creation_input_tokens=created)
    written = written_usage(Usage(input_tokens=30, output_tokens=5), reported)
    assert (written["input_tokens"], written["cache_creation_input_tokens"]) == (30, 0)


@pytest.mark.parametrize("reported", [b"", b"null", b"[1]", b"nonsense"])
def test_usage_is_written_over_anything(reported):
    assert written_usage(Usage(input_tokens=3, output_tokens=5), reported) == {
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 5,
    }


def test_an_estimate_is_never_what_was_reported():
    usage = Usage(input_tokens=1, output_tokens=1, estimated=True)
    assert not is_written_alike(usage, _raw(input_tokens=1, output_tokens=1))


@pytest.mark.parametrize("reported", [b"", b"no", b'{"input_tokens":2,"output_tokens":1}'])
def test_another_count_is_not_alike(reported):
    assert not is_written_alike(Usage(input_tokens=1, output_tokens=1), reported)


def test_later_counts_replace_earlier_ones_and_absent_ones_do_not():
    start = merged({}, _raw(input_tokens=9, output_tokens=1, cache_read_input_tokens=2))
    end = merged(start, _raw(output_tokens=5, cache_read_input_tokens=None))
    assert {name: bytes(raw) for name, raw in end.items()} == {
        "input_tokens": b"9",
        "output_tokens": b"5",
        "cache_read_input_tokens": b"2",
    }


def _merged(start: Any, end: Any) -> dict[str, Any]:
    fields = merged(merged({}, _raw(**start)), _raw(**end))
    return {name: json.loads(bytes(raw)) for name, raw in fields.items()}


@pytest.mark.parametrize("end", [{}, {"cache_read_input_tokens": 0}])
def test_an_input_of_nothing_at_all_does_not_replace_a_count(end):
    start = {"input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 1}
    assert _merged(start, end | {"input_tokens": 0, "output_tokens": 5}) == {
        "input_tokens": 9,
        "cache_read_input_tokens": 2,
        "output_tokens": 5,
    }


def test_input_that_was_read_from_a_cache_after_all_is_not_counted_twice():
    end = {"input_tokens": 0, "cache_read_input_tokens": 9}
    assert _merged({"input_tokens": 9, "cache_read_input_tokens": 0}, end) == end


def test_a_smaller_count_replaces_what_was_an_estimate():
    assert _merged({"input_tokens": 9}, {"input_tokens": 4}) == {"input_tokens": 4}


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{"])
def test_nothing_is_laid_over_by_nonsense(raw):
    start = merged({}, _raw(input_tokens=9))
    assert merged(start, raw) == start
