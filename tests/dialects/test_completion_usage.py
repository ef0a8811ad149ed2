"""Chat usage: read from every upstream's counting, written in OpenAI's."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.usage import Usage
from groxy.dialects._base import BillField, Counting, UsageRules
from groxy.dialects._completion_usage import is_written_alike, read_usage, written_usage
from tests.dialects.chat.odd_replies import ODD_JSON
from tests.dialects.chat.streams import READ_XAI_USAGE, XAI_USAGE

PLAIN = UsageRules()
TICKS = UsageRules(bill=BillField.TICKS)
DOLLARS = UsageRules(bill=BillField.USD)
APART = UsageRules(reasoning_apart=True)


def _raw(*, prompt: Any = 10, completion: Any = 4, **fields: Any) -> bytes:
    return json.dumps({"prompt_tokens": prompt, "completion_tokens": completion} | fields).encode()


def _thoughts(count: Any) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": count}}


def _bill(raw: bytes, rules: UsageRules) -> int | None:
    usage = read_usage(raw, rules)
    assert usage is not None
    return usage.cost_ticks


# --------------------------------------------------------------------------------------- counting


def test_plain_counts_are_read():
    assert read_usage(_raw(), PLAIN) == Usage(input_tokens=10, output_tokens=4)


def test_xais_reasoning_beside_the_completion_is_counted_into_the_output():
    assert read_usage(json.dumps(XAI_USAGE).encode(), PLAIN) == READ_XAI_USAGE


def test_a_total_that_adds_up_with_reasoning_tells_that_it_stands_beside():
    usage = read_usage(_raw(completion=6, total_tokens=19, **_thoughts(3)), PLAIN)
    assert usage == Usage(input_tokens=10, output_tokens=9, reasoning_tokens=3)


def test_openais_reasoning_inside_the_completion_is_not_counted_twice():
    raw = _raw(completion=100, total_tokens=110, **_thoughts(94))
    assert read_usage(raw, APART) == Usage(input_tokens=10, output_tokens=100, reasoning_tokens=94)


@pytest.mark.parametrize(("rules", "output"), [(APART, 9), (PLAIN, 6)])
@pytest.mark.parametrize("total", [{}, {"total_tokens": None}, {"total_tokens": 0}])
def test_where_the_total_does_not_tell_the_upstreams_rule_decides(rules, output, total):
    usage = read_usage(_raw(completion=6, **total, **_thoughts(3)), rules)
    assert usage == Usage(input_tokens=10, output_tokens=output, reasoning_tokens=3)


def test_more_reasoning_than_completion_can_only_stand_beside_it():
    usage = read_usage(_raw(completion=3, **_thoughts(6)), PLAIN)
    assert usage == Usage(input_tokens=10, output_tokens=9, reasoning_tokens=6)


def test_reasoning_over_a_completion_that_the_total_confirms_is_cut():
    usage = read_usage(_raw(completion=3, total_tokens=13, **_thoughts(6)), PLAIN)
    assert usage == Usage(input_tokens=10, output_tokens=3, reasoning_tokens=3)


@pytest.mark.parametrize(("cached", "read"), [(4, 4), (10, 10), (11, 10), (-1, 0), (None, 0)])
def test_cached_tokens_are_a_part_of_the_prompt(cached, read):
    usage = read_usage(_raw(prompt_tokens_details={"cached_tokens": cached}), PLAIN)
    assert usage == Usage(input_tokens=10, output_tokens=4, cached_tokens=read)


@pytest.mark.parametrize(("image", "read"), [(4, 4), (11, 10), (-1, 0), (None, 0)])
def test_image_tokens_are_a_part_of_the_prompt(image, read):
    usage = read_usage(_raw(prompt_tokens_details={"image_tokens": image}), PLAIN)
    assert usage == Usage(input_tokens=10, output_tokens=4, image_tokens=read)


@pytest.mark.parametrize("reasoning", [-5, 0, None])
def test_reasoning_below_one_is_none(reasoning):
    usage = read_usage(_raw(**_thoughts(reasoning)), APART)
    assert usage == Usage(input_tokens=10, output_tokens=4)


def test_a_prompt_alone_is_usage():
    assert read_usage(b'{"prompt_tokens":10}', PLAIN) == Usage(input_tokens=10)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b"5",
        b'"a"',
        b"{",
        b'{"prompt_tokens":1e999}',
        b"[" * 100_000,
        _raw(prompt=0, completion=0),
        _raw(prompt=None, completion=None),
        _raw(prompt=-1),
        _raw(completion=-1),
        _raw(completion=-5, **_thoughts(10)),
        _raw(prompt=1_000_000_001),
        _raw(completion=10**30),
        _raw(**_thoughts(10**12)),
        _raw(prompt=True),
        _raw(prompt="10"),
        _raw(prompt=10.5),
        _raw(prompt=[10]),
        _raw(prompt_tokens_details=[]),
        _raw(completion_tokens_details="none"),
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_what_makes_no_sense_is_no_usage(raw):
    assert read_usage(raw, PLAIN) is None


# ------------------------------------------------------------------------------------------- bills


def test_xais_bill_is_in_ticks():
    assert _bill(_raw(cost_in_usd_ticks=37_756_000), TICKS) == 37_756_000


@pytest.mark.parametrize(
    ("cost", "ticks"),
    [
        (0.0037756, 37_756_000),
        ("0.02", 200_000_000),
        (0, 0),
        (1e-11, 1),
        (1e-7, 1000),
        (1_000_000, 10**16),
    ],
)
def test_openrouters_bill_is_in_dollars_and_rounded_up(cost, ticks):
    assert _bill(_raw(cost=cost), DOLLARS) == ticks


@pytest.mark.parametrize("rules", [PLAIN, TICKS])
def test_a_bill_in_another_upstreams_field_does_not_count(rules):
    assert _bill(_raw(cost=1), rules) is None


def test_a_bill_is_not_read_from_an_upstream_that_gives_none():
    assert _bill(_raw(cost=1, cost_in_usd_ticks=1), PLAIN) is None


@pytest.mark.parametrize(
    "cost",
    [
        b"null",
        b"true",
        b'""',
        b'"free"',
        b"[]",
        b"{}",
        b'"NaN"',
        b'"sNaN"',
        b'"Infinity"',
        b'"-Infinity"',
        b"-0.01",
        b"1e999999",
        b'"1e999999999999999999999999"',
        b"1000001",
        b'"' + b"9" * 100_000 + b'"',
    ],
    ids=lambda cost: repr(cost[:30]),
)
def test_a_bill_in_dollars_that_cannot_be_true_is_none(cost):
    assert _bill(_raw()[:-1] + b',"cost":' + cost + b"}", DOLLARS) is None


@pytest.mark.parametrize("ticks", [-1, 10**16 + 1, 2**63, 10**40, None])
def test_a_bill_in_ticks_that_cannot_be_true_is_none(ticks):
    assert _bill(_raw(cost_in_usd_ticks=ticks), TICKS) is None


def test_with_the_accounts_own_key_the_makers_share_is_added():
    details = {"upstream_inference_cost": 0.02}
    assert _bill(_raw(cost=0.001, is_byok=True, cost_details=details), DOLLARS) == 210_000_000


def test_without_an_own_key_the_details_only_repeat_the_cost():
    details = {"upstream_inference_cost": 0.02}
    assert _bill(_raw(cost=0.02, is_byok=False, cost_details=details), DOLLARS) == 200_000_000


@pytest.mark.parametrize(
    "details", [None, [], {}, 5, {"upstream_inference_cost": None}, {"upstream_inference_cost": -1}]
)
def test_an_unknown_share_of_the_maker_makes_the_bill_unknown(details):
    assert _bill(_raw(cost=0.001, is_byok=True, cost_details=details), DOLLARS) is None


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": st.integers(-5, 10**12),
            "completion_tokens": st.integers(-5, 10**12),
            "total_tokens": st.integers(-5, 10**12) | ODD_JSON,
            "prompt_tokens_details": st.fixed_dictionaries(
                {}, optional={"cached_tokens": st.integers(), "image_tokens": st.integers()}
            ),
            "completion_tokens_details": st.fixed_dictionaries(
                {}, optional={"reasoning_tokens": st.integers()}
            ),
            "cost": st.floats(allow_nan=False, allow_infinity=False) | st.decimals().map(str),
            "cost_in_usd_ticks": st.integers(),
            "is_byok": st.booleans(),
            "cost_details": ODD_JSON,
        },
    )
    | ODD_JSON,
    st.sampled_from([PLAIN, TICKS, DOLLARS, APART]),
)
def test_whatever_is_reported_fits_the_books(reported, rules):
    usage = read_usage(json.dumps(reported).encode(), rules)
    if usage is None:
        return
    assert 0 < usage.total_tokens < 2**32
    assert 0 <= usage.cached_tokens <= usage.input_tokens
    assert 0 <= usage.image_tokens <= usage.input_tokens
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens
    assert usage.cost_ticks is None or 0 <= usage.cost_ticks < 2**63
    assert isinstance(usage.cost_ticks, int | None)


# ------------------------------------------------------------------------------------- what is sent


def test_usage_is_written_in_full():
    usage = Usage(input_tokens=32, cached_tokens=6, output_tokens=103, reasoning_tokens=94)
    assert written_usage(usage) == {
        "prompt_tokens": 32,
        "completion_tokens": 103,
        "total_tokens": 135,
        "prompt_tokens_details": {"cached_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 94},
    }


def test_what_else_was_reported_is_kept():
    reported = XAI_USAGE | {"cost_in_usd_ticks": 5, "new": [1]}
    written = written_usage(READ_XAI_USAGE, json.dumps(reported).encode())
    assert (written["cost_in_usd_ticks"], written["new"]) == (5, [1])
    assert written["prompt_tokens_details"] == XAI_USAGE["prompt_tokens_details"]


def test_usage_can_be_written_as_xai_counts():
    usage = Usage(input_tokens=32, cached_tokens=6, output_tokens=103, reasoning_tokens=94)
    written = written_usage(usage, counting=Counting.XAI)
    assert (written["completion_tokens"], written["total_tokens"]) == (9, 135)


@pytest.mark.parametrize(
    ("ticks", "dollars"),
    [
        (37_756_000, b"0.0037756"),
        (1, b"0.0000000001"),
        (0, b"0"),
        (10**16, b"1000000"),
        (123_456_789_012_345, b"12345.6789012345"),
    ],
)
def test_the_cost_is_written_exactly(ticks, dollars):
    written = written_usage(Usage(input_tokens=1, cost_ticks=ticks), with_cost=True)
    assert (bytes(written["cost"]), written["cost_in_usd_ticks"]) == (dollars, ticks)


def test_the_cost_is_written_only_if_asked_for():
    assert "cost" not in written_usage(Usage(input_tokens=1, cost_ticks=5))


def test_an_unknown_cost_is_not_written():
    assert "cost" not in written_usage(Usage(input_tokens=1), with_cost=True)


@pytest.mark.parametrize(
    "reported",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"x":1e999}',
        b'{"x":"\xff"}',
        b'{"prompt_tokens_details":[1],"completion_tokens_details":"a"}',
        b'{"prompt_tokens_details":null,"completion_tokens_details":0}',
    ],
)
def test_what_was_reported_never_spoils_what_is_written(reported):
    usage = Usage(input_tokens=1, output_tokens=2, estimated=True)
    assert written_usage(usage, reported) == written_usage(usage)


def test_what_is_written_reads_as_what_it_was():
    usage = Usage(input_tokens=32, cached_tokens=6, output_tokens=103, reasoning_tokens=94)
    assert read_usage(json.dumps(written_usage(usage)).encode(), APART) == usage


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_any_usage_written_reads_as_what_it_was(prompt, completion, cached, reasoning):
    usage = Usage(
        input_tokens=prompt,
        cached_tokens=int(prompt * cached),
        output_tokens=completion,
        reasoning_tokens=int(completion * reasoning),
    )
    raw = json.dumps(written_usage(usage)).encode()
    assert read_usage(raw, APART) == usage
    assert is_written_alike(usage, raw)


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(XAI_USAGE).encode(),
        _raw(),
        _raw(total_tokens=15),
        _raw(total_tokens=14, prompt_tokens_details={"cached_tokens": 50}),
        _raw(total_tokens=14, **_thoughts(50)),
        b"",
        b"[]",
    ],
)
def test_what_a_caller_would_misread_is_not_written_alike(raw):
    assert not is_written_alike(read_usage(raw, PLAIN) or Usage(input_tokens=10), raw)


def test_an_estimate_is_never_written_alike():
    usage = Usage(input_tokens=10, output_tokens=4, estimated=True)
    assert not is_written_alike(usage, _raw(total_tokens=14))


def test_usage_that_adds_up_is_written_alike():
    assert is_written_alike(Usage(input_tokens=10, output_tokens=4), _raw(total_tokens=14))


def test_xais_own_counting_is_written_alike_where_it_is_wanted():
    raw = json.dumps(XAI_USAGE).encode()
    assert is_written_alike(READ_XAI_USAGE, raw, Counting.XAI)
    assert not is_written_alike(READ_XAI_USAGE, raw, Counting.OPENAI)


# ----------------------------------------------------------------------- tools of the upstream


def _calls(**fields: Any) -> int:
    usage = read_usage(_raw(**fields), PLAIN)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 4)
    return usage.tool_calls


def test_calls_of_the_upstreams_tools_are_added_up_but_for_those_that_cost_tokens_only():
    by_tool = {
        "web_search_calls": 2,
        "x_search_calls": 1,
        "mcp_calls": 5,
        "file_search_calls": None,
    }

    assert _calls(server_side_tool_usage_details=by_tool, num_server_side_tools_used=9) == 3


def test_where_no_tool_is_named_the_plain_number_counts():
    assert _calls(num_server_side_tools_used=4, server_side_tool_usage_details=None) == 4


@pytest.mark.parametrize(
    "said", [{}, {"num_sources_used": 7}, {"num_server_side_tools_used": None}]
)
def test_who_tells_of_no_tools_ran_none(said):
    assert _calls(**said) == 0


@pytest.mark.parametrize("odd", [-1, 1.5, True, "3", [], {"a": []}, 10**6, 2**70])
def test_nonsense_about_tools_is_no_call_and_spoils_no_count(odd):
    assert _calls(num_server_side_tools_used=odd) == 0
    assert _calls(server_side_tool_usage_details={"web_search_calls": odd}) == 0
    assert _calls(server_side_tool_usage_details=[odd]) == 0
