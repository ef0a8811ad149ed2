import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.vigil import Deadlines, Vigil

LONG = 60.0


class Client:
    """A client that leaves when told to."""

    def __init__(self):
        self.left = asyncio.Event()

    async def start(self, status, headers):
        raise AssertionError("a vigil starts nothing")

    async def send(self, body, *, is_last):
        raise AssertionError("a vigil sends nothing")

    async def gone(self):
        await self.left.wait()


def vigil(client, break_silence=None, **deadlines):
    given = {"first_event_s": LONG, "idle_s": LONG, "total_s": LONG, "keepalive_s": LONG}
    return Vigil(client, Deadlines(**(given | deadlines)), break_silence)


async def forever():
    await asyncio.Event().wait()


async def kind_of(attempt):
    with pytest.raises(GroxyError) as caught:
        await attempt
    return caught.value.kind


async def test_work_that_is_done_in_time_returns_its_result():
    async def work():
        return "done"

    async with vigil(Client()) as watch:
        assert await watch.attempt(work()) == "done"


async def test_an_upstream_that_does_not_begin_is_too_late():
    async with vigil(Client(), first_event_s=0.3) as watch:
        assert await kind_of(watch.attempt(forever())) is ErrorKind.UPSTREAM_TIMEOUT
        assert not watch.is_over


async def test_an_upstream_that_falls_silent_is_too_late():
    async with vigil(Client(), idle_s=0.3) as watch:

        async def silent():
            watch.heard()
            await forever()

        assert await kind_of(watch.attempt(silent())) is ErrorKind.UPSTREAM_TIMEOUT


async def test_an_upstream_that_keeps_talking_is_not_too_late():
    async with vigil(Client(), idle_s=1.0, first_event_s=1.0) as watch:

        async def talking():
            for _ in range(10):
                await asyncio.sleep(0.12)
                watch.heard()
            return "said"

        assert await watch.attempt(talking()) == "said"


async def test_another_attempt_may_follow_a_late_one():
    async def work():
        return "second"

    async with vigil(Client(), first_event_s=0.3) as watch:
        await kind_of(watch.attempt(forever()))

        assert await watch.attempt(work()) == "second"


async def test_the_second_attempt_has_its_own_deadline():
    async with vigil(Client(), first_event_s=0.3) as watch:
        await kind_of(watch.attempt(forever()))

        assert await kind_of(watch.attempt(forever())) is ErrorKind.UPSTREAM_TIMEOUT


async def test_a_wait_before_an_attempt_is_no_upstream_that_does_not_begin():
    async with vigil(Client(), first_event_s=0.05) as watch:
        assert await watch.attempt(asyncio.sleep(0.5, "waited"), is_wait=True) == "waited"


async def test_a_wait_ends_when_the_time_for_all_is_up():
    async with vigil(Client(), total_s=0.3) as watch:
        assert await kind_of(watch.attempt(forever(), is_wait=True)) is ErrorKind.UPSTREAM_TIMEOUT
        assert watch.is_over


async def test_no_attempt_follows_when_the_time_for_all_is_up():
    async with vigil(Client(), total_s=0.3) as watch:
        await kind_of(watch.attempt(forever()))

        assert watch.is_over
        assert await kind_of(watch.attempt(forever())) is ErrorKind.UPSTREAM_TIMEOUT


async def test_a_client_that_leaves_ends_the_attempt_within_a_second():
    client = Client()
    loop = asyncio.get_running_loop()
    async with vigil(client) as watch:
        loop.call_later(0.05, client.left.set)
        began = loop.time()

        assert await kind_of(watch.attempt(forever())) is ErrorKind.CANCELLED
        assert loop.time() - began < 1
        assert watch.is_over


async def test_a_cancellation_by_somebody_else_goes_on():
    async def cancelled_outside():
        async with vigil(Client()) as watch:
            await watch.attempt(forever())

    task = asyncio.get_running_loop().create_task(cancelled_outside())
    await asyncio.sleep(0.05)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deadline_leaves_no_cancellation_behind_in_the_task():
    async with vigil(Client(), first_event_s=0.3) as watch:
        await kind_of(watch.attempt(forever()))

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_of_the_work_comes_out_as_it_is():
    async def failing():
        raise GroxyError(ErrorKind.BAD_REPLY, "odd")

    async with vigil(Client()) as watch:
        assert await kind_of(watch.attempt(failing())) is ErrorKind.BAD_REPLY


