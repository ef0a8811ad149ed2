"""The server's bounds: heads that are too long or too slow, slow bodies, and old clients."""

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager, suppress

import pytest

from groxy.cli import http_server
from groxy.cli.http_server import MAX_HEAD_BYTES, server_of
from tests.servers import free_port

ASK = b"POST /x HTTP/1.1\r\nHost: x\r\n"


async def echo(scope, receive, send):
    """Answer with the body, in two pieces of unknown length, after saying who asks."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    said = f"{scope['client'][0]} {scope['scheme']} {len(scope['headers'])} ".encode()
    await send({"type": "http.response.body", "body": said, "more_body": True})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(app=echo, host="127.0.0.1"):
    port = free_port()
    server = server_of(app, host, port)
    task = asyncio.ensure_future(server.run_here())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        server.stop()
        async with asyncio.timeout(10):
            await task


async def said(port, *pieces, host="127.0.0.1"):
    """Send pieces, and return all that comes until the connection ends or is silent."""
    reader, writer = await asyncio.open_connection(host, port)
    got = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        while chunk := await asyncio.wait_for(reader.read(65536), 1.0):
            got += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return got


async def test_a_request_is_answered_and_its_connection_kept():
    async with serving() as port:
        got = await said(port, (ASK + b"Content-Length: 2\r\n\r\nhi") * 2)

    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.count(b"\r\n2\r\nhi\r\n0\r\n\r\n") == 2
    assert b"connection: close" not in got
    assert b"server:" not in got


@pytest.mark.parametrize(
    "head",
    [
        ASK + b"A: " + b"k" * MAX_HEAD_BYTES,
        ASK + b"A: b\r\n" * (MAX_HEAD_BYTES // 6 + 1),
        b"GET /" + b"x" * MAX_HEAD_BYTES,
    ],
    ids=["one header", "many headers", "the address"],
)
async def test_a_head_without_end_is_refused(head):
    async with serving() as port:
        got = await said(port, *(head[at : at + 4096] for at in range(0, len(head) + 1, 4096)))

    top, _, body = got.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 431")
    assert json.loads(body)["error"]["code"] == "headers_too_large"


async def test_a_long_head_is_read():
    async with serving() as port:
        got = await said(port, ASK + b"A: " + b"k" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n")

    assert got.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "rest",
    [b"0\r\nX: " + b"y" * 200_000, b"1;" + b"e" * 200_000],
    ids=["behind the body", "beside a chunk's length"],
)
async def test_what_is_neither_head_nor_body_is_bounded(rest):
    head = ASK + b"Transfer-Encoding: chunked\r\n\r\n"
    pieces = [rest[at : at + 4096] for at in range(0, len(rest), 4096)]
    async with serving() as port:
        got = await said(port, head, *pieces)

    assert b" 200 " not in got


async def test_a_header_behind_the_body_is_no_header():
    head = ASK + b"Transfer-Encoding: chunked\r\n\r\n"
    async with serving() as port:
        got = await said(port, head + b"2\r\nhi\r\n0\r\nX: y\r\n\r\n")

    assert b"127.0.0.1 http 2 " in got


@pytest.mark.parametrize("pieces", [(), (b"GET",), (b"GET / HTTP/1.1\r\n", b"Host: x\r\n")])
async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch, pieces):
    monkeypatch.setattr(http_server, "_HEAD_S", 1.0)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_a_second_head_has_its_time_too(monkeypatch):
    monkeypatch.setattr(http_server, "_HEAD_S", 0.2)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK + b"Content-Length: 0\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n")
        await asyncio.sleep(0.4)  # idle, and kept
        writer.write(b"POST /x")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_a_slow_body_and_a_slow_reply_have_no_such_time(monkeypatch):
    monkeypatch.setattr(http_server, "_HEAD_S", 0.1)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK + b"Content-Length: 2\r\n\r\n")
        for piece in (b"h", b"i"):
            await asyncio.sleep(0.2)
            writer.write(piece)
        assert await reader.readuntil(b"0\r\n\r\n")
        writer.close()


# --------------------------------------------------------------------------------- slow bodies

LONG = ASK + b"Content-Length: 100\r\n\r\n"


@pytest.fixture
def hurried(monkeypatch):
    """Give bodies half a second to bring something, and else as long as they like."""
    monkeypatch.setattr(http_server, "_LOOK_S", 0.05)
    monkeypatch.setattr(http_server, "_SILENCE_S", 0.5)


async def until_closed(port, *pieces):
    """Send pieces, one after the other, and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.1)
        got = await reader.read()
    writer.close()
    return got


