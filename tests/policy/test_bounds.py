import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps
from groxy.core.money import TICKS_PER_USD
from groxy.policy.bounds import read_caps, read_count, read_name


@pytest.mark.parametrize(
    ("value", "count"), [(0, 0), (b"0", 0), (100, 100), (b"100", 100), (b"7", 7)]
)
def test_a_whole_number_is_read(value, count):
    assert read_count(value, "rpm", most=100) == count


@pytest.mark.parametrize(
    "value",
    [
        *(-1, 101, True, 1.0, "1", None, float("nan"), float("inf"), 2**63, [], {}),
        *(b"-1", b"101", b"true", b"1.0", b'"1"', b"null", b"1e1", b"", b"01", b"+1", b" 1"),
        *(b"9223372036854775808", b"9" * 10_000, b"\xd9\xa1", b"1\n"),
    ],
)
def test_any_other_number_is_refused_and_named(value):
    with pytest.raises(GroxyError) as caught:
        read_count(value, "rpm", most=100)

    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, "rpm")


def test_caps_are_read_and_the_wrong_one_is_named():
    assert read_caps(("1", None, 0.5, None), "caps") == Caps(
        day=TICKS_PER_USD, month=TICKS_PER_USD // 2
    )
    with pytest.raises(GroxyError) as caught:
        read_caps((None, "-1", None, None), "caps")
    assert caught.value.param == "caps.week"


def test_a_name_is_read_without_blanks_at_its_ends():
    assert read_name("  Ada's key <b> ") == "Ada's key <b>"


@pytest.mark.parametrize("name", ["", "   ", "a\0b", "a\nb", "x" * 257, "\u202e"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(GroxyError) as caught:
        read_name(name)

    assert caught.value.param == "name"