async def test_silence_is_broken_again_and_again():
    comments = []

    async def comment():
        comments.append(1)

    async with vigil(Client(), comment, keepalive_s=0.1, first_event_s=1.0) as watch:
        await kind_of(watch.attempt(forever()))

    assert 4 <= len(comments) <= 10


async def test_no_comment_comes_while_there_is_something_to_send():
    comments = []

    async def comment():
        comments.append(1)

    async with vigil(Client(), comment, keepalive_s=0.4) as watch:

        async def talking():
            for _ in range(20):
                await watch.sending()
                watch.sent()
                await asyncio.sleep(0.05)

        await watch.attempt(talking())

    assert comments == []


async def test_sending_waits_for_a_comment_that_is_on_its_way():
    order = []

    async def comment():
        await asyncio.sleep(0.2)
        order.append("comment")

    async with vigil(Client(), comment, keepalive_s=0.1) as watch:

        async def work():
            await asyncio.sleep(0.4)
            await watch.sending()
            order.append("piece")
            watch.sent()

        await watch.attempt(work())

    assert order[:2] == ["comment", "piece"]


async def test_nothing_is_left_running_afterwards():
    before = len(asyncio.all_tasks())
    async with vigil(Client()) as watch:
        await watch.attempt(asyncio.sleep(0.4))
    await asyncio.sleep(0)

    assert len(asyncio.all_tasks()) == before


async def test_silence_ends_an_attempt_when_its_time_is_up_and_not_at_a_later_look():
    loop = asyncio.get_running_loop()
    async with vigil(Client(), idle_s=1.0, first_event_s=30) as watch:

        async def silent_after_a_while():
            await asyncio.sleep(0.4)
            watch.heard()
            await forever()

        began = loop.time()
        assert await kind_of(watch.attempt(silent_after_a_while())) is ErrorKind.UPSTREAM_TIMEOUT
        assert 1.35 < loop.time() - began < 2.0


async def test_a_client_that_takes_nothing_any_more_is_given_up_as_gone():
    async with vigil(Client(), idle_s=0.4) as watch:

        async def stuck():
            watch.heard()
            await watch.sending()
            await forever()

        assert await kind_of(watch.attempt(stuck())) is ErrorKind.CANCELLED
        assert watch.has_client_left


async def test_time_in_which_the_client_was_slow_is_not_the_upstreams_silence():
    async with vigil(Client(), idle_s=1.0) as watch:

        async def slow_client():
            watch.heard()
            await watch.sending()
            await asyncio.sleep(0.6)
            watch.sent()
            await asyncio.sleep(0.6)
            return "done"

        assert await watch.attempt(slow_client()) == "done"


async def test_no_comment_is_sent_behind_a_piece_that_the_client_has_not_taken():
    comments = []

    async def comment():
        comments.append(1)

    async with vigil(Client(), comment, keepalive_s=0.1) as watch:

        async def stuck():
            await watch.sending()
            await asyncio.sleep(0.8)

        await watch.attempt(stuck())

    assert comments == []


async def test_a_comment_that_the_client_does_not_take_is_followed_by_none():
    comments = []

    async def comment():
        comments.append(1)
        await forever()

    async with vigil(Client(), comment, keepalive_s=0.1) as watch:
        await watch.attempt(asyncio.sleep(0.8))

    assert comments == [1]


async def test_a_client_whose_slowness_used_up_the_time_is_taken_for_gone():
    async with vigil(Client(), total_s=0.5) as watch:

        async def slow_client():
            while True:
                await watch.sending()
                await asyncio.sleep(0.1)
                watch.sent()

        assert await kind_of(watch.attempt(slow_client())) is ErrorKind.CANCELLED
        assert watch.has_client_left


async def test_a_client_that_reads_at_once_has_no_part_in_the_end_of_the_time():
    async with vigil(Client(), total_s=0.5) as watch:

        async def slow_upstream():
            while True:
                await asyncio.sleep(0.1)
                watch.heard()
                await watch.sending()
                watch.sent()

        assert await kind_of(watch.attempt(slow_upstream())) is ErrorKind.UPSTREAM_TIMEOUT
