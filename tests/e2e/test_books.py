"""The books under violence: killed processes, full disks, locked and broken databases."""

import asyncio
import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from groxy.store.entries import RequestEntry
from tests.e2e.running import (
    Caller,
    Gateway,
    Reply,
    account_toml,
    calling,
    config_toml,
    poll,
    poll_async,
    running,
)
from tests.e2e.scripted import TICKS, fails

pytestmark = pytest.mark.e2e

_CALLERS = 12
_QUIET = '[logging]\nlevel = "error"'
_ROOM_BYTES = 16 * 1024


@dataclass
class _Received:
    """Ids of the replies whose last byte a client has got."""

    whole: set[str] = field(default_factory=set)
    streams: set[str] = field(default_factory=set)

    @property
    def all(self) -> set[str]:
        return self.whole | self.streams


async def _load(caller: Caller, received: _Received, number: int) -> None:
    """Ask without pause, whole and streamed in turn, until the gateway is gone."""
    while True:
        is_stream = number % 2 == 0
        number += 1
        async with caller.opened(f"load {number}", stream=is_stream) as reply:
            request_id = reply.headers["x-request-id"]
            if not is_stream:
                await reply.read()
                received.whole.add(request_id)
                continue
            body = b""
            async for piece in reply.content.iter_any():
                body += piece
                if body.endswith(b"data: [DONE]\n\n"):
                    received.streams.add(request_id)
                    break


async def _killed_under_load(gateway: Gateway, after_s: float) -> _Received:
    received = _Received()
    async with calling(gateway) as caller, asyncio.timeout(after_s + 20):
        tasks = [asyncio.ensure_future(_load(caller, received, n)) for n in range(_CALLERS)]
        await asyncio.sleep(after_s)
        await poll_async(lambda: received.whole and received.streams, what="a reply of each kind")
        gateway.kill()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, aiohttp.ClientError | OSError), outcome
    return received


async def test_after_a_kill_under_load_every_reply_that_was_received_is_in_the_books(tmp_path):
    luck = random.Random(7)
    received: set[str] = set()
    with running(Gateway(folder=tmp_path, config=config_toml(extra=_QUIET))) as gateway:
        for _ in range(4):
            got = await _killed_under_load(gateway, luck.uniform(0.6, 1.4))
            received |= got.all
            gateway.start()
            rows = gateway.entries(1_000_000)
            ids = [row.id for row in rows]
            assert received <= set(ids), f"{len(received - set(ids))} replies have no row"
            assert len(ids) == len(set(ids))
            assert {row.outcome for row in rows if row.id in received} == {"ok"}
        assert gateway.ask().status == 200


async def test_after_a_kill_attempts_and_requests_agree(tmp_path, upstream):
    seat = upstream.seat("killed")
    config = config_toml(account_toml("a", seat), extra=_QUIET)
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        await _killed_under_load(gateway, 0.8)
    with closing(sqlite3.connect(gateway.data_dir / "groxy.db")) as database:
        (broken,) = database.execute("PRAGMA integrity_check").fetchone()
        assert broken == "ok"
        requests = dict(database.execute("SELECT id, attempts FROM requests"))
        attempts = dict(
            database.execute("SELECT request_id, count(*) FROM attempts GROUP BY request_id")
        )
        (owed,) = database.execute("SELECT sum(cost_ticks) FROM requests").fetchone()
    assert requests == attempts
    assert owed == TICKS * len(requests)
    assert len(requests) <= len(seat.calls), "a row without a call"


@pytest.fixture(scope="module")
def seat(upstream):
    return upstream.seat("books")


@pytest.fixture
def gateway(seat, tmp_path) -> Iterator[Gateway]:
    seat.clear()
    with running(Gateway(folder=tmp_path, config=config_toml(account_toml("a", seat)))) as gateway:
        yield gateway


@pytest.fixture
def on_small_disk(seat, tmp_path) -> Iterator[Gateway]:
    """A gateway whose log stays small, however much is asked."""
    seat.clear()
    config = config_toml(account_toml("a", seat), extra=_QUIET)
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        yield gateway


def _fill_disk(gateway: Gateway) -> None:
    """Let the gateway write nothing but small files, as if its disk were all but full.

    The database is larger already. A spool file is not: a few entries fit, fewer than are asked for
    until the next look at the database, which begins another file.
    """
    import resource

    largest = max(file.stat().st_size for file in gateway.data_dir.iterdir())
    assert largest > _ROOM_BYTES
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (_ROOM_BYTES, resource.RLIM_INFINITY))


def _free_disk(gateway: Gateway) -> None:
    import resource

    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)


def _until_refused(gateway: Gateway, **fields: Any) -> tuple[list[str], Reply]:
    """Ask until the full disk is felt; what is answered before it must be in the books."""
    answered: list[str] = []
    for _ in range(500):
        reply = gateway.ask(**fields)
        if reply.status != 200 or reply.error_in_stream:
            return answered, reply
        answered.append(reply.id)
    raise AssertionError("the disk never was full")


