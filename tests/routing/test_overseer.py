import asyncio
from math import inf

import pytest
from msgspec import UNSET

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.quota import QuotaSource, QuotaWindow
from groxy.routing.account import Status
from groxy.routing.overseer import CONFIRMED, NO_CREDIT, OPERATOR_DISABLED, Overseer
from groxy.state._base import CoolDown
from groxy.store.standings import (
    Standing,
    add_tallies,
    standings_since,
    tallies_of,
    write_standings,
)
from groxy.upstreams._base import Credentials
from tests.routing.fleet import AUTH, DOWN, LIMITED, QUOTA, Clock, account, directory_of, failure
from tests.routing.scripted import (
    Standings,
    Transport,
    account_at,
    always,
    crashes,
    fails,
    models,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return Standings()


def rejected(account_id="acc_1", **changes):
    return account_at(always(status=401), account_id, **changes)


def watched(store, *accounts, clock=None):
    """Return a directory, and who oversees it."""
    directory = directory_of(*accounts, clock=clock)
    return directory, Overseer(directory, store)


def how(directory, *accounts):
    """Return how accounts stand, each in one word."""
    return [one.status(directory.now()).value for one in accounts or directory.accounts]


# ------------------------------------------------------------------------ the operator's orders


async def test_a_disabled_account_is_out_of_service_until_it_is_enabled(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    await overseer.disable([one])
    clock.turn(1e9)
    disabled = how(directory), one.is_resting(clock.at), one.standing_reason
    await overseer.enable([one])

    assert disabled == (["disabled"], True, OPERATOR_DISABLED)
    assert (how(directory), one.is_resting(clock.at)) == (["active"], False)
    assert store.statuses() == [
        ("acc_1", "disabled", OPERATOR_DISABLED),
        ("acc_1", "active", ""),
    ]


async def test_who_enables_an_account_ends_its_rests_too(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(LIMITED, 500))
    directory.note_failure(one, failure(LIMITED, 500), "a")
    await overseer.enable([one])

    assert (how(directory), one.model_rests) == (["active"], {})
    assert directory.unshared == {"acc_1\na": None, "acc_1": None}


async def test_what_the_store_does_not_take_does_not_happen(store):
    one = account()
    directory, overseer = watched(store, one)
    store.is_down = True
    with pytest.raises(GroxyError):
        await overseer.disable([one])

    assert how(directory) == ["active"]


async def test_an_account_or_a_model_can_be_sent_to_rest(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    overseer.cool(one, for_s=60, model="a")
    of_model = one.bound_reached("a", "official", clock.at), how(directory)
    overseer.cool(one, for_s=60)
    rests = how(directory)
    clock.turn(60)

    assert of_model == ("model_cooling", ["active"])
    assert (rests, how(directory)) == (["cooling"], ["active"])


@pytest.mark.parametrize("out", [Status.DISABLED, Status.EXPIRED])
async def test_a_rest_does_not_put_an_account_back_that_is_out_of_service(store, clock, out):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    one.stand(out, "", clock.at)
    overseer.cool(one, for_s=60)
    clock.turn(61)

    assert one.is_resting(clock.at)
    assert how(directory) == [out.value]


async def test_clearing_ends_rests_but_not_what_lasts(store, clock):
    limited, unpaid, disabled, expired = (account(name) for name in "abcd")
    directory, overseer = watched(store, limited, unpaid, disabled, expired, clock=clock)
    directory.note_failure(limited, failure(LIMITED, 500))
    directory.note_failure(unpaid, failure(QUOTA))
    await overseer.note_credit()
    await overseer.disable([disabled])
    await overseer.expire([expired])
    await overseer.clear(directory.accounts)

    assert how(directory) == ["active", "active", "disabled", "expired"]
    assert [one.is_resting(clock.at) for one in directory.accounts] == [False, False, True, True]


async def test_clearing_one_model_leaves_the_account_and_the_others(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    for model in ("a", "b"):
        directory.note_failure(one, failure(LIMITED, 500), model)
    await overseer.clear([one], "a")

    assert set(one.model_rests) == {"b"}


async def test_who_waits_for_room_looks_again_when_an_account_is_enabled(store):
    one = account()
    directory, overseer = watched(store, one)
    await overseer.disable([one])
    waiting = asyncio.ensure_future(directory.room(30))
    await asyncio.sleep(0)
    await overseer.enable([one])

    async with asyncio.timeout(1):
        await waiting


# -------------------------------------------------------------------------------------- doubts


def reject(directory, *accounts):
    for one in accounts:
        directory.note_failure(one, failure(AUTH))


async def test_a_credential_that_is_rejected_again_is_expired_for_good(store, clock):
    one = rejected()
    directory, overseer = watched(store, one, clock=clock)
    reject(directory, one)
    before = how(directory)
    await overseer.settle_doubts()
    clock.turn(1e9)

    assert (before, how(directory)) == (["cooling"], ["expired"])
    assert one.is_resting(clock.at)
    assert store.statuses() == [("acc_1", "expired", CONFIRMED)]
    assert directory.doubted == {}


@pytest.mark.parametrize(
    "answer", [lambda _: models("a"), always(status=500), always(status=429), fails]
)
async def test_a_credential_that_is_not_rejected_again_only_rests(store, clock, answer):
    one = account_at(answer)
    directory, overseer = watched(store, one, clock=clock)
    reject(directory, one)
    await overseer.settle_doubts()
    soon = how(directory)
    clock.turn(30)

    assert (soon, how(directory)) == (["cooling"], ["active"])
    assert store.changes == []


async def test_without_doubts_nobody_is_asked(store):
    one = rejected()
    directory, overseer = watched(store, one)
    await overseer.settle_doubts()

    assert (one.transport.sent, how(directory)) == ([], ["active"])


async def test_a_doubt_that_the_store_did_not_take_is_looked_into_again(store):
    accounts = [rejected(f"{number}") for number in range(5)]
    directory, overseer = watched(store, *accounts)
    reject(directory, *accounts)
    store.is_down = True
    with pytest.raises(GroxyError):
        await overseer.settle_doubts()
    left = set(directory.doubted)
    store.is_down = False
    await overseer.settle_doubts()

    assert left == {"0", "1", "2", "3", "4"}
    assert how(directory) == ["expired"] * 5


async def test_a_thousand_doubts_are_settled_side_by_side(store):
    shared = Transport(always(status=401), takes_s=0.005)
    bad = [account_at(shared, f"bad-{number}") for number in range(500)]
    good = [account_at(lambda _: models("a"), f"good-{number}") for number in range(500)]
    directory, overseer = watched(store, *bad, *good)
    reject(directory, *bad, *good)
    async with asyncio.timeout(5):
        await overseer.settle_doubts()

    assert 2 <= shared.most_open <= 32
    assert how(directory, *bad) == ["expired"] * 500
    assert set(how(directory, *good)) == {"cooling"}


async def test_one_upstream_that_does_not_answer_does_not_hold_up_the_others(store):
    silent = account_at(Transport(always(), takes_s=30), "silent")
    directory, overseer = watched(store, silent, rejected("bad"))
    reject(directory, *directory.accounts)
    settling = asyncio.ensure_future(overseer.settle_doubts())
    async with asyncio.timeout(2):
        while how(directory) != ["cooling", "expired"]:
            await asyncio.sleep(0.001)
    settling.cancel()
    await asyncio.wait([settling])


async def test_a_crash_of_one_check_ends_no_other(store, logged):
    odd, slow = account_at(crashes, "odd"), account_at(Transport(always(status=401), 0.02), "slow")
    directory, overseer = watched(store, odd, slow)
    reject(directory, odd, slow)
    await overseer.settle_doubts()

    assert how(directory) == ["cooling", "expired"]
    assert directory.doubted == {}
    crash = next(line for line in logged() if "exception" in line)
    assert (crash["account"], "a defect" in crash["exception"]) == ("odd", True)


async def while_checking(store, meanwhile):
    """Check a credential that is bad, and let something happen before the answer comes."""
    asked = asyncio.Event()
    go_on = asyncio.Event()

    class Slow(Transport):
        async def send(self, outgoing):
            asked.set()
            await go_on.wait()
            return await super().send(outgoing)

    one = account_at(Slow(always(status=401)))
    directory, overseer = watched(store, one)
    reject(directory, one)
    settling = asyncio.ensure_future(overseer.settle_doubts())
    await asked.wait()
    await meanwhile(directory, overseer, one)
    go_on.set()
    await settling
    return directory, one


async def test_an_account_that_is_disabled_during_its_check_stays_disabled(store):
    async def disable(_, overseer, one):
        await overseer.disable([one])

    directory, _ = await while_checking(store, disable)

    assert how(directory) == ["disabled"]
    assert [status for _, status, _ in store.statuses()] == ["disabled"]


async def test_a_check_of_a_credential_that_was_exchanged_says_nothing_of_the_new_one(store):
    async def exchange(directory, _, one):
        one.credentials = Credentials(api_key="xai-other")

    directory, _ = await while_checking(store, exchange)

    assert store.changes == []
    assert how(directory) == ["cooling"]


async def test_a_check_of_an_account_that_is_gone_writes_nothing(store):
    async def remove(directory, *_):
        directory.replace([account("acc_1"), account("acc_2")])
        directory.change([], ["acc_1"])

    directory, _ = await while_checking(store, remove)

    assert store.changes == []
    assert how(directory) == ["active"]


# -------------------------------------------------------------------------------------- credit


async def test_an_account_without_credit_is_noted_with_its_end(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(QUOTA))
    await overseer.note_credit()
    (change,) = store.changes

    assert (change.status, change.reason) == ("cooling", NO_CREDIT)
    assert change.until_ms == int((clock.at + 3600) * 1000)
    assert (one.standing, one.standing_reason) == (Status.COOLING, NO_CREDIT)
    assert directory.unpaid == {}


async def test_an_account_that_is_well_again_is_noted(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(QUOTA))
    await overseer.note_credit()
    clock.turn(3601)
    directory.begin(one, "a", "official", 0)
    directory.note_success(one, "a")
    await overseer.note_credit()

    assert [status for _, status, _ in store.statuses()] == ["cooling", "active"]
    assert (how(directory), directory.healed) == (["active"], {})


async def test_credit_that_the_store_did_not_take_is_noted_the_next_time(store, clock):
    one, other = account("a"), account("b")
    directory, overseer = watched(store, one, other, clock=clock)
    other.stand(Status.COOLING, NO_CREDIT, clock.at)
    directory.note_success(other)
    directory.note_failure(one, failure(QUOTA))
    store.is_down = True
    with pytest.raises(GroxyError):
        await overseer.note_credit()
    store.is_down = False
    await overseer.note_credit()

    assert [(name, status) for name, status, _ in store.statuses()] == [
        ("a", "cooling"),
        ("b", "active"),
    ]


@pytest.mark.parametrize(("order", "stands"), [("clear", "active"), ("disable", "disabled")])
async def test_what_the_operator_orders_while_the_want_of_credit_is_noted_comes_last(
    store, clock, order, stands
):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(QUOTA))
    is_writing, may_write = store.hold_writes()
    noting = asyncio.ensure_future(overseer.note_credit())
    await is_writing.wait()
    ordering = asyncio.ensure_future(getattr(overseer, order)([one]))
    for _ in range(5):
        await asyncio.sleep(0)
    may_write.set()
    await asyncio.gather(noting, ordering)

    told = [status for _, status, _ in store.statuses() if status]
    assert told == ["cooling", stands]
    assert how(directory) == [stands]


async def test_what_the_operator_orders_while_a_credential_is_checked_comes_last(store, clock):
    one = rejected()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(AUTH))
    is_writing, may_write = store.hold_writes()
    ordering = asyncio.ensure_future(overseer.disable([one]))
    await is_writing.wait()
    checking = asyncio.ensure_future(overseer.settle_doubts())
    for _ in range(20):
        await asyncio.sleep(0)
    may_write.set()
    await asyncio.gather(ordering, checking)

    assert [status for _, status, _ in store.statuses()] == ["disabled"]
    assert how(directory) == ["disabled"]


async def test_only_accounts_that_stand_as_was_thought_are_enabled(store, clock):
    one, other = account("a"), account("b")
    directory, overseer = watched(store, one, other, clock=clock)
    await overseer.disable([one, other])
    await overseer.enable([one, other], lambda found: found is one)

    assert how(directory) == ["active", "disabled"]


@pytest.mark.parametrize(
    "decide",
    [
        lambda overseer, one: overseer.expire([one], only_if=lambda _: True),
        lambda overseer, one: overseer.enable([one], lambda _: True),
        lambda overseer, _: overseer.note_credit(),
    ],
    ids=["expire", "enable", "note credit"],
)
async def test_what_is_decided_here_does_not_undo_what_an_operator_ordered_elsewhere(
    store, clock, decide
):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(QUOTA))
    store.elsewhere = [Standing(account_id="acc_1", status="disabled", reason=OPERATOR_DISABLED)]
    await decide(overseer, one)

    assert store.changes == []
    assert how(directory) == ["disabled"]
    assert one.rest_until == inf


async def test_what_was_not_done_is_not_returned(store):
    one, other = account("a"), account("b")
    _, overseer = watched(store, one, other)
    store.elsewhere = [Standing(account_id="a", status="disabled")]

    assert await overseer.expire([one, other], only_if=lambda _: True) == [other]


@pytest.mark.parametrize("order", ["disable", "enable", "expire", "clear"])
async def test_an_order_of_the_operator_depends_on_nothing(store, clock, order):
    one = account()
    _, overseer = watched(store, one, clock=clock)
    one.stand(Status.COOLING, NO_CREDIT, clock.at)
    await getattr(overseer, order)([one])

    assert {change.was for change in store.changes} == {UNSET}


async def test_what_is_decided_of_an_account_that_serves_again_is_upon_what_the_store_has(
    store, clock
):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    one.stand(Status.COOLING, NO_CREDIT, clock.at)
    directory.note_success(one)
    await overseer.expire([one], only_if=lambda _: True)

    assert [change.was for change in store.changes] == [("cooling", NO_CREDIT)]


async def test_an_account_that_was_cleared_before_its_want_of_credit_was_noted_stays_active(
    store, clock
):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(QUOTA))
    await overseer.clear([one])
    await overseer.note_credit()

    assert "cooling" not in [status for _, status, _ in store.statuses()]
    assert how(directory) == ["active"]


