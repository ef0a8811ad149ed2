import asyncio

import pytest

from groxy.state import _feed as module
from groxy.state._feed import NOWHERE, Cursor, Feed
from groxy.state._redis_server import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
async def server(redis):
    redis.ask("FLUSHALL")
    connected = RedisServer.connect(redis.url)
    yield connected
    await connected.close()


@pytest.fixture
def feed(server) -> Feed:
    return Feed(server, "test:ends", has_ends=True)


@pytest.fixture
def bounded(server) -> Feed:
    return Feed(server, "test:bounded", has_ends=False)


async def test_a_cursor_survives_being_written_down():
    assert Cursor.read(str(Cursor("abc", 17))) == Cursor("abc", 17)
    assert Cursor.read("") == NOWHERE


async def test_an_empty_map_has_a_cursor_too(feed):
    changes = await feed.changes_since(NOWHERE)

    assert (changes.cursor, changes.is_whole, changes.values) == (NOWHERE, True, {})


async def test_a_name_that_was_taken_away_is_told_to_who_knew_it(feed):
    await feed.put_for("a", b"1", left_s=60)
    await feed.put_for("b", b"2", left_s=60)
    known = await feed.changes_since(NOWHERE)
    await feed.take_away("a")
    news = await feed.changes_since(known.cursor)

    assert (known.is_whole, known.values) == (True, {b"a": b"1", b"b": b"2"})
    assert (news.is_whole, news.values) == (False, {b"a": b""})


async def test_taking_away_what_is_not_there_is_no_change(feed):
    await feed.put_for("a", b"1", left_s=60)
    await feed.take_away("a")
    known = await feed.changes_since(NOWHERE)

    await feed.take_away("a")
    await feed.take_away("b")

    assert (await feed.changes_since(known.cursor)).cursor == known.cursor


async def test_that_a_name_was_taken_away_is_forgotten_in_the_end(redis, feed, monkeypatch):
    monkeypatch.setattr(module, "GONE_KEPT_S", 0.05)
    await feed.put_for("a", b"1", left_s=60)
    await feed.put_for("b", b"2", left_s=60)
    await feed.take_away("a")
    assert redis.ask("HLEN", "test:ends:values") == b":2\r\n"
    await asyncio.sleep(0.1)

    assert (await feed.changes_since(NOWHERE)).values == {b"b": b"2"}
    assert redis.ask("HLEN", "test:ends:values") == b":1\r\n"


@pytest.mark.parametrize("count", [4, 5, 6, 10, 11])
async def test_what_does_not_fit_on_a_page_is_read_in_several(bounded, monkeypatch, count):
    monkeypatch.setattr(module, "_PAGE", 5)
    await bounded.put({f"n{n}": str(n) for n in range(count)}, limit=100, ttl_s=60)

    changes = await bounded.changes_since(NOWHERE)

    assert list(changes.values) == [f"n{n}".encode() for n in range(count)]
    assert (await bounded.changes_since(changes.cursor)).values == {}


async def test_a_map_that_begins_anew_between_two_pages_is_read_from_its_start(
    redis, server, monkeypatch
):
    monkeypatch.setattr(module, "_PAGE", 5)
    reading = RedisServer.connect(redis.url)
    read, pages = Feed(reading, "test:bounded", has_ends=False), 0
    write = Feed(server, "test:bounded", has_ends=False)
    await write.put({f"old {n}": "x" for n in range(12)}, limit=100, ttl_s=60)
    run = reading.run

    async def lose_memory_in_between(*args):
        nonlocal pages
        pages += 1
        if pages == 2:
            redis.ask("FLUSHALL")
            await write.put({f"new {n}": "x" for n in range(7)}, limit=100, ttl_s=60)
        return await run(*args)

    monkeypatch.setattr(reading, "run", lose_memory_in_between)
    changes = await read.changes_since(NOWHERE)
    await reading.close()

    assert changes.is_whole
    assert list(changes.values) == [f"new {n}".encode() for n in range(7)]


async def test_what_is_written_while_pages_are_read_does_not_keep_the_reader(bounded, monkeypatch):
    monkeypatch.setattr(module, "_PAGE", 5)
    await bounded.put({f"n{n}": "x" for n in range(12)}, limit=1000, ttl_s=60)
    run, pages = bounded._server.run, 0

    async def write_more_in_between(script, *args):
        nonlocal pages
        if script is module._READ:
            pages += 1
            more = {f"more {pages} {n}": "x" for n in range(10)}
            await bounded.put(more, limit=1000, ttl_s=60)
        return await run(script, *args)

    monkeypatch.setattr(bounded._server, "run", write_more_in_between)
    changes = await bounded.changes_since(NOWHERE)

    assert pages == 5  # 22 names were there when the first page was read
    assert {f"n{n}".encode() for n in range(12)} <= set(changes.values)


async def test_the_oldest_make_room(bounded):
    await bounded.put({"a": "1", "b": "2", "c": "3"}, limit=3, ttl_s=60)
    await bounded.put({"a": "4", "d": "5"}, limit=3, ttl_s=60)

    changes = await bounded.changes_since(NOWHERE)

    assert list(changes.values.items()) == [(b"c", b"3"), (b"a", b"4"), (b"d", b"5")]


async def test_a_map_without_its_head_begins_anew(redis, feed):
    await feed.put_for("a", b"1", left_s=60)
    known = await feed.changes_since(NOWHERE)
    redis.ask("DEL", "test:ends:head")
    assert (await feed.changes_since(known.cursor)).values == {}

    await feed.put_for("b", b"2", left_s=60)

    changes = await feed.changes_since(known.cursor)
    assert (changes.is_whole, changes.values) == (True, {b"b": b"2"})


async def test_a_server_that_went_back_in_time_is_read_from_its_start(feed):
    await feed.put_for("a", b"1", left_s=60)
    known = await feed.changes_since(NOWHERE)

    changes = await feed.changes_since(Cursor(known.cursor.epoch, known.cursor.seq + 5))

    assert (changes.is_whole, changes.values) == (True, {b"a": b"1"})


async def test_entries_that_end_never_and_those_that_end_last_together(redis, feed):
    await feed.put_for("a", b"1", left_s=float("inf"))
    await feed.put_for("b", b"2", left_s=1e300)
    await feed.put_for("c", b"3", left_s=60)

    assert redis.ask("PTTL", "test:ends:values") == b":-1\r\n"
    assert set((await feed.changes_since(NOWHERE)).values) == {b"a", b"b", b"c"}
