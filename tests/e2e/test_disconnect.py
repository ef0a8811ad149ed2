"""Clients that leave: the upstream is told at once, and what was used stands in the books."""

import asyncio
import json
import time
from collections.abc import Iterator

import aiohttp
import pytest

from groxy.store.entries import AttemptEntry, RequestEntry
from tests.e2e.running import (
    Gateway,
    account_toml,
    calling,
    chat_body,
    config_toml,
    poll_async,
    running,
)
from tests.e2e.scripted import (
    USAGE,
    Behaviour,
    Call,
    Seat,
    Wire,
    chunk_of,
    chunks_of,
    silent,
    stall,
    streams,
)

pytestmark = pytest.mark.e2e

_GONE = "client_disconnected"
_ABORT_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def seat(upstream):
    return upstream.seat("left")


@pytest.fixture(scope="module")
def gateway(seat, tmp_path_factory) -> Iterator[Gateway]:
    config = config_toml(account_toml("first", seat))
    with running(Gateway(folder=tmp_path_factory.mktemp("left"), config=config)) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _no_old_calls(seat) -> None:
    seat.clear()


async def _leave(gateway: Gateway, seat: Seat, *, after_events: int, **fields: object) -> float:
    """Ask, read so many events, hang up; return the seconds until the upstream noticed."""
    body = json.dumps(chat_body("One two three", **fields)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await poll_async(lambda: seat.calls, what="the call")
    for _ in range(after_events):
        await reader.readuntil(b"\n\n")
    call = seat.calls[0]
    assert not call.gone.is_set()
    left_at = time.monotonic()
    writer.transport.abort()
    await asyncio.to_thread(call.gone.wait, 10)
    assert call.gone.is_set(), "the upstream was never told"
    return call.gone_at - left_at


async def _booked(gateway: Gateway, before: int) -> tuple[RequestEntry, AttemptEntry]:
    """Return the rows of the request that was entered since there were `before`."""
    await poll_async(lambda: len(gateway.entries()) > before, what="the row")
    row = gateway.entries()[0]
    (attempt,) = gateway.attempts(row.id)
    return row, attempt


async def test_a_client_that_leaves_before_the_first_byte_ends_the_upstreams_work(gateway, seat):
    before = len(gateway.entries())
    seat.will(silent)
    assert await _leave(gateway, seat, after_events=0, stream=True) < _ABORT_WITHIN_S
    row, attempt = await _booked(gateway, before)
    assert (row.outcome, row.status, row.attempts) == (_GONE, 499, 1)
    assert attempt.outcome == _GONE
    assert row.input_tokens > 0, "the upstream has read the prompt"
    assert row.output_tokens == 0
    assert row.usage_estimated


@pytest.mark.parametrize("events", [1, 4])
async def test_a_client_that_leaves_in_mid_stream_ends_the_upstreams_work(gateway, seat, events):
    before = len(gateway.entries())
    seat.will(streams(*chunks_of(), then=stall))
    assert await _leave(gateway, seat, after_events=events, stream=True) < _ABORT_WITHIN_S
    row, attempt = await _booked(gateway, before)
    assert (row.outcome, attempt.outcome) == (_GONE, _GONE)
    assert row.output_tokens > 0
    assert row.cost_ticks > 0, "what was produced is owed"
    assert row.cost_ticks == attempt.cost_ticks
    assert row.first_event_us > 0


async def test_usage_that_the_upstream_reported_so_far_is_taken(gateway, seat):
    before = len(gateway.entries())
    told = chunk_of({"content": "x"}) | {"usage": USAGE}
    seat.will(streams(*chunks_of(), told, then=stall))
    await _leave(gateway, seat, after_events=7, stream=True)
    row, attempt = await _booked(gateway, before)
    assert (row.input_tokens, row.output_tokens, row.usage_estimated) == (20, 7, False)
    assert (row.cost_ticks, attempt.cost_source) == (USAGE["cost_in_usd_ticks"], "upstream")


async def test_a_client_that_leaves_during_a_whole_reply_ends_the_upstreams_work(gateway, seat):
    before = len(gateway.entries())
    seat.will(silent)
    assert await _leave(gateway, seat, after_events=0) < _ABORT_WITHIN_S
    row, attempt = await _booked(gateway, before)
    assert (row.outcome, attempt.outcome, row.is_stream) == (_GONE, _GONE, False)
    assert row.input_tokens > 0


async def test_a_client_that_leaves_while_a_whole_reply_arrives_ends_the_upstreams_work(
    gateway, seat
):
    before = len(gateway.entries())
    seat.will(_half_a_whole_reply())
    assert await _leave(gateway, seat, after_events=0) < _ABORT_WITHIN_S
    row, _ = await _booked(gateway, before)
    assert row.outcome == _GONE


def _half_a_whole_reply() -> Behaviour:
    async def behave(_call: Call, wire: Wire) -> None:
        await wire.head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
        await wire.raw(b'{"id": "x", "choices": [')
        await asyncio.sleep(60)

    return behave


async def test_a_client_that_leaves_while_its_body_is_read_asks_nobody(gateway, seat):
    before = len(gateway.entries())
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
        'Content-Length: 1000\r\n\r\n{"model": "grok-4.3",'
    )
    writer.write(head.encode())
    await writer.drain()
    await asyncio.sleep(0.1)  # nothing to poll for: the gateway must only not stumble
    writer.transport.abort()
    async with calling(gateway) as caller:
        assert (await caller.ask()).status == 200
    assert len(seat.calls) == 1
    assert len(gateway.entries()) == before + 1
    assert "crashed" not in gateway.log


async def test_leaving_never_counts_against_the_account(gateway, seat):
    for _ in range(4):
        seat.clear()
        seat.will(silent)
        await _leave(gateway, seat, after_events=0, stream=True)
    assert gateway.account_states() == {"active": 1}


async def test_a_client_that_left_is_not_tried_on_another_account(upstream, tmp_path):
    seats = [upstream.seat("left-1"), upstream.seat("left-2")]
    for seat in seats:
        seat.always(silent)
    accounts = [account_toml(f"a{at}", seat) for at, seat in enumerate(seats)]
    with running(Gateway(folder=tmp_path, config=config_toml(*accounts))) as gateway:
        async with calling(gateway) as caller:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.6):
                    await caller.ask(stream=True)
        row, _ = await _booked(gateway, 0)
        assert row.outcome == _GONE
        assert sum(len(seat.calls) for seat in seats) == 1


async def test_many_clients_that_leave_at_once_leave_nothing_behind(gateway, seat):
    """Fifty streams, all hung up in the middle: every upstream call ends, every row is there."""
    before = len(gateway.entries())
    seat.always(streams(*chunks_of(), then=stall))
    async with calling(gateway) as caller:

        async def begin() -> aiohttp.ClientResponse:
            reply: aiohttp.ClientResponse = await caller.opened(stream=True)
            await reply.content.readany()
            return reply

        replies = await asyncio.gather(*(begin() for _ in range(50)))
        assert gateway.metric("groxy_open_streams") == 50
        for reply in replies:
            reply.close()
        await poll_async(lambda: all(call.gone.is_set() for call in seat.calls), what="the end")
        await poll_async(lambda: len(gateway.entries()) == before + 50, what="all rows")
        assert {row.outcome for row in gateway.entries()[:50]} == {_GONE}
        assert gateway.metric("groxy_open_streams") == 0


def test_nothing_that_a_client_does_by_leaving_is_logged_as_an_error(gateway):
    levels = [json.loads(line)["level"] for line in gateway.log.splitlines()]
    assert set(levels) <= {"info"}
