import pytest

from groxy.core.errors import GroxyError
from groxy.core.moments import moment_text, read_moment


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01.5z", 1_500),
        ("1970-01-01 02:00:00.001999999+02:00", 1),
        ("2026-12-01T00:00:00-05:30", 1_796_103_000_000),
        ("1969-12-31T23:59:59.250Z", -750),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_moment_is_read(text, at_ms):
    assert read_moment(text, "at") == at_ms


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-12-01", "2026-12-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z"),
        *("2026-12-01T24:30:00Z", "2026-12-01T00:00:00+25:00", "1796103000", "tomorrow"),
        *("0001-01-01T00:00:00+01:00x", "2026-12-01T00:00:00.Z", "9" * 10_000),
        "\u0662026-12-01T00:00:00Z",
    ],
)
def test_what_is_no_moment_is_refused_and_named(text):
    with pytest.raises(GroxyError) as caught:
        read_moment(text, "at")

    assert caught.value.param == "at"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("at_ms", [0, 1, 999, 1_796_103_000_123, -750, 253_402_300_799_999])
def test_a_moment_that_is_written_is_read_as_the_same(at_ms):
    assert read_moment(moment_text(at_ms), "at") == at_ms


def test_a_moment_is_written_with_milliseconds():
    assert moment_text(1_796_103_000_120) == "2026-12-01T05:30:00.120Z"
