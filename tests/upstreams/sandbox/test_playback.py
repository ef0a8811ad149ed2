"""Steps played in time."""

import asyncio
import threading
import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.plan import CUT, Wait, Work
from groxy.upstreams.sandbox.playback import Counts, Playback


async def _played(steps, **options):
    return [chunk async for chunk in Playback(steps, Counts(), **options)]


async def test_bytes_without_a_wait_come_as_one():
    assert await _played([b"a", b"b", b"c"]) == [b"abc"]
    assert await _played([b"a", b"b"], joins=False) == [b"a", b"b"]
    assert await _played([]) == []


async def test_a_wait_parts_them():
    started = time.monotonic()
    assert await _played([b"a", b"b", Wait(0.05), b"c"]) == [b"ab", b"c"]
    assert 0.045 <= time.monotonic() - started < 1


async def test_waits_too_short_to_sleep_add_up():
    started = time.monotonic()
    chunks = await _played([step for _ in range(200) for step in (Wait(0.0005), b"x")])
    assert b"".join(chunks) == b"x" * 200
    assert 0.09 <= time.monotonic() - started < 1


async def test_a_reader_that_was_held_up_is_caught_up_with_but_not_flooded():
    playback = Playback([step for _ in range(5) for step in (Wait(0.2), b"x")], Counts())
    await anext(playback)
    time.sleep(0.6)
    started = time.monotonic()
    assert b"".join([chunk async for chunk in playback]) == b"xxxx"
    assert time.monotonic() - started > 0.3


async def test_a_cut_is_a_broken_stream_after_what_came_before():
    counts = Counts()
    playback = Playback([b"a", b"b", CUT], counts)
    assert await anext(playback) == b"ab"
    with pytest.raises(GroxyError) as caught:
        await anext(playback)
    assert caught.value.kind is ErrorKind.STREAM_BROKEN
    assert (counts.open_replies, counts.abandoned) == (0, 0)
    with pytest.raises(StopAsyncIteration):
        await anext(playback)


async def test_a_long_answer_lets_others_have_their_turn():
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(other())
        chunks = await _played(b"x" * 1000 for _ in range(1000))
        task.cancel()
    assert sum(map(len, chunks)) == 1_000_000
    assert max(map(len, chunks)) < 20_000
    assert turns > 20


async def test_closing_stops_it_and_counts_as_abandoned_once():
    counts = Counts()
    playback = Playback([b"a", Wait(60), b"b"], counts)
    assert counts.open_replies == 1
    assert await anext(playback) == b"a"
    playback.close()
    playback.close()
    assert (counts.open_replies, counts.abandoned) == (0, 1)
    assert [chunk async for chunk in playback] == []


async def test_one_that_was_played_to_its_end_is_not_abandoned():
    counts = Counts()
    playback = Playback([b"a"], counts)
    assert [chunk async for chunk in playback] == [b"a"]
    playback.close()
    assert (counts.open_replies, counts.abandoned) == (0, 0)


async def test_steps_are_made_only_as_they_are_played():
    made = []

    def steps():
        for number in range(5):
            made.append(number)
            yield Wait(0.01)
            yield b"x"

    playback = Playback(steps(), Counts())
    await anext(playback)
    assert len(made) < 4


async def test_work_is_done_in_a_thread_and_its_steps_are_played_in_its_place():
    names = []

    def run():
        names.append(threading.current_thread().name)
        return [b"b", Wait(0.0), b"c"]

    playback = Playback([b"a", Work(run), b"d"], Counts())
    assert names == []
    assert b"".join([piece async for piece in playback]) == b"abcd"
    assert names != [threading.current_thread().name]
    assert len(names) == 1


async def test_work_that_is_not_wanted_any_more_is_not_begun():
    counts = Counts()
    playback = Playback([Work(lambda: pytest.fail("begun"))], counts)
    playback.close()
    assert [piece async for piece in playback] == []
    assert counts.abandoned == 1
