import asyncio

import pytest

from groxy.cli.in_process import HERE, InProcess
from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.http import Outgoing


def outgoing(path="/admin/api/x%2Fy?a=1", body=b"", method="GET"):
    return Outgoing(url=HERE + path, headers={"Accept": "text/plain"}, body=body, method=method)


async def start(send, status=200):
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"X-Of", b"the test")]}
    )


async def test_a_request_arrives_whole_and_so_does_its_reply():
    seen: dict = {}

    async def app(scope, receive, send):
        seen.update(scope, body=(await receive())["body"])
        await start(send, 201)
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with asyncio.TaskGroup() as tasks:
        reply = await InProcess(app, tasks).send(outgoing(body=b"hello", method="POST"))
        body = await reply.read(100)

    assert (reply.status, dict(reply.headers), body) == (201, {"x-of": "the test"}, b"one two")
    assert (seen["method"], seen["path"], seen["query_string"]) == (
        "POST",
        "/admin/api/x/y",
        b"a=1",
    )
    assert (b"content-length", b"5") in seen["headers"]
    assert seen["body"] == b"hello"


async def test_pieces_come_as_they_are_made_and_wait_for_their_reader():
    made = []

    async def app(scope, receive, send):
        await start(send)
        for number in range(100):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            made.append(number)
        await send({"type": "http.response.body", "body": b""})

    async with asyncio.TaskGroup() as tasks:
        reply = await InProcess(app, tasks).send(outgoing())
        chunks = reply.chunks()
        assert await anext(chunks) == b"0"
        await asyncio.sleep(0.01)
        assert len(made) < 30, "nobody has read them yet"
        rest = [chunk async for chunk in chunks]

    assert len(rest) == 99


async def test_a_reply_without_its_end_is_broken():
    async def app(scope, receive, send):
        await start(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async with asyncio.TaskGroup() as tasks:
        reply = await InProcess(app, tasks).send(outgoing())
        with pytest.raises(GroxyError) as caught:
            await reply.read(100)

    assert caught.value.kind is ErrorKind.STREAM_BROKEN


async def test_closing_a_reply_ends_the_work_for_it():
    ended = asyncio.Event()

    async def app(scope, receive, send):
        try:
            await start(send)
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.TaskGroup() as tasks:
        reply = await InProcess(app, tasks).send(outgoing())
        reply.close()

    assert ended.is_set()
