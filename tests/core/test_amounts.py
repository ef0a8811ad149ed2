from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from groxy.core.amounts import MAX_USD, read_usd, usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import TICKS_PER_USD


@pytest.mark.parametrize(
    ("value", "ticks"),
    [
        (12, 12 * TICKS_PER_USD),
        ("12", 12 * TICKS_PER_USD),
        ("0.05", 500_000_000),
        (0.05, 500_000_000),
        (b"0.05", 500_000_000),
        (b'"0.05"', 500_000_000),
        ("0.0000000001", 1),
        ("0", 0),
        ("00012.50", 125_000_000_000),
        (0.1, 1_000_000_000),
        (1.1, 11_000_000_000),
        (2.0, 2 * TICKS_PER_USD),
        (str(MAX_USD), MAX_USD * TICKS_PER_USD),
    ],
)
def test_a_plain_decimal_number_is_an_amount(value, ticks):
    assert read_usd(value, "usd") == ticks


@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "Infinity", "-Infinity", "inf", "-1", "+1", "1e3", "1E3", "1e309", "0x10"),
        *(
            "",
            " ",
            "1 ",
            " 1",
            "1,5",
            "1.",
            ".5",
            "1.12345678901",
            "1_000",
            "\u0661",
            "\u00b2",
            "1\n",
        ),
        *(float("nan"), float("inf"), float("-inf"), -1, -0.5, 1e309, 1e-5, 1e300, 2**63, 10**400),
        *(True, False, None, [], {}, [1], {"usd": 1}, Decimal(1), 1j),
        *(b"", b"null", b"true", b"[1]", b'"', b'""', b"1e3", b"-1", b"NaN", b"\xff"),
    ],
    ids=repr,
)
def test_everything_else_is_refused_with_the_fields_name(value):
    with pytest.raises(GroxyError) as caught:
        read_usd(value, "max_cost")

    error = caught.value
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "max_cost")
    assert "`max_cost`" in error.message


def test_an_amount_has_a_most_and_a_least():
    for value in (MAX_USD + 1, f"{MAX_USD}.0000000001", "999999999999"):
        with pytest.raises(GroxyError, match="too much"):
            read_usd(value, "usd")
    with pytest.raises(GroxyError, match="more than 0"):
        read_usd(0, "usd", least_ticks=1)
    with pytest.raises(GroxyError, match="too much"):
        read_usd("5.01", "usd", most_usd=5)


@given(st.integers(-(2**63), 2**63))
def test_ticks_are_written_exactly(ticks):
    assert Decimal(usd_text(ticks)) * TICKS_PER_USD == ticks


@given(st.integers(0, MAX_USD * TICKS_PER_USD))
def test_what_is_written_is_read_as_it_was(ticks):
    assert read_usd(usd_text(ticks), "usd") == ticks


@pytest.mark.parametrize(
    ("ticks", "text"),
    [
        (0, "0"),
        (1, "0.0000000001"),
        (-1, "-0.0000000001"),
        (TICKS_PER_USD, "1"),
        (-15 * 10**9, "-1.5"),
    ],
)
def test_nothing_is_written_that_says_nothing(ticks, text):
    assert usd_text(ticks) == text
