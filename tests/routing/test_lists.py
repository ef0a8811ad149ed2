import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing import lists as module
from groxy.routing.lists import ListKeeper, ask, check, fetch_models
from groxy.upstreams._base import Credentials
from groxy.wire.http import Outgoing
from groxy.wire.json import encode
from tests.routing.fleet import account, directory_of


class Reply:
    """A reply as a transport hands it over; notes whether it was closed."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None):
        self.body, self.status, self.headers = body, status, headers or {}
        self.is_closed = False

    async def read(self, limit: int) -> bytes:
        if len(self.body) > limit:
            raise GroxyError(ErrorKind.BAD_REPLY, "The upstream's reply is too large.")
        return self.body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.body

    def close(self) -> None:
        self.is_closed = True


class Transport:
    """Answers as the test says; notes what was sent and how many requests were open at once."""

    def __init__(self, answer: Callable[[], Reply], takes_s: float = 0.0):
        self.answer, self.takes_s = answer, takes_s
        self.sent: list[Outgoing] = []
        self.replies: list[Reply] = []
        self.open = self.most_open = 0
        self.is_closed = False

    async def send(self, outgoing: Outgoing) -> Reply:
        self.sent.append(outgoing)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.open -= 1
        self.replies.append(self.answer())
        return self.replies[-1]

    async def close(self) -> None:
        self.is_closed = True


def listing(*names):
    return Reply(encode({"object": "list", "data": [{"id": name} for name in names]}))


def fails(kind=ErrorKind.UPSTREAM_DOWN):
    raise GroxyError(kind, "The upstream could not be reached.", detail="refused")


def account_at(answer, account_id="acc_1", upstream="xai", **changes):
    """Return an account whose upstream answers so."""
    transport = answer if isinstance(answer, Transport) else Transport(answer)
    headers = {"Authorization": "Bearer xai-key"}
    return account(account_id, upstream, transport=transport, headers=headers, **changes)


def keeper_of(*accounts, every_s=0.0):
    return ListKeeper(directory_of(*accounts), every_s=every_s)


@asynccontextmanager
async def running(keeper):
    task = asyncio.ensure_future(keeper.run())
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


async def refreshed(one):
    keeper = keeper_of(one)
    await keeper.refresh([one])
    return one.models


# -------------------------------------------------------------------------------- fetching one


async def test_a_list_is_taken_as_the_upstream_gives_it():
    assert await refreshed(account_at(lambda: listing("grok-4.3", "grok-5"))) == {
        "grok-4.3",
        "grok-5",
    }


async def test_the_list_is_asked_for_with_the_accounts_own_credential_and_address():
    one = account_at(lambda: listing("a"))
    one.credentials = Credentials(api_key="xai-key", base_url="http://127.0.0.1:9001/v1/")

    await fetch_models(one)

    (outgoing,) = one.transport.sent
    assert (outgoing.method, outgoing.url) == ("GET", "http://127.0.0.1:9001/v1/models")
    assert outgoing.headers == {"Authorization": "Bearer xai-key"}
    assert outgoing.body == b""


async def test_an_upstream_without_a_list_is_not_asked_for_one():
    one = account_at(lambda: listing("a"), upstream="sandbox")

    assert await refreshed(one) is None
    assert one.transport.sent == []


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
async def test_nonsense_leaves_the_list_that_was_known(body):
    one = account_at(lambda: Reply(body), models=frozenset({"grok-4.3"}))

    assert await refreshed(one) == {"grok-4.3"}


@pytest.mark.parametrize("status", [201, 301, 400, 401, 403, 404, 429, 500, 503])
async def test_a_failing_upstream_leaves_the_list_that_was_known(status):
    body = encode({"data": [{"id": "trap"}]})
    one = account_at(lambda: Reply(body, status), models=frozenset({"grok-4.3"}))

    assert await refreshed(one) == {"grok-4.3"}


async def test_a_list_that_is_too_large_leaves_the_one_that_was_known(monkeypatch):
    monkeypatch.setattr(module, "_MAX_LIST_BYTES", 1000)
    one = account_at(lambda: listing("m" * 2000), models=frozenset({"grok-4.3"}))

    assert await refreshed(one) == {"grok-4.3"}


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_list_that_cannot_be_fetched_does_not_count_against_the_account(status):
    one = account_at(lambda: Reply(b"{}", status, {"retry-after": "60"}))
    directory = directory_of(one)
    for _ in range(5):
        await ListKeeper(directory, every_s=0).refresh([one])

    assert (one.failures, one.rest_until, directory.unshared) == (0, 0.0, [])


async def test_an_account_that_never_had_a_list_stays_without_one():
    assert await refreshed(account_at(fails)) is None


async def test_an_upstream_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    one = account_at(Transport(lambda: listing("late"), takes_s=30), models=frozenset({"a"}))
    began = time.monotonic()

    models = await refreshed(one)

    assert models == {"a"}
    assert time.monotonic() - began < 2


async def test_an_upstream_that_falls_silent_in_its_list_is_given_up_and_closed(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)

    class Silent(Reply):
        async def read(self, limit):
            await asyncio.sleep(30)
            return b""

    one = account_at(lambda: Silent(b""))
    with pytest.raises(GroxyError) as caught:
        await ask(one, "/models")

    assert caught.value.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert one.transport.replies[0].is_closed


@pytest.mark.parametrize("reply", [listing("a"), Reply(b"", 500), Reply(b"nonsense")])
async def test_every_reply_is_closed(reply):
    reply.is_closed = False
    await refreshed(account_at(lambda: reply))

    assert reply.is_closed


async def test_an_error_is_what_the_upstream_says_it_is():
    one = account_at(lambda: Reply(b"{}", 429, {"retry-after": "7"}))

    with pytest.raises(GroxyError) as caught:
        await fetch_models(one)

    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.UPSTREAM_LIMITED, 7)


# ------------------------------------------------------------------------------- fetching many


async def test_one_that_fails_does_not_keep_the_others_from_their_lists():
    accounts = [account_at(lambda: listing("a"), "first"), account_at(fails, "second")]
    accounts.append(account_at(lambda: listing("b"), "third"))

    await keeper_of(*accounts).refresh(accounts)

    assert [one.models for one in accounts] == [{"a"}, None, {"b"}]


async def test_lists_are_fetched_a_few_at_once():
    shared = Transport(lambda: listing("a"), takes_s=0.005)
    accounts = [account_at(shared, f"{number}") for number in range(40)]

    await keeper_of(*accounts).refresh(accounts)

    assert all(one.models == {"a"} for one in accounts)
    assert shared.most_open == module._AT_ONCE


async def test_a_list_that_did_not_change_disturbs_nobody():
    one = account_at(lambda: listing("a", "b"))
    directory = directory_of(one)
    keeper = ListKeeper(directory, every_s=0)
    await keeper.refresh([one])
    before = directory.generation
    await keeper.refresh([one])

    assert directory.generation == before


async def test_a_failure_is_logged_with_the_account_and_without_its_key(logged):
    await refreshed(account_at(fails, "acc_7"))

    (line,) = logged()
    assert (line["account"], line["detail"]) == ("acc_7", "refused")
    assert "xai-key" not in str(line)


# -------------------------------------------------------------------------------- the schedule


async def test_lists_are_fetched_at_the_start():
    one = account_at(lambda: listing("a"))
    async with running(keeper_of(one)):
        await until(lambda: one.models == {"a"})


async def test_lists_are_fetched_again_after_the_interval():
    one = account_at(lambda: listing("a"))
    async with running(keeper_of(one, every_s=0.01)):
        await until(lambda: len(one.transport.sent) >= 3)


async def test_between_two_fetches_lies_the_whole_interval():
    times = []

    def answer():
        times.append(time.monotonic())
        return listing("a")

    async with running(keeper_of(account_at(answer), every_s=0.1)):
        await until(lambda: len(times) >= 3)

    assert all(later - earlier >= 0.095 for earlier, later in pairwise(times))


async def test_without_an_interval_lists_are_fetched_only_when_asked_for():
    one = account_at(lambda: listing("a"))
    keeper = keeper_of(one)
    async with running(keeper):
        await asyncio.sleep(0.05)
        by_itself = len(one.transport.sent)
        keeper.look_now()
        await until(lambda: len(one.transport.sent) == 2)

    assert by_itself == 1


async def test_many_wishes_at_once_are_one():
    one = account_at(lambda: listing("a"))
    keeper = keeper_of(one)
    async with running(keeper):
        await until(lambda: one.models)
        for _ in range(10):
            keeper.look_now()
        await asyncio.sleep(0.05)

    assert len(one.transport.sent) == 2


async def test_an_account_that_comes_during_a_fetch_gets_its_list_too():
    slow = account_at(Transport(lambda: listing("a"), takes_s=0.05), "slow")
    new = account_at(lambda: listing("b"), "new")
    directory = directory_of(slow)
    keeper = ListKeeper(directory, every_s=0)
    async with running(keeper):
        await until(lambda: slow.transport.open)
        directory.replace([slow, new])
        keeper.look_now()
        await until(lambda: new.models == {"b"})


async def test_failures_do_not_end_the_schedule():
    answers = iter([fails, lambda: Reply(b"", 500), lambda: Reply(b"?"), lambda: listing("a")])

    def answer():
        return next(answers)()

    one = account_at(answer)
    async with running(keeper_of(one, every_s=0.005)):
        await until(lambda: one.models == {"a"})


# ------------------------------------------------------------------------------------ checking


async def test_an_account_that_works_is_ok():
    one = account_at(lambda: Reply(b"{}"))

    assert await check(one) == "ok"
    assert one.transport.sent[0].url.endswith(one.upstream.check_path)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (lambda: Reply(b"{}", 401), "upstream_auth_failed"),
        (lambda: Reply(b"{}", 503), "upstream_unavailable"),
        (fails, "upstream_unavailable: refused"),
    ],
)
async def test_an_account_that_does_not_work_says_why(answer, verdict):
    assert (await check(account_at(answer))).startswith(verdict)


@pytest.mark.parametrize("answer", [lambda: Reply(b"{}"), fails])
async def test_checking_closes_the_connections(answer):
    one = account_at(answer)
    await check(one)

    assert one.transport.is_closed