def _served(gateway: Gateway, **fields: Any) -> Reply | None:
    """Ask once; return the reply if it is one."""
    reply = gateway.ask(**fields)
    return reply if reply.status == 200 and not reply.error_in_stream else None


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_when_the_disk_is_full_replies_are_withheld_and_later_given_again(on_small_disk, is_stream):
    gateway = on_small_disk
    gateway.ask()
    _fill_disk(gateway)
    answered, refused = _until_refused(gateway, stream=is_stream)
    assert refused.error["code"] == "store_unavailable"
    if is_stream:
        assert b"[DONE]" not in refused.body
    else:
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert b"scripted upstream" not in refused.body, "the reply must be withheld"
    # The log may come a moment after the reply.
    poll(lambda: "entry not written" in gateway.log, what="a lost row to be told of")
    assert refused.id in gateway.log
    _free_disk(gateway)
    again = poll(lambda: _served(gateway, stream=is_stream), what="serving again")
    poll(lambda: not list(gateway.data_dir.glob("spool-*")), what="entering what was spooled")
    rows = {row.id for row in gateway.entries()}
    assert {*answered, again.id} <= rows
    assert refused.id not in rows


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
def test_while_the_disk_is_full_the_gateway_lives(on_small_disk):
    gateway = on_small_disk
    gateway.ask()
    _fill_disk(gateway)
    _until_refused(gateway)
    assert gateway.get("/health").status == 200
    assert gateway.metric("groxy_requests_total", "store_unavailable") >= 1
    assert gateway.get("/v1/models", gateway.auth).status == 200
    assert gateway.ask().status == 503, "nothing is served that cannot be booked"
    _free_disk(gateway)
    poll(lambda: _served(gateway), what="serving again")
    assert gateway.account_states() == {"active": 1}, "no fault of the account's"


async def test_replies_wait_while_another_process_holds_the_database(gateway):
    async with calling(gateway) as caller:
        with closing(sqlite3.connect(gateway.data_dir / "groxy.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(caller.ask())
            await asyncio.sleep(0.5)
            assert not waiting.done(), "a reply left before its row was committed"
            other.execute("COMMIT")
            reply = await waiting
    assert reply.status == 200
    assert gateway.entry(reply.id).outcome == "ok"


async def test_a_stream_shows_its_text_but_not_its_end_while_the_database_is_held(gateway):
    async with calling(gateway) as caller:
        with closing(sqlite3.connect(gateway.data_dir / "groxy.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with caller.opened(stream=True) as reply:
                seen = b""
                while b"upstream" not in seen:
                    seen += await reply.content.readany()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        seen += await reply.content.readany()
                assert b"[DONE]" not in seen
                other.execute("COMMIT")
                rest = await reply.read()
    assert rest.endswith(b"data: [DONE]\n\n")


def test_every_kind_of_request_has_exactly_one_row(gateway, seat):
    good = gateway.ask()
    streamed = gateway.ask(stream=True)
    unknown = gateway.ask(model="nobody-has-this")
    wrong = gateway.ask(temperature=9)
    seat.will(fails(500))
    failed = gateway.ask()
    rows = {row.id: row for row in gateway.entries()}
    outcomes = {
        good.id: ("ok", 1, TICKS),
        streamed.id: ("ok", 1, TICKS),
        unknown.id: ("model_not_found", 0, 0),
        wrong.id: ("invalid_value", 0, 0),
        failed.id: ("upstream_unavailable", 1, 0),
    }
    found = {name: (row.outcome, row.attempts, row.cost_ticks) for name, row in rows.items()}
    assert found == outcomes


def test_what_never_was_a_request_has_no_row(gateway):
    gateway.get("/v1/models", gateway.auth)
    gateway.get("/health")
    gateway.request("POST", "/v1/chat/completions", b"{}", {"Authorization": "Bearer wrong"})
    gateway.get("/nowhere")
    assert gateway.entries() == []


def test_a_row_says_who_asked_what_and_who_served(gateway):
    began_ms = time.time() * 1000
    row: RequestEntry = gateway.entry(gateway.ask(model="x-ai/grok-4").id)
    (attempt,) = gateway.attempts(row.id)
    assert (row.model_asked, row.model_served, row.account_id) == ("x-ai/grok-4", "grok-4.3", "a")
    assert row.model_sent == attempt.model_sent == "grok-4.3"
    assert abs(row.at_ms - began_ms) < 5_000
    assert 0 < row.first_event_us <= row.duration_us
    assert 0 < attempt.first_event_us <= attempt.duration_us


async def test_rows_of_many_requests_at_once_are_all_there(gateway):
    async with calling(gateway) as caller:
        replies = await asyncio.gather(
            *(caller.ask(f"n{n}", stream=n % 2 == 0) for n in range(150))
        )
    assert {row.id for row in gateway.entries()} == {reply.id for reply in replies}


def test_the_log_has_one_line_for_each_request(gateway):
    ids = [gateway.ask().id for _ in range(3)]
    lines = poll(lambda: _request_lines(gateway, 3), what="the lines")
    assert [line["request"] for line in lines] == ids
    assert {line["outcome"] for line in lines} == {"ok"}


def _request_lines(gateway: Gateway, count: int) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in gateway.log.splitlines()]
    found = [line for line in lines if line["event"] == "request"]
    return found if len(found) == count else []
