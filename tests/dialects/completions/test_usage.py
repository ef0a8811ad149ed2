"""Completions usage: read from every upstream's counting, written in OpenAI's or xAI's."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.usage import Usage
from groxy.dialects._base import BillField, Counting, UsageRules
from groxy.dialects._completion_usage import read_usage, written_usage

PLAIN = UsageRules()
APART = UsageRules(reasoning_apart=True)


def _raw(**fields: Any) -> bytes:
    return json.dumps({"prompt_tokens": 10, "completion_tokens": 4} | fields).encode()


def _thoughts(count: int) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": count}}


def test_plain_counts_are_read():
    details = {"cached_tokens": 3}
    expected = Usage(input_tokens=10, output_tokens=4, cached_tokens=3)
    assert read_usage(_raw(prompt_tokens_details=details), PLAIN) == expected


@pytest.mark.parametrize(
    ("fields", "rules", "output"),
    [
        ({"total_tokens": 17}, PLAIN, 7),
        ({"total_tokens": 14}, APART, 4),
        ({}, APART, 7),
        ({}, PLAIN, 4),
    ],
)
def test_the_total_tells_where_reasoning_stands_or_else_the_upstreams_rule(fields, rules, output):
    usage = read_usage(_raw(**fields, **_thoughts(3)), rules)
    assert usage == Usage(input_tokens=10, output_tokens=output, reasoning_tokens=3)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        _raw(prompt_tokens=-1),
        _raw(prompt_tokens=0, completion_tokens=0),
        _raw(prompt_tokens=10**12),
        _raw(completion_tokens="4"),
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_what_makes_no_sense_is_no_usage(raw):
    assert read_usage(raw, PLAIN) is None


@pytest.mark.parametrize(
    ("bill", "fields", "ticks"),
    [
        (BillField.TICKS, {"cost_in_usd_ticks": 5}, 5),
        (BillField.TICKS, {"cost_in_usd_ticks": -5}, None),
        (BillField.TICKS, {"cost_in_usd_ticks": 10**20}, None),
        (BillField.USD, {"cost": 0.02}, 200_000_000),
        (BillField.USD, {"cost": "NaN"}, None),
        (BillField.USD, {}, None),
        (BillField.NONE, {"cost": 1, "cost_in_usd_ticks": 1}, None),
    ],
)
def test_a_bill_is_read_where_the_upstream_states_it(bill, fields, ticks):
    usage = read_usage(_raw(**fields), UsageRules(bill=bill))
    assert usage is not None
    assert usage.cost_ticks == ticks


def test_usage_is_written_over_what_was_reported():
    reported = {"num_sources_used": 0, "prompt_tokens_details": {"text_tokens": 1}, "x": [1]}
    written = written_usage(Usage(input_tokens=1, output_tokens=2), json.dumps(reported).encode())
    assert written == {
        "num_sources_used": 0,
        "x": [1],
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"text_tokens": 1, "cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


@pytest.mark.parametrize(("counting", "output"), [(Counting.OPENAI, 9), (Counting.XAI, 6)])
def test_usage_is_written_in_either_counting(counting, output):
    usage = Usage(input_tokens=1, output_tokens=9, reasoning_tokens=3)
    written = written_usage(usage, counting=counting)
    assert (written["completion_tokens"], written["total_tokens"]) == (output, 10)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(0, 1), st.sampled_from(Counting))
def test_any_usage_written_reads_as_what_it_was(prompt, completion, share, counting):
    usage = Usage(
        input_tokens=prompt,
        cached_tokens=int(prompt * share),
        output_tokens=completion,
        reasoning_tokens=int(completion * share),
    )
    assert read_usage(json.dumps(written_usage(usage, counting=counting)).encode(), PLAIN) == usage
