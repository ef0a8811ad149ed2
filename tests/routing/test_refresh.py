import asyncio
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.quota import QuotaWindow
from groxy.routing import refresh as module
from groxy.routing.account import Status
from groxy.routing.overseer import CONFIRMED, NO_CREDIT, OPERATOR_DISABLED, Overseer
from groxy.routing.refresh import Refresher, Schedule
from groxy.upstreams._base import Credentials, KeyFacts
from groxy.upstreams.sandbox import SandboxUpstream
from groxy.wire.json import encode
from tests.routing.fleet import QUOTA, UPSTREAMS, account, directory_of, failure
from tests.routing.scripted import (
    Reply,
    Standings,
    Transport,
    account_at,
    always,
    crashes,
    fails,
    models,
)

GOOD = {"api_key_blocked": False}
ON_DEMAND = Schedule(every_s=0)


@pytest.fixture
def store():
    return Standings()


def telling(key=GOOD, *listed, models_status=200, key_status=200):
    """Return what answers as xAI does: of the key, and with a list of models."""

    def answer(url):
        if url.endswith("/api-key"):
            return Reply(encode(key), key_status)
        return Reply(models(*listed or ("grok-4.3",)).body, models_status)

    return answer


def refresher_of(*accounts, store=None, schedule=ON_DEMAND, clock=None):
    store = store or Standings()
    directory = directory_of(*accounts, clock=clock)
    return directory, Refresher(directory, Overseer(directory, store), store, schedule)


async def refreshed(one, store=None):
    """Refresh one account; return what that brought."""
    _, refresher = refresher_of(one, store=store)
    (brought,) = await refresher.refresh([one])
    return brought


async def listed(one):
    await refreshed(one)
    return one.models


async def nobody():
    return False


async def leads():
    return True


@asynccontextmanager
async def running(refresher, lead=leads):
    task = asyncio.ensure_future(refresher.run(lead))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def until(condition):
    """Wait until something is true, but not for ever."""
    async with asyncio.timeout(2):
        while not condition():
            await asyncio.sleep(0.001)


# ----------------------------------------------------------------------------- the list of one


async def test_a_list_is_taken_as_the_upstream_gives_it():
    one = account_at(lambda _: models("grok-4.3", "grok-5"))

    assert await listed(one) == {"grok-4.3", "grok-5"}


async def test_an_upstream_that_tells_nothing_is_asked_for_nothing(monkeypatch):
    monkeypatch.setattr(UPSTREAMS["openai_compatible"], "models_path", "", raising=False)
    one = account_at(lambda _: models("a"))

    assert await listed(one) is None
    assert one.transport.sent == []
    assert one.checked_at > 0