async def test_nothing_is_noted_of_an_account_that_is_gone(store):
    one = account()
    directory, overseer = watched(store, one)
    directory.note_failure(one, failure(QUOTA))
    directory.replace([])
    await overseer.note_credit()

    assert store.changes == []


async def test_without_news_the_store_is_left_alone(store):
    _, overseer = watched(store, account())
    await overseer.note_credit()

    assert store.revision == 0


# ------------------------------------------------------------------------------------- tallies


async def test_uses_are_written_once(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_success(one)
    directory.note_failure(one, failure(DOWN))
    await overseer.flush_tallies()
    await overseer.flush_tallies()
    (tally,) = store.tallies

    assert (tally.account_id, tally.uses, tally.failures) == ("acc_1", 1, 1)
    assert tally.last_used_ms == tally.last_failed_ms == int(clock.at * 1000)
    assert tally.last_error == "upstream_unavailable"


async def test_uses_that_could_not_be_written_are_added_to_those_that_came_meanwhile(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(DOWN))
    store.is_down = True
    flushing = asyncio.ensure_future(overseer.flush_tallies())
    await asyncio.sleep(0)
    clock.turn(5)
    directory.note_success(one)
    with pytest.raises(GroxyError):
        await flushing
    store.is_down = False
    await overseer.flush_tallies()
    (tally,) = store.tallies

    assert (tally.uses, tally.failures, tally.last_error) == (1, 1, "upstream_unavailable")
    assert tally.last_used_ms == int(clock.at * 1000)
    assert tally.last_failed_ms == int((clock.at - 5) * 1000)


# --------------------------------------------------------------------------- other processes


def window(remaining, synced_at):
    return QuotaWindow(
        remaining=remaining, total=100, window_s=60, synced_at=synced_at, source=QuotaSource.REAL
    )


@pytest.mark.parametrize("status", ["disabled", "expired"])
def test_what_lasts_is_taken_over_from_the_store(store, clock, status):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    overseer.take([Standing(account_id="acc_1", status=status, reason="why", since_ms=5_000)])
    clock.turn(1e9)

    assert (how(directory), one.is_resting(clock.at)) == ([status], True)
    assert (one.standing_reason, one.standing_since) == ("why", 5.0)


def test_an_account_without_credit_rests_until_the_store_says(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    until_ms = int((clock.at + 60) * 1000)
    overseer.take(
        [Standing(account_id="acc_1", status="cooling", reason=NO_CREDIT, until_ms=until_ms)]
    )
    resting = one.is_resting(clock.at)
    clock.turn(61)

    assert (resting, one.is_resting(clock.at), how(directory)) == (True, False, ["cooling"])


def test_an_account_that_waits_for_a_refresh_rests_until_then(store, clock):
    one = account()
    _, overseer = watched(store, one, clock=clock)
    overseer.take([Standing(account_id="acc_1", status="cooling", reason=NO_CREDIT)])

    assert one.rest_until == inf


def test_an_account_that_another_process_enabled_serves_here(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    one.stand(Status.DISABLED, OPERATOR_DISABLED, clock.at)
    overseer.take([Standing(account_id="acc_1")])

    assert (how(directory), one.is_resting(clock.at)) == (["active"], False)


def test_the_same_standing_again_does_not_end_a_rest(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.note_failure(one, failure(LIMITED, 60))
    overseer.take([Standing(account_id="acc_1", checked_ms=7_000, note="fine")])

    assert (how(directory), one.checked_at, one.note) == (["cooling"], 7.0, "fine")


def test_what_is_known_newer_here_is_not_overwritten(store):
    one = account(windows={"a": window(5, 20.0), "b": window(5, 20.0)})
    _, overseer = watched(store, one)
    news = {"a": window(1, 10.0), "b": window(1, 30.0), "c": window(1, 10.0)}
    overseer.take([Standing(account_id="acc_1", windows=news)])

    assert {mode: own.remaining for mode, own in one.windows.items()} == {"a": 5, "b": 1, "c": 1}
    assert one.is_bounded
    assert one.windows["c"] is not news["c"]


def test_a_window_of_the_operators_stays(store):
    one = account(windows={"fast": window(5, 0.0)}, declared=frozenset({"fast"}))
    _, overseer = watched(store, one)
    overseer.take([Standing(account_id="acc_1", windows={"fast": window(1, 30.0)})])

    assert one.windows["fast"].remaining == 5


def test_model_lists_are_taken_over_where_there_is_one(store):
    one, other = account("a"), account("b", models=frozenset({"own"}))
    directory, overseer = watched(store, one, other)
    before = directory.generation
    overseer.take(
        [Standing(account_id="a", models=("grok-4.3",)), Standing(account_id="b", models=None)]
    )

    assert one.models == frozenset({"grok-4.3"})
    assert other.models == frozenset({"own"})
    assert directory.generation > before


def test_standings_of_accounts_that_are_not_ours_are_passed_over(store):
    directory, overseer = watched(store, account())
    overseer.take([Standing(account_id="acc_9", status="disabled")])

    assert how(directory) == ["active"]


class DatabaseStandings:
    """The store of standings as it is."""

    def __init__(self, database):
        self.database = database

    async def write(self, changes):
        return await write_standings(self.database, changes)

    async def add_tallies(self, tallies):
        await add_tallies(self.database, tallies)


async def test_with_a_real_store_a_second_process_follows_the_first(database, clock):
    store, names = DatabaseStandings(database), ("bad", "unpaid", "off", "well")
    first, first_overseer = watched(store, rejected("bad"), *map(account, names[1:]), clock=clock)
    second, second_overseer = watched(store, *map(account, names), clock=clock)
    bad, unpaid, off, well = first.accounts
    reject(first, bad)
    first.note_failure(unpaid, failure(QUOTA))
    first.note_success(well)
    await first_overseer.settle_doubts()
    await first_overseer.note_credit()
    await first_overseer.disable([off])
    await first_overseer.flush_tallies()
    revision, standings = await standings_since(database, 0)
    second_overseer.take(standings)
    followed = how(second), [one.is_resting(clock.at) for one in second.accounts]
    await second_overseer.enable(second.accounts)
    _, news = await standings_since(database, revision)
    first_overseer.take(news)

    assert followed == (["expired", "cooling", "disabled", "active"], [True, True, True, False])
    assert how(first) == ["active"] * 4
    assert [one.is_resting(clock.at) for one in first.accounts] == [False] * 4
    assert (await tallies_of(database, names))["well"].uses == 1


async def test_with_a_real_store_an_account_that_was_disabled_elsewhere_does_not_come_back(
    database, clock
):
    store = DatabaseStandings(database)
    here, overseer = watched(store, rejected(), clock=clock)
    _, operators = watched(store, *(elsewhere := [account()]), clock=clock)
    reject(here, here.accounts[0])
    await operators.disable(elsewhere)
    await overseer.settle_doubts()
    _, (standing,) = await standings_since(database, 0)

    assert (standing.status, standing.reason) == ("disabled", OPERATOR_DISABLED)
    assert how(here) == ["disabled"]


async def test_with_a_real_store_credit_that_comes_and_goes_is_noted(database, clock):
    directory, overseer = watched(DatabaseStandings(database), account(), clock=clock)
    (one,) = directory.accounts
    noted = []
    for change in (
        lambda: directory.note_failure(one, failure(QUOTA)),
        lambda: (clock.turn(3601), directory.note_success(one)),
        lambda: directory.note_failure(one, failure(QUOTA)),
        lambda: (clock.turn(3601), directory.note_success(one)),
    ):
        change()
        await overseer.note_credit()
        _, (standing,) = await standings_since(database, 0)
        noted.append(standing.status)

    assert noted == ["cooling", "active", "cooling", "active"]


def test_a_rest_that_has_no_end_can_be_noted(store, clock):
    one = account()
    directory, overseer = watched(store, one, clock=clock)
    directory.take_shared({"acc_1": CoolDown(until=inf, reason=ErrorKind.UPSTREAM_QUOTA.value)})
    directory.unpaid["acc_1"] = one
    asyncio.run(overseer.note_credit())

    assert store.changes[0].until_ms is None
