"""Streams as proxies and clients need them: alive when silent, never buffered, never mixed up."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lanes import Lane, make_lanes, wait_for_lists
from tests.e2e.running import (
    Gateway,
    Reply,
    account_toml,
    calling,
    chat_body,
    config_toml,
    poll,
    running,
)
from tests.e2e.scripted import (
    TEXT,
    TICKS,
    Call,
    Seat,
    Wire,
    chunk_of,
    chunks_of,
    cut,
    end_well,
    fails,
    silent,
    stall,
    streams,
    waits,
)

pytestmark = pytest.mark.e2e

_KEEPALIVE_S = 0.2
_SETTINGS = f"""
[streams]
keepalive_s = {_KEEPALIVE_S}
[attempts]
first_event_timeout_s = 3.0
idle_timeout_s = 3.0
"""
_KEEPALIVE = b": keepalive\n\n"


@pytest.fixture(scope="module")
def lanes(upstream) -> list[Lane]:
    return make_lanes(upstream, 20, name="stream")


@pytest.fixture(scope="module")
def gateway(lanes, tmp_path_factory) -> Iterator[Gateway]:
    config = config_toml(*(lane.accounts_toml() for lane in lanes), extra=_SETTINGS)
    with running(Gateway(folder=tmp_path_factory.mktemp("streams"), config=config)) as gateway:
        wait_for_lists(gateway, lanes)
        yield gateway


@pytest.fixture(scope="module")
def _deal(lanes) -> Iterator[Lane]:
    return iter(lanes)


@pytest.fixture
def lane(_deal):
    return next(_deal)


def _slowly(*, each_s: float, words: int) -> object:
    """Stream so many words with a pause before each, every event in several pieces."""

    async def behave(_call: Call, wire: Wire) -> None:
        await wire.begin_stream()
        for event in chunks_of(tuple(f"w{number} " for number in range(words))):
            data = b"data: " + json.dumps(event).encode() + b"\n\n"
            third = len(data) // 3
            for piece in (data[:third], data[third : 2 * third], data[2 * third :]):
                await asyncio.sleep(each_s / 3)
                await wire.chunk(piece)
        await end_well(wire)

    return behave


def test_headers_keep_proxies_from_holding_a_stream_back(gateway, lane):
    body = json.dumps(chat_body(model=lane.model, stream=True)).encode()
    headers = gateway.auth | {"Accept-Encoding": "gzip, br, zstd"}
    reply = gateway.request("POST", "/v1/chat/completions", body, headers)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-accel-buffering"] == "no"
    assert "no-transform" in reply.headers["cache-control"]
    assert "content-length" not in reply.headers
    assert "content-encoding" not in reply.headers
    assert reply.text == TEXT


def test_a_silent_stream_is_kept_alive_before_its_first_event(gateway, lane):
    lane.seats[0].will(waits(0.8))
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.body.startswith(_KEEPALIVE)
    assert 1 <= reply.comments <= 4
    assert reply.text == TEXT
    assert reply.ends_well


def test_a_silent_stream_is_kept_alive_between_events_only(gateway, lane):
    lane.seats[0].will(_slowly(each_s=0.6, words=3))
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.comments >= 2
    assert reply.text == "w0 w1 w2 "
    for block in reply.body.removesuffix(b"\n\n").split(b"\n\n"):
        assert block == _KEEPALIVE.strip() or block.startswith(b"data: "), block
        assert b"\n" not in block


def test_a_lively_stream_gets_no_comments(gateway, lane):
    lane.seats[0].will(_slowly(each_s=0.06, words=10))
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.comments == 0


def test_a_whole_reply_gets_no_comments(gateway, lane):
    lane.seats[0].will(waits(0.8))
    reply = gateway.ask(model=lane.model)
    assert reply.json["choices"][0]["message"]["content"] == TEXT


def test_another_account_may_try_after_comments_have_left(gateway, lane):
    lane.seats[0].will(waits(0.5, fails(500)))
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.comments >= 1
    assert (reply.text, reply.ends_well) == (TEXT, True)
    assert lane.calls == [1, 1]
    row = gateway.entry(reply.id)
    assert (row.outcome, row.attempts, row.cost_ticks) == ("ok", 2, TICKS)


def test_another_account_may_try_after_a_silence_that_was_too_long(gateway, lane):
    lane.seats[0].will(silent)
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.comments >= 3
    assert (reply.text, reply.ends_well) == (TEXT, True)


def test_an_error_after_comments_comes_in_the_stream(gateway, lane):
    for seat in lane.seats:
        seat.will(waits(0.5, fails(400, {"error": {"message": "Too odd."}})))
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.status == 200
    assert reply.comments >= 1
    assert reply.error["code"] == "invalid_value"
    assert b"[DONE]" not in reply.body
    row = gateway.entry(reply.id)
    assert (row.outcome, row.status, row.cost_ticks) == ("invalid_value", 400, 0)


def test_the_first_event_leaves_before_the_second_has_come(gateway, lane):
    lane.seats[0].will(_slowly(each_s=0.8, words=2))
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        _send_chat(connection, gateway, model=lane.model, stream=True)
        seen = b""
        while b'"w0 "' not in seen:
            seen += connection.recv(65536)
        assert b'"w1 "' not in seen


def test_a_stream_by_default_is_a_setting(tmp_path, upstream):
    config = config_toml(account_toml("a", upstream.seat("d")), extra="[features]\nstream = true")
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        assert gateway.ask().ends_well
        assert gateway.ask(stream=False).json["object"] == "chat.completion"


def _send_chat(connection: socket.socket, gateway: Gateway, **fields: Any) -> None:
    body = json.dumps(chat_body(**fields)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


# ------------------------------------------------------------------------------ slow readers


_WORD = "word " * 200
_WORDS = 40_000


@pytest.fixture(scope="module")
def flood(upstream):
    """An upstream that says 40 MB as fast as it can."""
    return upstream.seat("flood")


@pytest.fixture
def flooded(flood, tmp_path) -> Iterator[Gateway]:
    event = b"data: " + json.dumps(chunk_of({"content": _WORD})).encode() + b"\n\n"

    async def behave(_call: Call, wire: Wire) -> None:
        await wire.begin_stream()
        await wire.event(chunks_of()[0])
        for _ in range(_WORDS):
            await wire.chunk(event)
        await end_well(wire)

    flood.clear()
    settings = "[attempts]\nidle_timeout_s = 1.5\n[streams]\nkeepalive_s = 0.1"
    config = config_toml(account_toml("a", flood), extra=settings)
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        gateway.ask()
        flood.clear()
        flood.always(behave)
        yield gateway


def _memory_mb(gateway: Gateway) -> float:
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _slow_connection(gateway: Gateway) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", gateway.port))
    _send_chat(connection, gateway, stream=True)
    return connection


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_readers_that_do_not_read_hold_the_upstream_back_and_not_the_memory(flooded, flood):
    before = _memory_mb(flooded)
    connections = [_slow_connection(flooded) for _ in range(5)]
    try:
        poll(lambda: len(flood.calls) == 5, what="all calls")
        poll(lambda: _stands_still(flood), what="a standstill")
        assert not any(call.ended.is_set() for call in flood.calls), "it took everything"
        assert _memory_mb(flooded) - before < 5 * 20
        assert flooded.get("/v1/models", flooded.auth).status == 200
    finally:
        for connection in connections:
            connection.close()


def _stands_still(seat: Seat) -> bool:
    before = [call.sent_bytes for call in seat.calls]
    time.sleep(0.2)
    return before == [call.sent_bytes for call in seat.calls] and all(before)


def test_a_reader_that_stopped_is_given_up_and_the_account_is_not_blamed(flooded, flood):
    for _ in range(3):
        flood.calls.clear()
        with _slow_connection(flooded):
            poll(lambda: flood.calls, what="the call")
            poll(flood.calls[0].gone.is_set, what="giving up")
    rows = poll(lambda: _three(flooded), what="the rows")
    assert {row.outcome for row in rows} == {"client_disconnected"}
    assert flooded.account_states() == {"active": 1}


def _three(gateway: Gateway) -> list:
    # The stream with which the fixture warmed up ended well.
    rows = [row for row in gateway.entries() if row.is_stream and row.outcome != "ok"]
    return rows if len(rows) == 3 else []


def test_a_reader_that_is_only_slow_gets_everything(flooded):
    with _slow_connection(flooded) as connection:
        time.sleep(0.7)  # a pause that fills every buffer, and is shorter than the idle timeout
        received = 0
        tail = b""
        while not tail.endswith(b"0\r\n\r\n"):
            piece = connection.recv(1024 * 1024)
            assert piece, "it ended too soon"
            received += len(piece)
            tail = (tail + piece)[-64:]
    assert received > len(_WORD) * _WORDS
    assert b"[DONE]" in tail
    assert b": keepalive" not in tail


# -------------------------------------------------------------------------------- many at once


async def test_two_hundred_streams_at_once_all_complete_and_none_is_mixed_up(tmp_path, upstream):
    seat = upstream.seat("many")

    async def behave(call: Call, wire: Wire) -> None:
        mark = call.json["messages"][0]["content"]
        await wire.begin_stream()
        for number, event in enumerate(chunks_of(tuple(f"{mark}." for _ in range(20)))):
            await wire.event(event)
            if number % 5 == 0:
                await asyncio.sleep(0.05)
        await end_well(wire)

    seat.always(behave)
    config = config_toml(account_toml("a", seat), extra='[logging]\nlevel = "warning"')
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        async with calling(gateway) as caller:
            asked = [caller.ask(f"m{number}", stream=True) for number in range(200)]
            replies: list[Reply] = await asyncio.gather(*asked)
        for number, reply in enumerate(replies):
            assert reply.text == f"m{number}." * 20
            assert reply.ends_well
        rows = gateway.entries()
        assert {row.id for row in rows} == {reply.id for reply in replies}
        assert {row.outcome for row in rows} == {"ok"}
        assert gateway.metric("groxy_open_streams") == 0


async def test_one_stream_that_breaks_does_not_touch_the_others(gateway, lane):
    good, bad = lane.seats[0], streams(*chunks_of(), then=cut)
    good.will(bad, *(waits(0.2) for _ in range(9)))
    async with calling(gateway) as caller:
        replies = await asyncio.gather(
            *(caller.ask(model=lane.model, stream=True) for _ in range(10))
        )
    assert sorted(reply.ends_well for reply in replies) == [False, *[True] * 9]


async def test_a_stream_that_is_open_when_the_gateway_stops_is_finished(tmp_path, upstream):
    seat = upstream.seat("stopping")
    seat.will(_slowly(each_s=0.2, words=5))
    with running(Gateway(folder=tmp_path, config=config_toml(account_toml("a", seat)))) as gateway:
        async with calling(gateway) as caller, caller.opened(stream=True) as reply:
            first = await reply.content.readany()
            assert gateway.process is not None
            gateway.process.terminate()
            body = first + await reply.read()
        assert body.endswith(b"data: [DONE]\n\n")
        assert gateway.process.wait(10) == 0
        assert [row.outcome for row in gateway.entries()] == ["ok"]


async def test_a_stream_that_outlives_the_grace_is_told_so_and_entered(tmp_path, upstream):
    seat = upstream.seat("stopped")
    seat.will(streams(*chunks_of(), then=stall))
    config = config_toml(account_toml("a", seat), extra="[server]\nshutdown_grace_s = 0.3")
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        async with calling(gateway) as caller, caller.opened(stream=True) as reply:
            body = await reply.content.readany()
            assert gateway.process is not None
            gateway.process.terminate()
            body += await reply.read()
        answer = Reply(200, {"content-type": "text/event-stream"}, body)
        assert answer.error["type"] == "server_error"
        assert b"[DONE]" not in body
        assert gateway.process.wait(10) == 0
        (row,) = gateway.entries()
        assert (row.outcome, row.cost_ticks) == ("internal_error", 0)
        (attempt,) = gateway.attempts(row.id)
        assert attempt.output_tokens > 0
