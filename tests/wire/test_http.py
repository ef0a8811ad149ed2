"""The HTTP client against servers on this machine that behave well, badly and not at all."""

import asyncio
import gzip
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.http import HttpTransport, Outgoing, Reply, UnsentError

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MEGABYTE = 1024 * 1024

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A server that answers each request with bytes, as `answer` says."""

    answer: Answer
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed_by_client: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await _request(reader))
                await self.answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed_by_client.set()
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


def _sends(raw: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


def _sends_and_hangs_up(raw: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return answer


@asynccontextmanager
async def _serving(answer: Answer) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat"
    async with asyncio.timeout(20):
        try:
            yield server
        finally:
            listener.close()


@asynccontextmanager
async def _transport(
    connect_timeout_s: float = 5.0, proxy_url: str = ""
) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport.create(connect_timeout_s=connect_timeout_s, proxy_url=proxy_url)
    try:
        yield transport
    finally:
        await transport.close()


def _outgoing(server: Server | str, **fields: object) -> Outgoing:
    url = server if isinstance(server, str) else server.url
    given = {"url": url, "headers": {"Authorization": "Bearer sk-a"}, "body": b"{}"} | fields
    return Outgoing(**given)  # type: ignore[arg-type]


async def _read(reply: Reply, limit: int = MEGABYTE) -> bytes:
    try:
        return await reply.read(limit)
    finally:
        reply.close()


async def _failure_of(answer: Answer, limit: int = MEGABYTE) -> GroxyError:
    """Ask a server and return what sending or reading raised."""
    async with _serving(answer) as server, _transport() as transport:
        with pytest.raises(GroxyError) as caught:
            await _read(await transport.send(_outgoing(server)), limit)
    return caught.value


async def _failure_to_send(outgoing: Outgoing, proxy_url: str = "") -> GroxyError:
    async with asyncio.timeout(5), _transport(0.2, proxy_url) as transport:
        with pytest.raises(GroxyError) as caught:
            await transport.send(outgoing)
    return caught.value


# ----------------------------------------------------------------------------------- what is sent


async def test_the_request_is_sent_as_it_was_given():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        await _read(await transport.send(_outgoing(server, body=b'{"a":1}')))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat HTTP/1.1\r\n")
    assert b"Authorization: Bearer sk-a\r\n" in head
    assert body == b'{"a":1}'


async def test_who_asks_is_told_when_the_body_goes_out():
    said = []
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        outgoing = _outgoing(server, body=b'{"a":1}', on_sent=lambda: said.append("sent"))
        await _read(await transport.send(outgoing))
    assert said == ["sent"]
    assert server.requests[0].endswith(b'\r\n\r\n{"a":1}')


async def test_a_body_that_finds_no_connection_does_not_go_out():
    said = []
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        await _failure_to_send(_outgoing(url, on_sent=lambda: said.append("sent")))
    assert said == []


async def test_a_get_has_no_body():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        await _read(await transport.send(_outgoing(server, method="GET", body=b"")))
    assert server.requests[0].startswith(b"GET ")
    assert server.requests[0].endswith(b"\r\n\r\n")


async def test_nothing_tells_which_client_library_sends():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        await _read(await transport.send(_outgoing(server)))
    assert b"aiohttp" not in server.requests[0].lower()


@pytest.mark.parametrize(
    ("headers", "agent"), [({}, b"groxy"), ({"user-agent": "mine"}, b"mine")], ids=["ours", "own"]
)
async def test_an_upstream_is_told_that_it_is_groxy_unless_the_request_says_otherwise(
    headers, agent
):
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        await _read(await transport.send(_outgoing(server, headers=headers)))
    (request,) = server.requests
    assert re.findall(rb"user-agent: (.*)\r\n", request, re.IGNORECASE) == [agent]


async def test_a_cookie_is_not_kept():
    answer = _sends(OK + b"Set-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n")
    async with _serving(answer) as server, _transport() as transport:
        # A cookie jar may keep those of named hosts only.
        url = server.url.replace("127.0.0.1", "localhost")
        for _ in range(2):
            await _read(await transport.send(_outgoing(url)))
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status):
    async with _serving(_sends(HELLO)) as target, _transport() as transport:
        to_target = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
        answer = _sends(to_target % (status, target.url.encode()))
        async with _serving(answer) as server:
            reply = await transport.send(_outgoing(server))
            await _read(reply)
    assert (reply.status, target.requests) == (status, [])


async def test_a_post_that_got_no_answer_is_not_sent_again():
    async with _serving(_sends_and_hangs_up(b"")) as server, _transport() as transport:
        with pytest.raises(GroxyError):
            await transport.send(_outgoing(server))
    assert len(server.requests) == 1


async def test_more_addresses_than_are_remembered_still_work():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        for number in range(200):
            await _read(await transport.send(_outgoing(f"{server.url}/{number}")))
    assert server.requests[-1].startswith(b"POST /v1/chat/199 ")


# ------------------------------------------------------------------------------------ what is read


async def test_status_and_headers_are_known_before_the_body():
    head = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\n"
    async with _serving(_sends(head)) as server, _transport() as transport:
        reply = await transport.send(_outgoing(server))
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")
        reply.close()


@pytest.mark.parametrize(
    "raw",
    [
        HELLO,
        CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
        OK
        + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b"hello"))
        + gzip.compress(b"hello"),
    ],
    ids=["with a length", "chunked", "behind a continue", "compressed"],
)
async def test_a_body_is_read(raw):
    async with _serving(_sends(raw)) as server, _transport() as transport:
        assert await _read(await transport.send(_outgoing(server))) == b"hello"


async def test_a_body_that_ends_with_its_connection_is_read():
    answer = _sends_and_hangs_up(OK + b"\r\nhello")
    async with _serving(answer) as server, _transport() as transport:
        assert await _read(await transport.send(_outgoing(server))) == b"hello"


async def test_chunks_come_as_they_are_sent():
    asked_for_more = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n")
        await asked_for_more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with _serving(answer) as server, _transport() as transport:
        reply = await transport.send(_outgoing(server))
        got = []
        async for chunk in reply.chunks():
            got.append(chunk)
            asked_for_more.set()
        reply.close()
    assert got == [b"one", b"two"]


async def test_a_body_of_the_largest_size_is_read():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        assert await _read(await transport.send(_outgoing(server)), limit=5) == b"hello"


async def test_a_body_over_the_limit_is_a_bad_reply():
    assert (await _failure_of(_sends(HELLO), limit=4)).kind is ErrorKind.BAD_REPLY


async def test_a_body_without_end_is_given_up_at_the_limit():
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    assert (await _failure_of(answer, limit=4 * MEGABYTE)).kind is ErrorKind.BAD_REPLY


async def test_a_body_that_swells_when_unpacked_is_given_up_at_the_limit():
    bomb = gzip.compress(b"\0" * (64 * MEGABYTE))
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    failure = await _failure_of(_sends(OK + head + bomb))
    assert failure.kind is ErrorKind.BAD_REPLY


# --------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Content-Length: 20\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"14\r\nhello",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["short of its length", "without a last chunk", "inside a chunk", "not what it says"],
)
async def test_a_cut_body_is_a_broken_stream(raw):
    assert (await _failure_of(_sends_and_hangs_up(raw))).kind is ErrorKind.STREAM_BROKEN


async def test_what_came_before_the_cut_is_given():
    answer = _sends_and_hangs_up(CHUNKED + b"5\r\nhello\r\n")
    async with _serving(answer) as server, _transport() as transport:
        reply = await transport.send(_outgoing(server))
        chunks = aiter(reply.chunks())
        assert await anext(chunks) == b"hello"
        with pytest.raises(GroxyError):
            await anext(chunks)
        reply.close()


async def test_a_reset_connection_is_a_broken_stream():
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    assert (await _failure_of(answer)).kind is ErrorKind.STREAM_BROKEN


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello there\r\n\r\n",
        b"HTTP/1.1 9999 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: -2\r\n\r\nhi",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"X: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
        OK + b"X: a\r\n" * 50_000 + b"Content-Length: 0\r\n\r\n",
        OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nhi",
        CHUNKED + b"ZZ\r\nhello\r\n",
    ],
    ids=[
        "nothing",
        "not HTTP",
        "odd status",
        "negative length",
        "two lengths",
        "giant header",
        "many headers",
        "unknown encoding",
        "odd chunk",
    ],
)
async def test_an_answer_that_is_none_means_that_the_upstream_is_down(raw):
    assert (await _failure_of(_sends_and_hangs_up(raw))).kind is ErrorKind.UPSTREAM_DOWN


async def test_a_refused_connection_means_that_the_upstream_is_down():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        assert (await _failure_to_send(_outgoing(url))).kind is ErrorKind.UPSTREAM_DOWN


async def test_a_connection_that_is_not_accepted_in_time_times_out():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(4):  # Linux takes one more than asked for, and lets the others wait.
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        failure = await _failure_to_send(_outgoing(url))
        for one in waiting:
            one.close()
    assert failure.kind is ErrorKind.UPSTREAM_TIMEOUT


async def test_a_request_that_found_no_connection_was_certainly_not_sent():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        assert isinstance(await _failure_to_send(_outgoing(url)), UnsentError)


async def test_a_request_that_found_one_may_have_been_read():
    assert not isinstance(await _failure_of(_sends_and_hangs_up(b"")), UnsentError)


async def _failure_over(scheme: str, answer: bytes | None) -> GroxyError:
    """Send over a proxy that answers so, whatever it is sent; None is one that is silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is not None:
            writer.write(answer)
            writer.close()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        return await _failure_to_send(_outgoing("http://127.0.0.1:1/"), proxy)
    finally:
        listener.close()


