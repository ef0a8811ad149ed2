import pytest

from groxy.core.preferences import Preferences
from groxy.routing.affinity import Affinity
from groxy.routing.wanted import Wanted
from tests.routing.fleet import (
    AUTH,
    BASIC,
    DOWN,
    LIMITED,
    QUOTA,
    account,
    ids,
    listing,
    planned,
    rest,
    router_of,
)


def test_the_last_account_of_a_conversation_is_its_home():
    affinity = Affinity()
    affinity.remember("talk", "a")
    affinity.remember("talk", "b")

    assert affinity.home_of("talk") == "b"


def test_an_unknown_conversation_has_no_home():
    assert Affinity().home_of("talk") == ""


def test_there_are_never_more_conversations_than_room():
    affinity = Affinity(most=10)
    for number in range(1000):
        affinity.remember(f"talk-{number}", "a")

    assert len(affinity) == 10
    assert affinity.home_of("talk-999") == "a"


def test_what_was_not_used_for_longest_is_forgotten():
    affinity = Affinity(most=2)
    affinity.remember("old", "a")
    affinity.remember("older", "b")
    affinity.home_of("old")
    affinity.remember("new", "c")

    assert [affinity.home_of(name) for name in ("old", "older", "new")] == ["a", "", "c"]


def test_a_conversation_that_goes_on_is_not_forgotten():
    affinity = Affinity(most=2)
    affinity.remember("long", "a")
    affinity.remember("short", "b")
    affinity.remember("long", "a")
    affinity.remember("new", "c")

    assert affinity.home_of("long") == "a"


# ---------------------------------------------------------------------------------------- in plans


def serve(router, candidate, conversation):
    wanted = Wanted(model="grok-4.3", carriers=("chat",), conversation=conversation)
    router.note_served(wanted, candidate, first_event_s=0.1, output_tokens=20, duration_s=1.0)


def settled(*accounts, **given):
    """Return a router at which the last account has served the conversation `talk`."""
    router = router_of(*accounts, **given)
    candidates = planned(router, "grok-4.3").candidates
    served = next(one for one in candidates if one.account is accounts[-1])
    serve(router, served, "talk")
    return router


def test_a_conversation_goes_on_at_the_account_that_served_it():
    accounts = [account("a"), account("b"), account("home")]
    router = settled(*accounts)
    accounts[-1].in_flight = 8

    firsts = {ids(planned(router, "grok-4.3", conversation="talk"))[0] for _ in range(20)}

    assert firsts == {"home"}


def test_a_home_with_much_to_do_is_left_for_an_idle_account():
    accounts = [account("a"), account("b"), account("home")]
    router = settled(*accounts)
    accounts[-1].in_flight = 9

    firsts = {ids(planned(router, "grok-4.3", conversation="talk"))[0] for _ in range(20)}

    assert firsts == {"a", "b"}


def test_the_home_is_not_a_candidate_twice():
    router = settled(account("a"), account("home"))

    assert sorted(ids(planned(router, "grok-4.3", conversation="talk"))) == ["a", "home"]


def test_the_home_may_be_in_any_pool():
    router = settled(account("small", pool=BASIC), account("home"))

    assert ids(planned(router, "grok-4.3", conversation="talk")) == ["home", "small"]


def test_the_home_is_found_among_ten_thousand():
    accounts = [account(f"{number}") for number in range(10_000)]
    router = router_of(*accounts)

    for _ in range(20):
        plan = planned(router, "grok-4.3", home="4321")
        assert ids(plan)[0] == "4321"
        assert len(plan.candidates) == 3


def test_another_conversation_is_spread_as_usual():
    accounts = [account("a"), account("home")]
    router = settled(*accounts)
    accounts[-1].in_flight = 50

    assert ids(planned(router, "grok-4.3", conversation="other")) == ["a", "home"]


@pytest.mark.parametrize("reason", [AUTH, LIMITED, QUOTA, DOWN])
def test_a_home_that_is_not_well_does_not_come_first(reason):
    accounts = [account("a"), account("home")]
    router = settled(*accounts)
    rest(accounts[-1], 30, reason)

    assert ids(planned(router, "grok-4.3", conversation="talk"))[0] == "a"


def test_a_home_that_is_gone_or_cannot_serve_changes_nothing():
    router = router_of(account("a"), account("b", **listing("own")))

    assert ids(planned(router, "grok-4.3", home="b")) == ["a"]
    assert ids(planned(router, "grok-4.3", home="gone")) == ["a"]


def test_a_home_that_is_told_is_stronger_than_the_one_that_is_remembered():
    router = settled(account("told"), account("remembered"))

    assert ids(planned(router, "grok-4.3", conversation="talk", home="told"))[0] == "told"


def test_the_one_that_is_remembered_stands_in_for_a_home_that_rests():
    accounts = [account("told"), account("other"), account("remembered")]
    router = settled(*accounts)
    rest(accounts[0], 30, LIMITED)
    accounts[-1].in_flight = 5

    assert ids(planned(router, "grok-4.3", conversation="talk", home="told"))[0] == "remembered"


def test_a_conversation_moves_to_the_account_that_served_it_last():
    accounts = [account("a"), account("b")]
    router = router_of(*accounts)
    for one in planned(router, "grok-4.3").candidates:
        serve(router, one, "talk")
        assert ids(planned(router, "grok-4.3", conversation="talk"))[0] == one.account.id


def test_a_caller_who_says_who_comes_first_is_obeyed():
    router = settled(account("a"), account("home"))
    wished = Preferences(order=("a",))

    plan = planned(router, "grok-4.3", conversation="talk", preferences=wished)

    assert ids(plan) == ["a", "home"]


def test_a_home_that_the_caller_ignores_is_not_asked():
    router = settled(account("a"), account("home"))
    wished = Preferences(ignore=("home",))

    plan = planned(router, "grok-4.3", conversation="talk", preferences=wished)

    assert ids(plan) == ["a"]


def test_the_home_never_puts_a_fallback_before_the_model():
    accounts = [account("a", **listing("grok-4.7")), account("home", **listing("grok-4.3"))]

    plan = planned(router_of(*accounts), "grok-4.7", fallbacks=("grok-4.3",), home="home")

    assert ids(plan) == ["a", "home"]


def test_what_was_served_is_measured():
    one = account()
    router = router_of(one)
    serve(router, planned(router, "grok-4.3").candidates[0], "")

    assert (one.first_event_s, one.tokens_per_s) == (0.1, 20.0)
    assert len(router.affinity) == 0
