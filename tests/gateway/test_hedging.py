import pytest

from groxy.gateway.hedging import Hedger, HedgeRules


def seen(hedger, model="grok-4.3", times=100):
    """Let a hedger see replies that began after 1, 2, 3 … seconds."""
    for number in range(1, times + 1):
        hedger.note_begun(model, float(number))
    return hedger


def test_nothing_is_hedged_unless_the_operator_asks_for_it():
    hedger = seen(Hedger())

    assert not hedger.is_on
    assert hedger.delay_s("grok-4.3", 1) is None


@pytest.mark.parametrize(("percentile", "delay"), [(50, 51), (90, 91), (95, 96), (99.9, 100)])
def test_a_request_is_hedged_after_the_percentile_of_the_times_to_the_first_event(
    percentile, delay
):
    assert seen(Hedger(HedgeRules(percentile=percentile))).delay_s("grok-4.3", 1) == delay


def test_a_model_of_which_little_is_known_is_not_hedged():
    assert seen(Hedger(HedgeRules(percentile=95)), times=19).delay_s("grok-4.3", 1) is None


def test_models_are_told_apart():
    hedger = seen(Hedger(HedgeRules(percentile=95)))

    assert hedger.delay_s("grok-4.7", 1) is None


def test_old_times_are_forgotten():
    hedger = seen(Hedger(HedgeRules(percentile=50)))
    for _ in range(256):
        hedger.note_begun("grok-4.3", 7.0)

    assert hedger.delay_s("grok-4.3", 1) == 7.0


def test_many_models_do_not_fill_the_memory():
    hedger = Hedger(HedgeRules(percentile=50))
    for number in range(3000):
        hedger.note_begun(f"model-{number}", 1.0)

    assert len(hedger._times) <= 1024


@pytest.mark.parametrize(("cost", "hedges"), [(99, True), (100, True), (101, False), (None, False)])
def test_a_request_that_would_cost_too_much_is_not_hedged(cost, hedges):
    hedger = seen(Hedger(HedgeRules(percentile=50, max_cost_ticks=100)))

    assert (hedger.delay_s("grok-4.3", cost) is not None) == hedges


def test_a_cost_that_is_not_known_does_not_matter_where_there_is_no_bound():
    assert seen(Hedger(HedgeRules(percentile=50))).delay_s("grok-4.3", None) is not None


def test_of_many_requests_no_more_than_the_given_part_is_hedged():
    hedger = Hedger(HedgeRules(percentile=50, max_percent=5.0))
    taken = 0
    for _ in range(2000):
        hedger.note_request()
        taken += hedger.take()

    assert 95 <= taken <= 101


def test_what_was_not_hedged_is_not_saved_up_without_bound():
    hedger = Hedger(HedgeRules(percentile=50, max_percent=100.0))
    for _ in range(1000):
        hedger.note_request()

    assert sum(hedger.take() for _ in range(1000)) == 10


def test_with_nothing_allowed_only_the_first_one_ever_is_hedged():
    hedger = Hedger(HedgeRules(percentile=50, max_percent=0.0))
    for _ in range(100):
        hedger.note_request()

    assert [hedger.take() for _ in range(3)] == [True, False, False]