NONSENSE = {
    "nothing": b"",
    "a page": b"<html>Sign in</html>",
    "no object": b"null",
    "a number": b"7",
    "no data": b"{}",
    "an error": b'{"error":{"message":"no"}}',
    "data of another kind": b'{"data":"grok-4"}',
    "models without ids": b'{"data":[{"name":"grok-4"}]}',
    "models that are names": b'{"data":["grok-4"]}',
    "a hole": b'{"data":[null]}',
    "no JSON": b'{"data":[NaN]}',
    "no UTF-8": b'{"data":[{"id":"\xff"}]}',
    "too deep": b"[" * 100_000,
    "half": b'{"data":[{"id":"grok-4"}',
    "nothing in it": b'{"data":[]}',
    "ids of another kind": b'{"data":[{"id":7},{"id":null}]}',
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("upstream", ["openai_compatible", "xai"])
async def test_nonsense_leaves_what_was_known(body, upstream):
    one = account_at(always(body), upstream=upstream, models=frozenset({"grok-4.3"}))

    assert await listed(one) == {"grok-4.3"}
    assert one.standing is Status.ACTIVE


@pytest.mark.parametrize("status", [201, 301, 400, 401, 403, 404, 429, 500, 503])
async def test_a_failing_upstream_leaves_the_list_that_was_known(status):
    body = encode({"data": [{"id": "trap"}]})
    one = account_at(always(body, status), models=frozenset({"grok-4.3"}))

    assert await listed(one) == {"grok-4.3"}


async def test_an_account_that_never_had_a_list_stays_without_one():
    assert await listed(account_at(fails)) is None


@pytest.mark.parametrize("status", [404, 429, 500])
async def test_what_could_not_be_fetched_does_not_count_against_the_account(status):
    one = account_at(lambda _: Reply(b"{}", status, {"retry-after": "60"}))
    directory, refresher = refresher_of(one)
    for _ in range(5):
        await refresher.refresh([one])

    assert (one.failures, one.rest_until, directory.unshared) == (0, 0.0, {})
    assert one.standing is Status.ACTIVE


async def test_a_list_that_did_not_change_disturbs_nobody():
    one = account_at(lambda _: models("a", "b"))
    directory, refresher = refresher_of(one)
    await refresher.refresh([one])
    before = directory.generation
    await refresher.refresh([one])

    assert directory.generation == before


async def test_a_failure_is_logged_with_the_account_and_without_its_key(logged):
    await refreshed(account_at(fails, "acc_7"))

    (line,) = logged()
    assert line["account"] == "acc_7"
    assert "refused" in line["detail"]
    assert "xai-key" not in str(line)


async def test_only_what_the_key_may_use_counts():
    key = {"acls": ["api-key:model:grok-4.3", "api-key:model:grok-9"]}
    one = account_at(telling(key, "grok-4.3", "grok-5"), upstream="xai")

    assert await listed(one) == {"grok-4.3"}


# ------------------------------------------------------------------------------- what it tells


async def test_a_refresh_says_what_it_brought():
    brought = await refreshed(account_at(telling(), upstream="xai"))

    assert (brought.account_id, brought.refreshed) == ("acc_1", 2)
    assert (brought.error, brought.is_expired) == ("", False)


async def test_a_refresh_that_brought_half_says_what_is_missing():
    one = account_at(telling(models_status=503), upstream="xai")
    brought = await refreshed(one)

    assert brought.refreshed == 1
    assert "upstream_unavailable" in brought.error
    assert one.note == brought.error


async def test_what_was_learned_is_stored(store):
    one = account_at(telling(GOOD, "grok-4.3", "a"), upstream="xai")
    await refreshed(one, store)
    (change,) = store.changes

    assert (change.account_id, change.models) == ("acc_1", ("a", "grok-4.3"))
    assert change.checked_ms == int(one.checked_at * 1000) > 0


async def test_a_store_that_is_out_of_reach_does_not_undo_what_was_learned(store):
    store.is_down = True
    one = account_at(lambda _: models("a"))
    brought = await refreshed(one, store)

    assert (one.models, brought.refreshed) == ({"a"}, 1)


# -------------------------------------------------------------------------------- how it stands


async def test_a_key_that_is_blocked_expires_the_account(store):
    one = account_at(telling({"team_blocked": True}), upstream="xai")
    brought = await refreshed(one, store)

    assert (one.standing, brought.is_expired) == (Status.EXPIRED, True)
    assert "the team is blocked" in one.note
    assert store.statuses()[0] == ("acc_1", "expired", "key_blocked")


async def test_a_credential_that_is_rejected_expires_the_account(store):
    one = account_at(always(status=401), upstream="xai")
    brought = await refreshed(one, store)

    assert (one.standing, one.standing_reason) == (Status.EXPIRED, CONFIRMED)
    assert brought.is_expired
    assert len(one.transport.sent) == 1


async def test_an_account_that_expired_by_mistake_works_again_when_its_key_does(store):
    one = account_at(telling(), upstream="xai")
    one.stand(Status.EXPIRED, CONFIRMED, 0.0)
    await refreshed(one, store)

    assert one.standing is Status.ACTIVE
    assert store.statuses()[0] == ("acc_1", "active", "")


async def test_what_the_operator_orders_while_a_refresh_is_noted_comes_last(store):
    one = account_at(telling(), upstream="xai")
    one.stand(Status.EXPIRED, CONFIRMED, 0.0)
    directory = directory_of(one)
    overseer = Overseer(directory, store)
    refresher = Refresher(directory, overseer, store, ON_DEMAND)
    is_writing, may_write = store.hold_writes()
    ordering = asyncio.ensure_future(overseer.disable([one]))
    await is_writing.wait()
    refreshing = asyncio.ensure_future(refresher.refresh([one]))
    await asyncio.sleep(0.1)
    may_write.set()
    await asyncio.gather(ordering, refreshing)

    assert "active" not in [status for _, status, _ in store.statuses()]
    assert one.standing is Status.DISABLED


async def test_an_account_at_a_plain_server_is_tried_again_when_the_server_answers():
    one = account_at(lambda _: models("a"))
    one.stand(Status.EXPIRED, CONFIRMED, 0.0)
    await refreshed(one)

    assert one.standing is Status.ACTIVE


async def test_who_may_not_read_the_list_of_a_plain_server_may_serve_nevertheless():
    def refuses(_asked):
        raise GroxyError(ErrorKind.UPSTREAM_AUTH, "You may not.")

    one = account_at(refuses)
    result = await refreshed(one)

    assert one.standing is Status.ACTIVE
    assert "upstream_auth_failed" in result.error


@pytest.mark.parametrize("standing", [Status.DISABLED, Status.EXPIRED])
async def test_what_the_operator_did_is_not_undone(standing):
    one = account_at(telling(), upstream="xai")
    one.stand(standing, OPERATOR_DISABLED, 0.0)
    await refreshed(one)

    assert one.standing is standing


async def test_a_disabled_account_whose_key_is_bad_stays_disabled():
    one = account_at(always(status=401), upstream="xai")
    one.stand(Status.DISABLED, OPERATOR_DISABLED, 0.0)
    await refreshed(one)

    assert one.standing is Status.DISABLED


@pytest.fixture
def key_says(monkeypatch):
    """Let xAI say something of a key."""

    def say(**facts):
        monkeypatch.setattr(
            UPSTREAMS["xai"], "read_key", lambda _: KeyFacts(**facts), raising=False
        )

    return say


async def test_an_account_without_credit_rests_and_is_noted(key_says):
    key_says(standing=ErrorKind.UPSTREAM_QUOTA)
    one = account_at(telling(), upstream="xai")
    directory, refresher = refresher_of(one)
    await refresher.refresh([one])

    assert one.is_resting(directory.now() + 3599)
    assert directory.unpaid == {"acc_1": one}


async def test_a_refresh_that_finds_credit_puts_an_account_to_work_again(store):
    one = account_at(telling(), upstream="xai")
    directory, refresher = refresher_of(one, store=store)
    directory.note_failure(one, failure(QUOTA))
    one.stand(Status.COOLING, NO_CREDIT, directory.now())
    await refresher.refresh([one])

    assert (one.standing, one.is_resting(directory.now())) == (Status.ACTIVE, False)


async def test_an_upstream_that_says_nothing_of_credit_leaves_an_account_without_any():
    one = account_at(lambda _: models("a"))
    one.stand(Status.COOLING, NO_CREDIT, 0.0)
    await refreshed(one)

    assert one.standing is Status.COOLING


async def test_windows_that_are_told_are_taken_but_not_over_the_operators(key_says):
    fast, slow = (QuotaWindow(remaining=left, total=9, window_s=60) for left in (1, 2))
    key_says(windows={"fast": fast, "slow": slow})
    own = QuotaWindow(remaining=7, total=7, window_s=60)
    one = account_at(telling(), upstream="xai", windows={"fast": own}, declared=frozenset({"fast"}))
    await refreshed(one)

    assert {mode: window.remaining for mode, window in one.windows.items()} == {
        "fast": 7,
        "slow": 2,
    }
    assert one.windows["slow"].synced_at > 0
    assert one.is_bounded


async def test_a_standing_that_could_not_be_stored_is_told_and_ends_nothing(store):
    store.is_down = True
    bad = account_at(always(status=401), "bad", "xai")
    good = account_at(lambda _: models("a"), "good")
    _, refresher = refresher_of(bad, good, store=store)
    brought = await refresher.refresh([bad, good])

    assert "store_unavailable" in brought[0].error
    assert (bad.standing, good.models) == (Status.ACTIVE, {"a"})


def at_sandbox(words):
    """Return an account at a sandbox of its own, whose key suffers what a script says."""
    upstream = SandboxUpstream()
    credentials = Credentials(api_key="sk-1")
    upstream._keys.put("sk-1", words)
    return account(
        upstream=upstream,
        credentials=credentials,
        transport=upstream.transport(credentials),
        headers=upstream.headers(credentials),
    )


async def test_a_key_that_the_sandbox_blocks_expires_and_comes_back(store):
    one = at_sandbox("blocked=team")
    await refreshed(one, store)
    blocked = one.standing, one.note
    one.upstream._keys.clear()
    brought = await refreshed(one, store)

    assert blocked == (Status.EXPIRED, "the team is blocked")
    assert (one.standing, brought.error) == (Status.ACTIVE, "")


class Held(Transport):
    """Answers when it may."""

    def __init__(self, answer):
        super().__init__(answer)
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def send(self, outgoing):
        self.asked.set()
        await self.may_answer.wait()
        return await super().send(outgoing)


def exchange(_, one):
    one.credentials = Credentials(api_key="xai-new")


def remove(directory, one):
    directory.change([], [one.id])


@pytest.mark.parametrize("change", [exchange, remove])
@pytest.mark.parametrize("answer", [always(status=401), telling(GOOD, "old")])
async def test_what_is_told_of_a_credential_that_is_gone_is_not_believed(store, change, answer):
    one = account_at(Held(answer), upstream="xai")
    directory, refresher = refresher_of(one, store=store)
    refreshing = asyncio.ensure_future(refresher.refresh([one]))
    await one.transport.asked.wait()
    change(directory, one)
    one.transport.may_answer.set()
    (brought,) = await refreshing

    assert "changed" in brought.error
    assert (store.changes, one.models, one.standing) == ([], None, Status.ACTIVE)
    assert one.checked_at == 0.0


# --------------------------------------------------------------------------------- many of them


async def test_one_that_fails_does_not_keep_the_others_from_their_lists():
    accounts = [
        account_at(lambda _: models("a"), "first"),
        account_at(fails, "second"),
        account_at(lambda _: models("b"), "third"),
    ]
    _, refresher = refresher_of(*accounts)
    brought = await refresher.refresh(accounts)

    assert [one.models for one in accounts] == [{"a"}, None, {"b"}]
    assert [one.account_id for one in brought] == ["first", "second", "third"]


async def test_a_crash_over_one_does_not_keep_the_others_from_their_lists(logged):
    odd = account_at(crashes, "odd")
    slow = account_at(Transport(lambda _: models("a"), takes_s=0.02), "slow")
    _, refresher = refresher_of(odd, slow)
    brought = await refresher.refresh([odd, slow])

    assert slow.models == {"a"}
    assert [one.error.partition(":")[0] for one in brought] == ["internal_error", ""]
    crash = next(line for line in logged() if "exception" in line)
    assert (crash["account"], "a defect" in crash["exception"]) == ("odd", True)


@pytest.mark.parametrize(("at_once", "most"), [(0, 8), (3, 3)])
async def test_accounts_are_refreshed_a_few_at_once(at_once, most):
    shared = Transport(lambda _: models("a"), takes_s=0.005)
    accounts = [account_at(shared, f"{number}") for number in range(40)]
    _, refresher = refresher_of(*accounts)
    await refresher.refresh(accounts, at_once=at_once)

    assert all(one.models == {"a"} for one in accounts)
    assert shared.most_open == most


async def test_many_standings_are_written_in_a_few_goes(store):
    accounts = [account_at(lambda _: models("a"), f"{number}") for number in range(250)]
    _, refresher = refresher_of(*accounts, store=store)
    await refresher.refresh(accounts)

    assert len({change.account_id for change in store.changes}) == len(store.changes) == 250
    assert store.revision <= 4


async def test_each_is_told_of_and_the_rest_is_left_when_that_is_wished():
    accounts = [account_at(lambda _: models("a"), f"{number}") for number in range(30)]
    _, refresher = refresher_of(*accounts)
    told = []

    async def tell(brought):
        told.append(brought.account_id)

    brought = await refresher.refresh(
        accounts, at_once=1, on_each=tell, is_cancelled=lambda: len(told) >= 5
    )

    assert told == [one.account_id for one in brought] == ["0", "1", "2", "3", "4"]


# -------------------------------------------------------------------------------- the schedule


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look for what is due more often than usual."""
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.002)


def scheduled(*accounts, every_s=0.0, jitter=0.0, **changes):
    schedule = Schedule(every_s=every_s, jitter=jitter)
    return refresher_of(*accounts, schedule=schedule, clock=time.time, **changes)


async def test_accounts_are_refreshed_at_the_start():
    one = account_at(lambda _: models("a"))
    _, refresher = scheduled(one)
    async with running(refresher):
        await until(lambda: one.models == {"a"})


async def test_accounts_are_refreshed_again_after_the_interval():
    times = []

    def answer(_):
        times.append(time.monotonic())
        return models("a")

    _, refresher = scheduled(account_at(answer), every_s=0.05)
    async with running(refresher):
        await until(lambda: len(times) >= 3)

    assert all(later - earlier >= 0.045 for earlier, later in pairwise(times))


async def test_without_an_interval_accounts_are_refreshed_once():
    one = account_at(lambda _: models("a"))
    _, refresher = scheduled(one)
    async with running(refresher):
        await asyncio.sleep(0.05)

    assert len(one.transport.sent) == 1


async def test_one_that_could_not_be_refreshed_is_not_asked_again_at_once():
    one = account_at(fails)
    _, refresher = scheduled(one, every_s=60)
    async with running(refresher):
        await asyncio.sleep(0.05)

    assert len(one.transport.sent) == 1


@pytest.mark.parametrize("every_s", [0, 60])
async def test_one_whose_refresh_crashed_is_not_asked_again_at_once(every_s):
    one = account_at(crashes)
    _, refresher = scheduled(one, every_s=every_s)
    async with running(refresher):
        await asyncio.sleep(0.05)

    assert len(one.transport.sent) == 1


async def test_a_store_that_crashes_does_not_end_the_schedule(store, monkeypatch):
    first, second = (account_at(lambda _: models("a"), name) for name in ("first", "second"))
    directory, refresher = scheduled(first, store=store)
    monkeypatch.setattr(store, "before_write", crashes)
    async with running(refresher):
        await until(lambda: first.models)
        directory.replace([first, second])
        await until(lambda: second.models)

    assert [len(one.transport.sent) for one in (first, second)] == [1, 1]


def silent(name, **changes):
    return account_at(Held(lambda _: models("a")), name, **changes)


def elsewhere(number):
    return Credentials(api_key="xai-key", base_url=f"https://{number}.test/v1")


async def test_an_upstream_that_is_silent_keeps_nobody_waiting_elsewhere():
    mute = [silent(f"{number}", credentials=elsewhere(1)) for number in range(20)]
    good = account_at(lambda _: models("b"), "good", credentials=elsewhere(2))
    late = account_at(lambda _: models("c"), "late", credentials=elsewhere(2))
    directory, refresher = scheduled(*mute, good)
    async with running(refresher):
        await until(lambda: good.models == {"b"})
        directory.replace([*mute, good, late])
        await until(lambda: late.models == {"c"})

    assert [one.transport.asked.is_set() for one in mute] == [True] * 8 + [False] * 12


async def test_who_comes_later_shares_the_places_at_an_upstream():
    mute = [silent(f"{number}") for number in range(20)]
    directory, refresher = scheduled(*mute[:5])
    async with running(refresher):
        await until(lambda: all(one.transport.asked.is_set() for one in mute[:5]))
        directory.replace(mute)
        await asyncio.sleep(0.03)
        asked = [one.transport.asked.is_set() for one in mute]
        for one in mute:
            one.transport.may_answer.set()
        await until(lambda: all(one.models == {"a"} for one in mute))

    assert sum(asked) == 8
    assert [len(one.transport.sent) for one in mute] == [1] * 20


async def test_an_account_that_is_being_asked_is_not_asked_again():
    one = silent("one")
    _, refresher = scheduled(one, every_s=0.001)
    async with running(refresher):
        await one.transport.asked.wait()
        await asyncio.sleep(0.03)
        assert refresher._asked == {"one": one.credentials}
        one.transport.may_answer.set()
        await until(lambda: len(one.transport.sent) >= 2)  # but when it is due anew


async def test_another_credential_does_not_wait_until_the_question_about_the_first_is_answered():
    one = silent("one", credentials=elsewhere(1))
    directory, refresher = scheduled(one)
    async with running(refresher):
        await one.transport.asked.wait()
        directory.change([account_at(lambda _: models("b"), "one", credentials=elsewhere(2))], [])
        await until(lambda: one.models == {"b"})


async def test_the_schedule_takes_its_questions_with_it_when_it_ends():
    one = silent("one")
    _, refresher = scheduled(one)
    before = asyncio.all_tasks()
    async with running(refresher):
        await one.transport.asked.wait()

    assert asyncio.all_tasks() == before


async def test_failures_do_not_end_the_schedule(store):
    answers = iter([fails, always(status=500), always(b"?"), always(status=401)])

    def answer(url):
        return next(answers, lambda _: models("a"))(url)

    store.is_down = True
    one = account_at(answer)
    _, refresher = scheduled(one, every_s=0.005, store=store)
    async with running(refresher):
        await until(lambda: one.models == {"a"})


async def test_only_the_one_who_leads_follows_the_schedule():
    one = account_at(lambda _: models("a"))
    _, refresher = scheduled(one)
    async with running(refresher, nobody):
        await asyncio.sleep(0.03)

    assert one.transport.sent == []


async def test_when_it_cannot_be_known_who_leads_nobody_does():
    one = account_at(lambda _: models("a"))
    _, refresher = scheduled(one)
    answers = iter([GroxyError(ErrorKind.STORE_DOWN, "Out of reach.")] * 3)

    async def lead():
        for error in answers:
            raise error
        return True

    async with running(refresher, lead):
        await until(lambda: one.models == {"a"})

    assert len(one.transport.sent) == 1


async def test_a_disabled_account_is_left_alone_and_an_expired_one_is_not():
    off, expired = (account_at(lambda _: models("a"), name) for name in ("off", "expired"))
    off.stand(Status.DISABLED, OPERATOR_DISABLED, 0.0)
    expired.stand(Status.EXPIRED, CONFIRMED, 0.0)
    _, refresher = scheduled(off, expired)
    async with running(refresher):
        await until(lambda: expired.models == {"a"})

    assert off.transport.sent == []


async def test_an_account_that_comes_during_a_refresh_gets_its_list_too():
    slow = account_at(Transport(lambda _: models("a"), takes_s=0.05), "slow")
    new = account_at(lambda _: models("b"), "new")
    directory, refresher = scheduled(slow)
    async with running(refresher):
        await until(lambda: slow.transport.open)
        directory.replace([slow, new])
        refresher.look_now()
        await until(lambda: new.models == {"b"})


async def test_a_wish_to_look_is_heard_at_once(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 60)
    new = account_at(lambda _: models("b"), "new")
    directory, refresher = scheduled()
    async with running(refresher):
        await asyncio.sleep(0.01)
        directory.replace([new])
        refresher.look_now()
        await until(lambda: new.models == {"b"})


async def test_accounts_that_came_together_do_not_stay_together():
    accounts = [account(f"{number}", checked_at=1000.0) for number in range(100)]
    _, refresher = scheduled(*accounts, every_s=100, jitter=0.2)
    times = [refresher._due_at(one, 100) for one in accounts]

    assert 1080 <= min(times) < 1090 < 1110 < max(times) <= 1120
    assert times == [refresher._due_at(one, 100) for one in accounts]
