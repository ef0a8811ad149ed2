import pytest
from hypothesis import given, strategies as st

from groxy.admin.price_shapes import (
    RatesGiven,
    read_rates,
    told_rates,
)
from groxy.core.errors import GroxyError
from groxy.core.moments import moment_text, read_moment
from groxy.core.money import TICKS_PER_USD, MediaPrice, Price, TokenPrice
from groxy.store.prices import MAX_RATE_USD

RATE = st.integers(0, MAX_RATE_USD * TICKS_PER_USD)
TOKENS = st.builds(
    TokenPrice, input=RATE, cached_input=RATE, output=RATE, reasoning=st.none() | RATE
)
PLAIN = st.builds(Price, base=TOKENS, per_request=RATE, per_tool_call=RATE)
LONG = st.builds(Price, base=TOKENS, long=TOKENS, long_from_tokens=st.integers(1, 10**9))
TABLE = st.dictionaries(st.sampled_from(["any", "1k/low", "720p"]), RATE)
MEDIA = st.builds(MediaPrice, per_image=TABLE, per_second=TABLE, per_input_image=RATE).filter(
    lambda media: media.per_image or media.per_second
)
PRICED = st.tuples(st.none() | PLAIN | LONG, st.none() | MEDIA).filter(any)


@given(PRICED)
def test_what_is_told_of_prices_can_be_sent_again_as_it_is(priced):
    told = told_rates(*priced).model_dump(mode="json")

    assert read_rates(RatesGiven.model_validate(told)) == priced


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01z", 1_000),
        ("1970-01-01 01:00:00.001+01:00", 1),
        ("1970-01-01T00:00:00.0010000Z", 1),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T00:00:00.999999999Z", 1_000),
        ("2026-11-30T23:59:59.5-00:30", 1_796_084_999_500),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_moment_is_read_to_the_millisecond_and_never_too_early(text, at_ms):
    assert read_moment(text, "effective", rounds_up=True) == at_ms


@pytest.mark.parametrize("text", ["", "now", "2026-12-01", "2026-12-01T00:00:00", "1e12", "٢"])
def test_what_is_no_moment_is_refused_by_its_field(text):
    with pytest.raises(GroxyError) as refused:
        read_moment(text, "effective", rounds_up=True)

    assert refused.value.param == "effective"


@given(st.integers(0, 253_402_300_799_999))
def test_a_moment_that_is_told_can_be_read_again(at_ms):
    assert read_moment(moment_text(at_ms), "effective", rounds_up=True) == at_ms
