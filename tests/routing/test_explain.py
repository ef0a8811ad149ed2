from dataclasses import replace

import pytest

from groxy.core.preferences import Preferences
from groxy.core.quota import QuotaWindow
from groxy.core.terms import Terms
from groxy.routing.account import Status
from groxy.routing.router import Wanted
from tests.routing.fleet import (
    AUTH,
    BASIC,
    DOWN,
    HEAVY,
    LIMITED,
    SUPER,
    Clock,
    account,
    listing,
    refusal,
    rest,
    router_of,
)

NOW = Clock().at


def explained(*accounts, asked="grok-4.3", carriers=("chat",), **wanted):
    """Return what becomes of a request."""
    told = router_of(*accounts).explain(Wanted(model=asked, carriers=carriers, **wanted))
    return replace(told, verdicts=tuple(told.verdicts))


def why_not(*accounts, **wanted):
    """Return what stands against each account."""
    return {one.account_id: one.why_not for one in explained(*accounts, **wanted).verdicts}


def disabled(account_id="a", **changes):
    one = account(account_id, **changes)
    one.stand(Status.DISABLED, "operator_disabled", NOW)
    return one


def busy(account_id="a", **changes):
    return account(account_id, in_flight=3, most_in_flight=3, **changes)


# ------------------------------------------------------------------------------- who can serve


def test_an_account_that_can_serve_is_told_with_the_way_to_it():
    told = explained(account("a", name="mine"))
    (verdict,) = told.verdicts

    assert (told.served, told.refusal, told.order) == (True, "", ("a",))
    assert (verdict.can, verdict.why_not, verdict.until) == (True, (), None)
    assert (verdict.name, verdict.upstream, verdict.pool) == ("mine", "xai", "heavy")
    assert (verdict.dialect, verdict.model_sent) == ("chat", "grok-4.3")


def test_the_order_is_that_of_a_plan():
    accounts = [account(f"{number}", in_flight=number) for number in (2, 0, 1, 3)]

    assert explained(*accounts).order == ("0", "1", "2")


def test_the_less_the_score_the_better():
    told = explained(account("idle"), account("loaded", in_flight=4))
    scores = {one.account_id: one.score for one in told.verdicts}

    assert scores["idle"] < scores["loaded"]


# ---------------------------------------------------------------------------- who can not, why

WINDOW = QuotaWindow(remaining=0, total=5, window_s=60, reset_at=NOW + 20)
AGAINST = {
    "disabled": (disabled(), ("disabled",), None),
    "rests": (rest(account("a"), 30, LIMITED), ("cooling",), NOW + 30),
    "rejected": (rest(account("a"), 30, AUTH), ("cooling",), NOW + 30),
    "busy": (busy(), ("in_flight",), None),
    "no quota": (account("a", windows={"official": WINDOW}), ("quota",), NOW + 20),
    "another list": (account("a", **listing("grok-9")), ("not_listed",), None),
    "not allowed": (account("a", terms=Terms(models=("grok-9*",))), ("not_allowed",), None),
    "other dialect": (account("a"), ("no_dialect",), None),
}


@pytest.mark.parametrize(("one", "words", "until"), AGAINST.values(), ids=AGAINST)
def test_what_stands_against_an_account_is_told(one, words, until):
    carriers = ("messages",) if words == ("no_dialect",) else ("chat",)
    told = explained(one, carriers=carriers)
    (verdict,) = told.verdicts

    assert verdict.why_not == words
    assert not verdict.can
    assert verdict.until == until
    assert (told.served, told.order) == (False, ())
    assert told.refusal


def test_a_doubtful_account_can_serve_and_is_told_as_doubtful():
    told = explained(rest(account("a"), 5, DOWN), account("b"))
    verdicts = {one.account_id: one for one in told.verdicts}

    assert (verdicts["a"].can, verdicts["a"].why_not) == (True, ("doubtful",))
    assert told.order == ("b", "a")


def test_an_account_of_a_smaller_pool_is_the_wrong_one():
    accounts = [account(pool.value, pool=pool) for pool in (BASIC, SUPER, HEAVY)]

    assert why_not(*accounts, asked="super-plain") == {
        "basic": ("wrong_pool",),
        "super": (),
        "heavy": (),
    }


def test_a_model_that_makes_something_else_fits_no_account():
    assert why_not(account("a"), asked="grok-imagine-image")["a"][0] == "wrong_capability"


def test_all_that_stands_against_an_account_is_told():
    one = disabled(pool=BASIC, **listing("grok-9"))

    assert why_not(one, asked="heavy-plain") == {"a": ("wrong_pool", "not_listed", "disabled")}


def test_who_is_left_out_by_the_caller_is_told():
    accounts = [account("a"), account("b", "openrouter")]
    preferences = Preferences(only=("xai",))

    assert why_not(*accounts, preferences=preferences) == {"a": (), "b": ("excluded_by_caller",)}


@pytest.mark.parametrize("asked", ["nonsense", "", "grok-4.3\0", "x" * 100_000])
def test_a_model_that_does_not_exist_is_explained_and_no_error(asked):
    told = explained(account("a"), asked=asked)

    assert not told.served
    assert "does not exist" in told.refusal
    assert [one.why_not for one in told.verdicts] == [("not_listed",)]


def test_without_accounts_there_is_nothing_to_judge():
    told = explained()

    assert (told.served, told.verdicts) == (False, ())
    assert "not served by any account" in told.refusal


@pytest.mark.parametrize(
    "accounts", [[rest(account("a"), 30, LIMITED)], [busy()], [rest(account("a"), 30, AUTH)]]
)
def test_the_refusal_is_what_a_caller_would_be_told(accounts):
    router = router_of(*accounts)
    told = router.explain(Wanted(model="grok-4.3", carriers=("chat",)))

    assert told.refusal == refusal(router, "grok-4.3").message


def test_explaining_changes_nothing():
    one, other = rest(account("a"), 30, LIMITED), account("b", most_in_flight=2)
    router = router_of(one, other)
    before = repr(one), repr(other)
    for _ in range(3):
        tuple(router.explain(Wanted(model="grok-4.3", carriers=("chat",))).verdicts)

    assert (repr(one), repr(other)) == before


def test_no_credential_is_told():
    assert "xai-key" not in repr(explained(account("a"), disabled("b")))


def test_whoever_is_said_to_be_able_is_planned_and_nobody_else_is():
    unfit = [disabled("b"), rest(account("c"), 30, LIMITED), busy("d")]
    unfit += [account("e", **listing("grok-9")), account("f", terms=Terms(models=("x",)))]
    told = explained(account("fit"), rest(account("doubtful"), 5, DOWN), *unfit)

    assert {one.account_id for one in told.verdicts if one.can} == set(told.order)
