"""Usage: totals, and impossible figures mended."""

from hypothesis import given, strategies as st

from groxy.core.usage import Usage, clamped

_COUNTS = st.integers(-(10**12), 10**12)
_ANY = st.builds(
    Usage,
    input_tokens=_COUNTS,
    cached_tokens=_COUNTS,
    output_tokens=_COUNTS,
    reasoning_tokens=_COUNTS,
    image_tokens=_COUNTS,
    tool_calls=_COUNTS,
    cost_ticks=st.none() | _COUNTS,
    estimated=st.booleans(),
)
_POSSIBLE = Usage(
    input_tokens=10, cached_tokens=4, output_tokens=7, reasoning_tokens=7, image_tokens=10
)


def test_total_is_input_and_output():
    assert Usage(input_tokens=32, output_tokens=103, reasoning_tokens=94).total_tokens == 135


def test_usage_without_tokens_is_empty():
    assert Usage(cost_ticks=5).is_empty


def test_usage_of_input_alone_is_not_empty():
    assert not Usage(input_tokens=1).is_empty


def test_possible_usage_is_left_as_it_is():
    assert clamped(_POSSIBLE) == _POSSIBLE


def test_more_cached_tokens_than_input_are_cut_to_the_input():
    assert clamped(Usage(input_tokens=10, cached_tokens=11)).cached_tokens == 10


def test_more_reasoning_tokens_than_output_are_cut_to_the_output():
    assert clamped(Usage(output_tokens=10, reasoning_tokens=11)).reasoning_tokens == 10


@given(_ANY)
def test_clamped_counts_are_never_negative(usage):
    mended = clamped(usage)
    counts = (
        mended.input_tokens,
        mended.cached_tokens,
        mended.output_tokens,
        mended.reasoning_tokens,
        mended.image_tokens,
        mended.tool_calls,
        mended.cost_ticks or 0,
    )
    assert min(counts) >= 0


@given(_ANY)
def test_no_clamped_part_is_more_than_its_whole(usage):
    mended = clamped(usage)
    assert mended.cached_tokens <= mended.input_tokens
    assert mended.image_tokens <= mended.input_tokens
    assert mended.reasoning_tokens <= mended.output_tokens


@given(_ANY)
def test_clamping_twice_changes_nothing_more(usage):
    assert clamped(clamped(usage)) == clamped(usage)


@given(_ANY)
def test_clamping_keeps_whether_it_was_estimated_and_billed(usage):
    mended = clamped(usage)
    assert mended.estimated == usage.estimated
    assert (mended.cost_ticks is None) == (usage.cost_ticks is None)