@pytest.mark.parametrize("body", [(), (b"{",), (b"{", b" ", b" ")], ids=["none", "one", "more"])
async def test_a_body_that_stays_away_is_refused(hurried, body):
    async with serving() as port:
        got = await until_closed(port, LONG, *body)

    top, _, said_so = got.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in top
    assert json.loads(said_so)["error"]["code"] == "body_too_slow"


async def test_a_body_whose_last_chunk_stays_away_is_refused(hurried):
    head = ASK + b"Transfer-Encoding: chunked\r\n\r\n"
    async with serving() as port:
        got = await until_closed(port, head, b"2\r\nhi\r\n", b"0\r\nX: ")

    assert got.startswith(b"HTTP/1.1 408")


async def test_the_application_learns_that_a_slow_body_ends(hurried):
    seen = []

    async def app(scope, receive, send):
        while (message := await receive())["type"] != "http.disconnect":
            seen.append(message["body"])
        seen.append("gone")

    async with serving(app) as port:
        await until_closed(port, LONG, b"{")

    assert b"".join(seen[:-1]) == b"{"
    assert seen[-1] == "gone"


async def test_a_body_that_always_brings_something_has_its_time(hurried):
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LONG)
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.01)
        got = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        writer.close()

    assert b"x" * 100 in got


async def test_a_body_below_the_pace_is_refused_though_it_always_brings_something(monkeypatch):
    monkeypatch.setattr(http_server, "_LOOK_S", 0.05)
    monkeypatch.setattr(http_server, "_BODY_S", 0.5)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LONG)
        answer = asyncio.ensure_future(reader.readline())
        async with asyncio.timeout(10):
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait({answer}, timeout=0.1)
        writer.close()

    assert answer.result().startswith(b"HTTP/1.1 408")


async def test_what_has_come_of_a_body_gives_it_time(monkeypatch):
    monkeypatch.setattr(http_server, "_LOOK_S", 0.05)
    monkeypatch.setattr(http_server, "_BODY_S", 0.2)
    monkeypatch.setattr(http_server, "_BODY_PACE", 10)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LONG + b"x" * 99)
        await asyncio.sleep(0.8)
        writer.write(b"y")
        got = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        writer.close()

    assert b"x" * 99 + b"y" in got


async def test_an_application_that_does_not_read_makes_no_body_slow(hurried):
    size = 4_000_000

    async def late(scope, receive, send):
        await asyncio.sleep(1.2)
        await echo(scope, receive, send)

    async with serving(late) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
        got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.close()

    assert got.startswith(b"HTTP/1.1 200")


async def test_who_waits_to_be_told_to_go_on_is_not_slow(hurried):
    async def late(scope, receive, send):
        await asyncio.sleep(1.0)
        await echo(scope, receive, send)

    async with serving(late) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.write(b"hi")
        got = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        writer.close()

    assert told.startswith(b"HTTP/1.1 100")
    assert got.startswith(b"HTTP/1.1 200")


async def slowly(scope, receive, send):
    """Answer for longer than a body may be silent; what comes meanwhile may come."""
    watch = asyncio.ensure_future(receive())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
    await asyncio.sleep(1.0)
    watch.cancel()
    await send({"type": "http.response.body", "body": b"ended"})


async def test_a_reply_under_way_is_not_cut_and_then_the_connection_ends(hurried):
    async with serving(slowly) as port:
        got = await until_closed(port, LONG)

    assert got.endswith(b"5\r\nended\r\n0\r\n\r\n")


async def test_a_second_request_without_its_body_does_not_cut_the_reply_to_the_first(hurried):
    async with serving(slowly) as port:
        got = await until_closed(port, ASK + b"\r\n" + LONG)

    assert got.count(b"ended") == 2


