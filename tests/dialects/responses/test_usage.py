"""Token counts of Responses, as upstreams report them and as callers read them."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.usage import Usage
from groxy.dialects._base import BillField, Counting, UsageRules
from groxy.dialects.responses.usage import read_usage, written_usage
from tests.dialects.responses.streams import USAGE, XAI, XAI_USAGE


def read(fields: Any, rules: UsageRules | None = None) -> Usage | None:
    return read_usage(json.dumps(fields).encode(), rules or UsageRules())


def counts(taken: int, made: int, reasoning: int = 0, total: int | None = None) -> dict[str, Any]:
    return {
        "input_tokens": taken,
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": total,
    }


def test_xai_leaves_reasoning_out_and_the_total_tells() -> None:
    assert read(XAI_USAGE, UsageRules(bill=BillField.TICKS)) == Usage(
        input_tokens=32,
        cached_tokens=6,
        output_tokens=119,
        reasoning_tokens=110,
        cost_ticks=37756000,
    )


@pytest.mark.parametrize(
    ("fields", "rules", "made"),
    [
        (counts(10, 20, 5, 30), XAI, 20),
        (counts(10, 20, 5, 35), UsageRules(), 25),
        (counts(10, 20, 5), XAI, 25),
        (counts(10, 20, 5), UsageRules(), 20),
        (counts(10, 3, 5), UsageRules(), 8),
        (counts(10, 20, -5), XAI, 20),
    ],
)
def test_reasoning_is_counted_once(fields, rules, made) -> None:
    got = read(fields, rules)
    assert got is not None
    assert got.output_tokens == made


def test_the_words_of_chat_are_read_too() -> None:
    got = read(
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94},
        }
    )
    assert got == Usage(input_tokens=32, cached_tokens=6, output_tokens=103, reasoning_tokens=94)


def test_a_bill_in_dollars_is_read_where_the_upstream_bills_so() -> None:
    got = read(counts(1, 1) | {"cost": 0.5}, UsageRules(bill=BillField.USD))
    assert got is not None
    assert got.cost_ticks == 5_000_000_000


@pytest.mark.parametrize(
    "odd",
    [{}, None, 7, [], counts(0, 0), counts(-1, 5), counts(10**12, 1), {"input_tokens": "7"}],
)
def test_nonsense_is_no_usage(odd) -> None:
    assert read(odd) is None


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading(raw) -> None:
    read_usage(raw, XAI)


def test_callers_read_openais_counting_with_what_its_client_requires() -> None:
    assert written_usage(USAGE, Counting.OPENAI) == {
        "input_tokens": 32,
        "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 0},
        "output_tokens": 119,
        "output_tokens_details": {"reasoning_tokens": 110},
        "total_tokens": 151,
    }


def test_xais_counting_leaves_reasoning_out_and_keeps_the_total() -> None:
    got = written_usage(USAGE, Counting.XAI)
    assert (got["output_tokens"], got["total_tokens"]) == (9, 151)


def test_a_bill_is_told_in_ticks() -> None:
    got = written_usage(Usage(input_tokens=1, cost_ticks=7), Counting.OPENAI)
    assert got["cost_in_usd_ticks"] == 7


def test_what_an_upstream_adds_survives() -> None:
    reported = json.dumps(XAI_USAGE | {"prompt_tokens": 1}).encode()
    got = written_usage(USAGE, Counting.OPENAI, reported)
    assert got["num_sources_used"] == 0
    assert "prompt_tokens" not in got


@pytest.mark.parametrize("odd", [b"7", b"{", b'{"input_tokens_details":7}', b"[]"])
def test_what_was_reported_may_be_of_any_shape(odd) -> None:
    assert written_usage(USAGE, Counting.OPENAI, odd)["output_tokens"] == 119


def test_calls_of_the_upstreams_tools_are_counted() -> None:
    by_tool = {"web_search_calls": 2, "code_interpreter_calls": 1, "mcp_calls": 5}

    got = read(counts(10, 20) | {"server_side_tool_usage_details": by_tool})

    assert got is not None
    assert got.tool_calls == 3
