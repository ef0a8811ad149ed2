import asyncio
import json

import pytest

from groxy.api.errors import ErrorBoundary
from groxy.core.errors import ErrorKind, GroxyError
from tests.inprocess import ask


def failing(error):
    async def app(scope, receive, send):
        raise error

    return ErrorBoundary(app)


async def test_an_error_becomes_the_envelope_with_its_status():
    answer = await ask(
        failing(GroxyError(ErrorKind.NOT_FOUND, "Nothing.", param="id")), "GET", "/x"
    )

    assert answer.status == 404
    assert answer.error == {
        "message": "Nothing.",
        "type": "not_found_error",
        "code": "not_found",
        "param": "id",
        "status": 404,
    }


async def test_a_defect_is_a_500_that_tells_nothing_of_it():
    answer = await ask(failing(RuntimeError("secret detail")), "GET", "/x")

    assert answer.status == 500
    assert answer.error["code"] == "internal_error"
    assert b"secret detail" not in answer.body


async def test_the_request_id_is_in_both_headers_and_new_each_time():
    app = failing(GroxyError(ErrorKind.NOT_FOUND, "Nothing."))
    first, second = await ask(app, "GET", "/x"), await ask(app, "GET", "/x")

    assert first.headers["x-request-id"] == first.headers["request-id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_a_missing_key_says_how_to_authenticate():
    answer = await ask(failing(GroxyError(ErrorKind.BAD_KEY, "No key.")), "GET", "/x")

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("wait_s", "header"), [(0.2, "1"), (7, "7"), (7.4, "8")])
async def test_how_long_to_wait_is_told_in_whole_seconds_rounded_up(wait_s, header):
    error = GroxyError(ErrorKind.STORE_DOWN, "Down.", retry_after_s=wait_s)

    assert (await ask(failing(error), "GET", "/x")).headers["retry-after"] == header


async def test_nothing_is_sent_to_a_client_that_left():
    answer = await ask(failing(GroxyError(ErrorKind.CANCELLED, "Gone.")), "GET", "/x")

    assert (answer.status, answer.body) == (0, b"")


async def test_an_error_behind_the_head_of_a_response_adds_no_second_head():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise GroxyError(ErrorKind.INTERNAL, "Late.")

    answer = await ask(ErrorBoundary(app), "GET", "/x")

    assert answer.status == 200
    assert answer.body == b""


async def test_the_envelope_is_valid_json_whatever_the_message_holds():
    odd = 'quote " newline \n bell \x07 snowman ☃'
    answer = await ask(failing(GroxyError(ErrorKind.BAD_REQUEST, odd)), "GET", "/x")

    assert json.loads(answer.body)["error"]["message"] == odd


async def test_other_scopes_pass_through():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    async def nothing(*_):
        return {}

    await ErrorBoundary(app)({"type": "lifespan"}, nothing, nothing)

    assert seen == ["lifespan"]


class Uploading:
    """A client that sends a body piece by piece, and notes when it was answered."""

    def __init__(self, pieces, **headers):
        self.pieces = list(pieces)
        self.sent = []
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.headers = [(name.encode(), value.encode()) for name, value in named.items()]

    async def receive(self):
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message):
        self.sent.append((message, len(self.pieces)))

    async def ask(self, app):
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": self.headers}
        await app(scope, self.receive, self.send)

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message, _ in self.sent)


async def test_a_refusal_leaves_before_the_rest_of_the_body_is_thrown_away():
    client = Uploading([b"x"] * 5, content_length="5")

    await client.ask(failing(GroxyError(ErrorKind.TOO_LARGE, "Too much.")))

    assert [left for _, left in client.sent] == [5, 5, 0]
    assert json.loads(client.body)["error"]["code"] == "request_too_large"
    assert not any(name == b"content-length" for name, _ in client.sent[0][0]["headers"])


async def test_a_body_without_end_is_not_read_for_ever(monkeypatch):
    monkeypatch.setattr("groxy.api.errors._MOST_DISCARDED_BYTES", 1000)
    client = Uploading([b"x" * 100] * 50, transfer_encoding="chunked")

    await client.ask(failing(GroxyError(ErrorKind.TOO_LARGE, "Too much.")))

    assert len(client.pieces) == 40


async def test_a_client_that_falls_silent_in_its_body_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr("groxy.api.errors._LONGEST_DISCARD_S", 0.1)

    class Silent(Uploading):
        async def receive(self):
            await asyncio.sleep(60)

    client = Silent([b"x"], content_length="5")
    await asyncio.wait_for(client.ask(failing(GroxyError(ErrorKind.BAD_KEY, "No."))), 5)

    assert json.loads(client.body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "headers", [{}, {"content_length": "0"}, {"content_length": "9", "expect": "100-continue"}]
)
async def test_a_client_that_sends_nothing_more_is_answered_with_a_length(headers):
    client = Uploading([], **headers)

    await client.ask(failing(GroxyError(ErrorKind.BAD_KEY, "No.")))

    lengths = [value for name, value in client.sent[0][0]["headers"] if name == b"content-length"]
    assert lengths == [b"%d" % len(client.body)]
