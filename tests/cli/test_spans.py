import time

import pytest

from groxy.cli.spans import day_text, read_end, read_span
from groxy.core.errors import GroxyError


@pytest.mark.parametrize(
    ("text", "ms"),
    [("0", 0), ("90s", 90_000), ("30m", 1_800_000), ("24h", 86_400_000), ("2w", 1_209_600_000)],
)
def test_a_span_is_a_number_and_a_unit(text, ms):
    assert read_span(text, "--grace") == ms


@pytest.mark.parametrize("text", ["", "5", "-1h", "1.5h", "1e3s", "NaN", "h", "9999999s", "٣h"])
def test_what_is_no_span_is_refused_and_the_option_named(text):
    with pytest.raises(GroxyError, match="--grace"):
        read_span(text, "--grace")


def test_an_end_is_a_span_from_now_or_a_day():
    now_ms = time.time_ns() // 1_000_000

    assert 0 <= read_end("1h", "--expires") - now_ms - 3_600_000 < 60_000
    assert day_text(read_end("2999-01-31", "--expires")) == "2999-01-31"
    noon = read_end("2999-01-31T12:00:00Z", "--expires")
    assert noon - read_end("2999-01-31", "--expires") == 12 * 3_600_000


@pytest.mark.parametrize("text", ["", "soon", "2999-13-01", "1999-01-01", "0", "0s", "1e400"])
def test_what_is_no_end_or_is_over_is_refused(text):
    with pytest.raises(GroxyError, match="--expires"):
        read_end(text, "--expires")