@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h", "http"])
async def test_a_proxy_that_is_down_means_that_the_upstream_is_down_and_was_not_asked(scheme):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = f"{scheme}://127.0.0.1:{unused.getsockname()[1]}"
        failure = await _failure_to_send(_outgoing("http://127.0.0.1:1/"), proxy)
    assert (failure.kind, type(failure)) == (ErrorKind.UPSTREAM_DOWN, UnsentError)


@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h"])
@pytest.mark.parametrize("answer", [b"", b"\x05\xff", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_socks_proxy_that_refuses_means_that_the_upstream_is_down_and_was_not_asked(
    scheme, answer
):
    failure = await _failure_over(scheme, answer)
    assert (failure.kind, type(failure)) == (ErrorKind.UPSTREAM_DOWN, UnsentError)


@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h"])
async def test_a_socks_proxy_that_is_silent_times_out_and_the_upstream_was_not_asked(scheme):
    failure = await _failure_over(scheme, None)
    assert (failure.kind, type(failure)) == (ErrorKind.UPSTREAM_TIMEOUT, UnsentError)


@pytest.mark.parametrize("proxy", ["socks5://u:pw@127.0.0.1", "socks5://:1", "socks9://h:1"])
async def test_an_address_of_a_proxy_that_is_none_means_that_the_upstream_is_down(proxy):
    failure = await _failure_to_send(_outgoing("http://127.0.0.1:1/"), proxy)
    assert (failure.kind, type(failure)) == (ErrorKind.UPSTREAM_DOWN, UnsentError)
    assert "pw" not in failure.detail


def test_only_who_has_a_socks_proxy_waits_for_its_library():
    code = "import sys, groxy.wire.http; sys.exit('python_socks' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "http://", "http://[::1/x", "http://127.0.0.1:99999/", "ftp://127.0.0.1/"],
)
async def test_an_address_that_is_none_means_that_the_upstream_is_down(url):
    assert (await _failure_to_send(_outgoing(url))).kind is ErrorKind.UPSTREAM_DOWN


@pytest.mark.parametrize("key", ["a\nX-Injected: b", "a\r\n\r\nGET / HTTP/1.1", "a\0b"])
async def test_a_key_with_a_line_end_is_not_sent(key):
    async with _serving(_sends(HELLO)) as server:
        outgoing = _outgoing(server, headers={"Authorization": f"Bearer {key}"})
        failure = await _failure_to_send(outgoing)
        assert (failure.kind, server.requests) == (ErrorKind.UPSTREAM_DOWN, [])


async def test_no_failure_tells_the_caller_where_the_upstream_is():
    failure = await _failure_to_send(_outgoing("http://127.0.0.1:1/secret-path"))
    assert "127.0.0.1" in failure.detail
    assert "127.0.0.1" not in failure.message


@pytest.mark.parametrize("key", ["sk-very-secret", "sk-very-secret\n"])
async def test_no_failure_tells_the_key(key):
    headers = {"Authorization": f"Bearer {key}"}
    failure = await _failure_to_send(_outgoing("http://127.0.0.1:1/", headers=headers))
    assert "secret" not in failure.message + failure.detail


# ------------------------------------------------------------------------------------- connections


async def test_a_connection_is_used_again_after_a_whole_reply():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        for _ in range(3):
            await _read(await transport.send(_outgoing(server)))
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_connection_is_used_again_after_a_stream_read_to_its_end():
    answer = _sends(CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    async with _serving(answer) as server, _transport() as transport:
        for _ in range(3):
            reply = await transport.send(_outgoing(server))
            assert b"".join([chunk async for chunk in reply.chunks()]) == b"onetwo"
            reply.close()
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_connection_whose_reply_was_not_read_is_not_used_again():
    answer = _sends(CHUNKED + b"3\r\none\r\n")
    async with _serving(answer) as server, _transport() as transport:
        for _ in range(2):
            reply = await transport.send(_outgoing(server))
            reply.close()
    assert server.connections == 2


async def test_closing_a_reply_hangs_up_on_an_upstream_that_still_sends():
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n")

    async with _serving(answer) as server, _transport() as transport:
        reply = await transport.send(_outgoing(server))
        async for _ in reply.chunks():
            break
        reply.close()
        async with asyncio.timeout(1):
            await server.closed_by_client.wait()


async def test_a_released_reply_whose_end_comes_soon_leaves_its_connection_for_the_next():
    is_released = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n")
        await is_released.wait()
        writer.write(b"0\r\n\r\n")

    async with _serving(answer) as server, _transport() as transport:
        reply = await transport.send(_outgoing(server))
        async for _ in reply.chunks():
            break
        reply.release()
        is_released.set()
        await asyncio.sleep(0.05)
        (await transport.send(_outgoing(server))).close()
    assert server.connections == 1


async def test_a_released_reply_whose_end_does_not_come_is_hung_up_on(monkeypatch):
    monkeypatch.setattr("groxy.wire.http._LINGER_S", 0.05)
    async with _serving(_sends(CHUNKED + b"3\r\none\r\n")) as server, _transport() as transport:
        reply = await transport.send(_outgoing(server))
        reply.release()
        async with asyncio.timeout(1):
            await server.closed_by_client.wait()


async def test_a_released_reply_that_was_read_to_its_end_is_not_closed_later(monkeypatch):
    monkeypatch.setattr("groxy.wire.http._LINGER_S", 0.01)
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        for _ in range(2):
            reply = await transport.send(_outgoing(server))
            await reply.read(MEGABYTE)
            reply.release()
            await asyncio.sleep(0.05)
    assert server.connections == 1


async def test_cancelling_a_request_hangs_up_on_an_upstream_that_still_thinks():
    async def answer(writer: asyncio.StreamWriter) -> None:
        """Say nothing."""

    async with _serving(answer) as server, _transport() as transport:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.send(_outgoing(server))
        async with asyncio.timeout(1):
            await server.closed_by_client.wait()


async def test_a_reply_may_be_closed_twice():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        reply = await transport.send(_outgoing(server))
        reply.close()
        reply.close()


async def test_a_closed_transport_leaves_no_connection_open():
    async with _serving(_sends(HELLO)) as server:
        async with _transport() as transport:
            await _read(await transport.send(_outgoing(server)))
            assert not server.closed_by_client.is_set()
        async with asyncio.timeout(1):
            await server.closed_by_client.wait()


async def test_a_transport_that_never_sent_can_be_closed():
    await HttpTransport.create(connect_timeout_s=1).close()


async def test_a_closed_transport_opens_again_when_it_is_asked_to_send():
    async with _serving(_sends(HELLO)) as server, _transport() as transport:
        await _read(await transport.send(_outgoing(server)))
        await transport.close()
        assert await _read(await transport.send(_outgoing(server))) == b"hello"


async def test_accounts_have_pools_of_their_own():
    async with _serving(_sends(HELLO)) as server, _transport() as one, _transport() as other:
        await _read(await one.send(_outgoing(server)))
        await _read(await other.send(_outgoing(server)))
    assert server.connections == 2
