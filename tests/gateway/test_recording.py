"""A recording gives every follower the same bytes, and its end only when it may be seen."""

import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.recording import Follower, Recording

DOWN = GroxyError(ErrorKind.STORE_DOWN, "The books are away.")
STREAM = [(b"content-type", b"text/event-stream")]


def recording_of(max_bytes=1_000):
    return Recording(
        "replay_1", owner="key-1", request_id="req_1", fingerprint=b"f", max_bytes=max_bytes
    )


async def read_all(follower: Follower) -> bytes:
    pieces, is_last = [], False
    while not is_last:
        piece, is_last = await follower.read()
        pieces.append(piece)
    return b"".join(pieces)


async def until_still() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_every_follower_gets_everything_from_the_first_byte():
    recording = recording_of()
    early = asyncio.create_task(read_all(recording.follow()))
    await recording.start(200, STREAM)
    await recording.send(b"one ", is_last=False)
    await until_still()
    late = asyncio.create_task(read_all(recording.follow()))
    await recording.send(b"two ", is_last=False)
    await recording.send(b"three", is_last=True)
    recording.end()
    assert await early == await late == b"one two three" == recording.body
    assert await read_all(recording.follow()) == b"one two three"


async def test_a_stream_is_passed_on_live_but_for_its_end():
    recording = recording_of()
    follower = recording.follow()
    await recording.start(200, STREAM)
    await recording.send(b"one", is_last=False)
    await recording.send(b"end", is_last=True)
    assert await follower.head() == (200, STREAM)
    assert await follower.read() == (b"one", False)
    rest = asyncio.create_task(follower.read())
    await until_still()
    assert not rest.done()
    recording.end()
    assert await rest == (b"end", True)


async def test_a_whole_reply_that_the_books_do_not_have_becomes_their_error():
    recording = recording_of()
    first, second = recording.follow(), recording.follow()
    await recording.start(200, [])
    await recording.send(b"paid for", is_last=True)
    recording.fail(DOWN)
    for follower in (first, second):
        with pytest.raises(GroxyError) as caught:
            await follower.head()
        assert caught.value.kind is ErrorKind.STORE_DOWN
        assert caught.value is not DOWN


async def test_a_stream_that_the_books_do_not_have_ends_in_its_own_words():
    recording = recording_of()
    recording.stream_error = lambda error: b"error: " + error.message.encode()
    await recording.start(200, STREAM)
    await recording.send(b"one ", is_last=False)
    await recording.send(b"end", is_last=True)
    recording.fail(DOWN)
    assert await read_all(recording.follow()) == b"one error: The books are away."
    assert not recording.is_broken


async def test_a_stream_without_words_for_it_is_left_without_an_end():
    recording = recording_of()
    await recording.start(200, STREAM)
    await recording.send(b"one", is_last=False)
    recording.fail(DOWN)
    assert recording.is_broken
    assert await recording.follow().head() == (200, STREAM)


async def test_what_is_too_large_reaches_those_who_listen_and_nobody_else():
    recording = recording_of(max_bytes=10)
    reading = asyncio.create_task(read_all(recording.follow()))
    await recording.start(200, STREAM)
    for _ in range(5):
        await recording.send(b"1234", is_last=False)
        await until_still()
    await recording.send(b"end", is_last=True)
    recording.end()
    assert await reading == b"1234" * 5 + b"end"
    assert recording.is_too_large
    with pytest.raises(GroxyError) as caught:
        recording.follow()
    assert caught.value.code == "idempotency_result_too_large"


async def test_memory_is_bounded_by_waiting_for_slow_followers():
    recording = recording_of(max_bytes=10)
    slow = recording.follow()
    await recording.start(200, STREAM)
    await recording.send(b"12345678", is_last=False)
    sending = asyncio.create_task(recording.send(b"12345678", is_last=False))
    await until_still()
    assert not sending.done()
    assert await slow.read() == (b"12345678", False)
    await sending
    assert await slow.read() == (b"12345678", False)


async def test_nobody_waits_for_a_follower_that_left():
    recording = recording_of(max_bytes=10)
    slow = recording.follow()
    await recording.start(200, STREAM)
    sending = asyncio.create_task(recording.send(b"1234567890123", is_last=False))
    await until_still()
    assert not sending.done()
    recording.leave(slow)
    await sending


async def test_a_follower_that_is_stopped_waits_for_the_end_that_is_told_to_all():
    recording = recording_of()
    follower = asyncio.create_task(recording.follow().head())
    await until_still()
    follower.cancel()
    await until_still()
    recording.fail(DOWN)
    with pytest.raises(GroxyError):
        await follower


async def test_a_follower_that_is_stopped_twice_ends():
    follower = asyncio.create_task(recording_of().follow().head())
    await until_still()
    follower.cancel()
    await until_still()
    follower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower


async def test_one_entry_is_taken_over_and_no_second_one():
    recording = recording_of()

    async def enter(rows):
        return None

    refused = GroxyError(ErrorKind.REFUSED, "No.")
    assert recording.postpone(enter, refused)
    assert not recording.postpone(enter, None)
    assert recording.reason is ErrorKind.REFUSED
