import csv
import io

import pytest
from hypothesis import given, strategies as st

from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.moments import moment_text
from groxy.policy.credits import (
    csv_head,
    csv_rows,
    plain_cell,
    read_moment_ms,
    read_signed_usd,
    read_span,
    require_turn,
)
from groxy.state.gate_memory import MemoryGate
from groxy.store.statements import Line

USD = 10**10


def line(**changes):
    usual = {"id": "l", "at_ms": 0, "kind": "grant", "ticks": 1, "key_id": "", "request_id": ""}
    return Line(**{**usual, "note": "", **changes})


@pytest.mark.parametrize(
    ("value", "ticks"),
    [
        (5, 5 * USD),
        (-5, -5 * USD),
        ("-0.05", -USD // 20),
        (0.05, USD // 20),
        ("-0.0000000001", -1),
        ("100000000", 100_000_000 * USD),
    ],
)
def test_amounts_may_have_a_sign(value, ticks):
    assert read_signed_usd(value, "usd") == ticks


@given(st.integers(-(10**17), 10**17).filter(bool))
def test_what_is_written_is_read_as_it_was(ticks):
    assert read_signed_usd(usd_text(ticks), "usd") == ticks


@pytest.mark.parametrize(
    "value",
    [
        1e-10,
        -1e-10,
        0,
        "0",
        "-0",
        "--1",
        "-",
        "",
        "+1",
        "1e1",
        True,
        False,
        None,
        [],
        float("nan"),
        float("inf"),
        -float("inf"),
        2**63,
        -(2**63),
        "100000000.1",
        0.12345678901234566,
        "−5",
    ],
    ids=repr,
)
def test_what_is_no_amount_is_refused_by_name(value):
    with pytest.raises(GroxyError) as caught:
        read_signed_usd(value, "usd")
    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, "usd")


def test_days_are_of_utc_and_the_last_one_is_part_of_a_span():
    span = read_span("1970-01-02", "1970-01-02")

    assert (span.from_ms, span.to_ms) == (86_400_000, 2 * 86_400_000)
    assert read_span("", "") == read_span("", "")
    assert read_moment_ms("1970-01-01T01:00:00.5+01:00", "at") == 500
    assert moment_text(86_400_001) == "1970-01-02T00:00:00.001Z"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "1970-1-2",
        "2026-02-30",
        "1970-01-01T00:00:00",
        "9999-12-31",
        "1970-01-01 00:00",
        "٢",
        "2026-11-25T25:00:00Z",
        "1" * 100,
        "1970-01-01T00:00:00Z\x00",
        "20261125",
    ],
)
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(GroxyError) as caught:
        read_span("", text)
    assert caught.value.param == "to"


@given(st.text())
def test_no_cell_is_a_formula_and_nothing_is_lost(text):
    cell = plain_cell(text)

    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell in (text, f"'{text}")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"))))
def test_csv_is_read_as_it_was_written(notes):
    written = csv_head() + csv_rows([line(note=note, ticks=-5) for note in notes])

    rows = list(csv.DictReader(io.StringIO(written.decode(), newline="")))
    assert [row["note"] for row in rows] == [plain_cell(note) for note in notes]
    assert all(row["amount_usd"] == "-0.0000000005" for row in rows)


async def test_turns_are_counted_by_the_gate():
    gate = MemoryGate()
    for _ in range(3):
        await require_turn(gate.claim, "redeem:usr_1", 3)

    with pytest.raises(GroxyError) as caught:
        await require_turn(gate.claim, "redeem:usr_1", 3)

    assert caught.value.kind is ErrorKind.RATE_LIMITED
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 61
    await require_turn(gate.claim, "redeem:usr_2", 3)
