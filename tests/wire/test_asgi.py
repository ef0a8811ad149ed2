"""ASGI as endpoints need it: headers, a bounded body, the client's side."""

import asyncio
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.asgi import ASK_AGAIN, AsgiClient, Message, Scope, header, read_body, respond

LIMIT = 10
DISCONNECT = {"type": "http.disconnect"}


def _scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers)}


def _piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class _Client:
    """A client that sends `messages`, counts how many were taken and keeps what it gets."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.taken = 0
        self.got: list[Message] = []

    async def receive(self) -> Message:
        self.taken += 1
        return self._messages[self.taken - 1]

    async def send(self, message: Message) -> None:
        self.got.append(message)


async def _body(client: _Client, *headers: tuple[bytes, bytes]) -> bytes:
    return await read_body(_scope(*headers), client.receive, limit=LIMIT)


async def _refusal(client: _Client, *headers: tuple[bytes, bytes]) -> GroxyError:
    with pytest.raises(GroxyError) as caught:
        await _body(client, *headers)
    return caught.value


async def _body_of_somebody(client: _Client, asked: list[str]) -> bytes:
    async def again(scope: Scope) -> None:
        asked.append(scope["path"])
        if len(asked) > 1:
            raise GroxyError(ErrorKind.BAD_KEY, "Not any more.")

    scope = {**_scope(), "path": "/v1/models", ASK_AGAIN: again}
    return await read_body(scope, client.receive, limit=LIMIT)


async def test_who_is_slow_to_send_a_body_is_asked_again_who_they_are(monkeypatch):
    monkeypatch.setattr("groxy.wire.asgi.SLOW_BODY_S", 0.0)
    asked: list[str] = []

    assert await _body_of_somebody(_Client(_piece(b"a", more=True), _piece(b"b")), asked) == b"ab"
    with pytest.raises(GroxyError) as caught:
        await _body_of_somebody(_Client(_piece(b"a")), asked)
    assert (asked, caught.value.kind) == (["/v1/models"] * 2, ErrorKind.BAD_KEY)


async def test_who_sends_a_body_at_once_is_not_asked_again(monkeypatch):
    monkeypatch.setattr("groxy.wire.asgi.SLOW_BODY_S", 60.0)
    asked: list[str] = []

    assert await _body_of_somebody(_Client(_piece(b"a")), asked) == b"a"
    assert asked == []


def test_a_header_is_found_by_its_lower_case_name():
    assert header(_scope((b"x-api-key", b"sk-a")), b"x-api-key") == "sk-a"


def test_a_header_that_is_not_there_is_none():
    assert header(_scope((b"x-api-key", b"sk-a")), b"authorization") is None


def test_of_repeated_headers_the_first_counts():
    scope = _scope((b"x-api-key", b"first"), (b"x-api-key", b"second"))
    assert header(scope, b"x-api-key") == "first"


def test_a_header_may_hold_any_byte():
    assert header(_scope((b"a", bytes(range(128, 256)))), b"a") == bytes(range(128, 256)).decode(
        "latin-1"
    )


async def test_a_body_in_one_piece_is_read():
    assert await _body(_Client(_piece(b"hello"))) == b"hello"


async def test_a_body_in_pieces_is_joined():
    client = _Client(_piece(b"he", more=True), _piece(b"", more=True), _piece(b"llo"))
    assert await _body(client) == b"hello"


async def test_a_message_without_a_body_is_an_empty_piece():
    assert await _body(_Client({"type": "http.request"})) == b""


async def test_a_body_of_the_largest_size_is_taken():
    length = (b"content-length", b"%d" % LIMIT)
    assert await _body(_Client(_piece(b"x" * LIMIT)), length) == b"x" * LIMIT


@pytest.mark.parametrize("length", [b"11", b"999999999999", b"9" * 5000, b"00000000000000011"])
async def test_a_body_declared_too_large_is_refused_unread(length):
    client = _Client(_piece(b"x"))
    error = await _refusal(client, (b"content-length", length))
    assert (error.kind, client.taken) == (ErrorKind.TOO_LARGE, 0)


async def test_a_body_that_grows_too_large_is_refused_at_once():
    client = _Client(*[_piece(b"x" * 6, more=True)] * 9)
    error = await _refusal(client)
    assert (error.kind, client.taken) == (ErrorKind.TOO_LARGE, 2)


async def test_a_body_larger_than_declared_is_refused_too():
    error = await _refusal(_Client(_piece(b"x" * 11)), (b"content-length", b"3"))
    assert error.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("length", [b"", b"-1", b"1e9", b"\xb2", b"0x10", b"ten", b" 11", b"\xbd"])
async def test_a_length_that_is_no_number_is_left_to_counting(length):
    assert await _body(_Client(_piece(b"hello")), (b"content-length", length)) == b"hello"


async def test_too_large_says_how_much_may_be_sent():
    error = await _refusal(_Client(_piece(b"x" * 11)))
    assert f"{LIMIT} bytes" in error.message


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"x"])
async def test_a_compressed_body_is_refused_unread(encoding):
    client = _Client(_piece(b"x"))
    error = await _refusal(client, (b"content-encoding", encoding))
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "content-encoding")
    assert client.taken == 0


@pytest.mark.parametrize("encoding", [b"identity", b"Identity", b""])
async def test_a_body_that_says_it_is_not_compressed_is_read(encoding):
    assert await _body(_Client(_piece(b"x")), (b"content-encoding", encoding)) == b"x"


async def test_a_client_that_leaves_while_it_sends_cancels():
    error = await _refusal(_Client(_piece(b"x", more=True), DISCONNECT))
    assert error.kind is ErrorKind.CANCELLED


async def test_a_response_in_parts_is_told_to_the_server_part_by_part():
    client = _Client()
    side = AsgiClient(client.receive, client.send)
    await side.start(200, [(b"a", b"b")])
    await side.send(b"one", is_last=False)
    await side.send(b"two", is_last=True)
    assert client.got == [
        {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]},
        {"type": "http.response.body", "body": b"one", "more_body": True},
        {"type": "http.response.body", "body": b"two", "more_body": False},
    ]


async def test_a_client_is_gone_when_it_disconnects_and_not_before():
    messages: asyncio.Queue[Message] = asyncio.Queue()
    client = AsgiClient(messages.get, _Client().send)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(client.gone())
        messages.put_nowait(_piece(b""))
        while not messages.empty():
            await asyncio.sleep(0)
        assert not gone.done()
        messages.put_nowait(DISCONNECT)


async def test_a_whole_response_has_its_type_and_length():
    client = _Client()
    await respond(client.send, 404, b'{"a":1}')
    assert client.got == [
        {
            "type": "http.response.start",
            "status": 404,
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"7")],
        },
        {"type": "http.response.body", "body": b'{"a":1}'},
    ]