async def test_a_body_that_comes_with_its_head_needs_no_timer(monkeypatch):
    def look_later(*args):
        raise AssertionError

    monkeypatch.setattr(http_server.BoundedProtocol, "_look_later", look_later)
    async with serving() as port:
        got = await said(port, ASK + b"Content-Length: 2\r\n\r\nhi")

    assert got.startswith(b"HTTP/1.1 200")


async def test_a_connection_between_two_requests_is_no_slow_body(hurried):
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(ASK + b"Content-Length: 2\r\n\r\nh")
            await asyncio.sleep(0.2)
            writer.write(b"i")
            assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
            await asyncio.sleep(0.8)
        writer.close()


# --------------------------------------------------------------------------------- old clients


async def test_a_client_of_http_1_0_gets_no_chunks():
    async with serving() as port:
        got = await said(port, b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")

    top, _, body = got.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in top
    assert body == b"127.0.0.1 http 1 hi"


async def test_what_is_no_http_is_refused_in_our_words():
    async with serving() as port:
        got = await said(port, b"nonsense\r\n\r\n")

    top, _, body = got.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 400")
    assert "HTTP/1.1" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
async def test_a_request_that_would_rather_speak_another_protocol_keeps_its_body(name):
    head = ASK + b"Connection: Upgrade, HTTP2-Settings\r\n" + name + b": h2c\r\n"
    request = head + b"HTTP2-Settings: AAEAAEAA\r\nContent-Length: 2\r\n\r\nhi"
    async with serving() as port:
        got = await said(port, request)

    assert got.endswith(b"\r\n2\r\nhi\r\n0\r\n\r\n")


async def test_who_asks_is_who_is_connected_whatever_headers_say():
    head = ASK + b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\r\n"
    async with serving() as port:
        got = await said(port, head)

    assert b"127.0.0.1 http 3 " in got


async def test_everybodys_address_is_of_both_kinds():
    async with serving(host="::") as port:
        for host in ("127.0.0.1", "::1"):
            assert b" 200 " in await said(port, ASK + b"\r\n", host=host)


async def test_a_line_end_too_many_does_not_cut_a_reply(monkeypatch):
    monkeypatch.setattr(http_server, "_HEAD_S", 0.1)

    async def slow(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        await asyncio.sleep(0.5)
        await send({"type": "http.response.body", "body": b"ended"})

    async with serving(slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK + b"Content-Length: 2\r\n\r\nhi")
        await reader.readuntil(b"begun ")
        writer.write(b"\r\n")
        assert b"ended" in await reader.readuntil(b"0\r\n\r\n")
        writer.close()


# ------------------------------------------------------------------------------------- workers

_MODULE = """
import os


def good():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"pid %d." % os.getpid()})

    return app


def bad():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the disk is full"})

    return app
"""


def started(folder, factory, port):
    """Start two workers of a factory that is in a file of its own."""
    (folder / "factories.py").write_text(_MODULE)
    code = (
        "from groxy.cli.http_server import serve_workers\n"
        "if __name__ == '__main__':\n"
        f"    serve_workers('factories:{factory}', '127.0.0.1', {port}, workers=2, grace_s=5)\n"
    )
    (folder / "main.py").write_text(code)
    return subprocess.Popen(
        [sys.executable, "main.py"], cwd=folder, stderr=subprocess.PIPE, text=True
    )


async def test_workers_serve_and_stop_when_told(tmp_path):
    port = free_port()
    parent = started(tmp_path, "good", port)
    try:
        got = b""
        async with asyncio.timeout(20):
            while b" 200 " not in got:
                with suppress(OSError):
                    got = await said(port, ASK + b"Connection: close\r\n\r\n")
                await asyncio.sleep(0.05)
        parent.terminate()

        assert parent.wait(20) == 0
        assert f"pid {parent.pid}.".encode() not in got
    finally:
        parent.kill()
        parent.communicate()


async def test_workers_that_cannot_start_are_an_error(tmp_path):
    parent = started(tmp_path, "bad", free_port())
    try:
        _, said_last = parent.communicate(timeout=30)

        assert parent.returncode != 0
        assert "could not be started" in said_last
    finally:
        parent.kill()
