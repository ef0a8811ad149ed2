import asyncio
import json
from dataclasses import dataclass, field

import pytest

from groxy.cli import operator
from groxy.cli.operator import AdminClient, Way, at_desk, counted, in_parts, part, plain, way_of
from groxy.core.errors import ErrorKind, GroxyError

URL = "http://127.0.0.1:8000"
KEY = "adm-secret-of-the-test"


@dataclass
class ScriptedReply:
    status: int = 200
    pieces: list = field(default_factory=list)
    headers: dict = field(default_factory=dict)
    is_closed: bool = False

    async def read(self, limit):
        return b"".join(self.pieces)

    async def chunks(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                yield piece

    def release(self):
        pass

    def close(self):
        self.is_closed = True


@dataclass
class ScriptedTransport:
    """Answers with one reply after the other, and keeps what it was asked."""

    replies: list
    asked: list = field(default_factory=list)

    async def send(self, outgoing):
        self.asked.append(outgoing)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def close(self):
        pass


def told(content, status=200):
    return ScriptedReply(status, [json.dumps(content).encode()])


def desk(*replies, key=KEY):
    transport = ScriptedTransport(list(replies))
    return AdminClient(transport, URL, key=key), transport


async def fails(work):
    with pytest.raises(GroxyError) as caught:
        await work
    assert KEY not in caught.value.message
    return caught.value


# ----------------------------------------------------------------------------------- which way


@pytest.fixture
def environ(monkeypatch, tmp_path):
    for name in ("GROXY_URL", "GROXY_APP_KEY", "GROXY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GROXY_DATA_DIR", str(tmp_path / "data"))
    return monkeypatch


def test_without_a_url_it_is_this_process(environ):
    way = way_of(None, None, None, None)

    assert way.loaded is not None
    assert way.url == ""


@pytest.mark.parametrize("url", [URL, URL + "/", URL + "/v1", URL + "/v1/"])
def test_with_a_url_it_is_there_and_the_key_comes_from_a_file(environ, tmp_path, url):
    (tmp_path / "key").write_text(KEY + "\n")

    assert way_of(url, tmp_path / "key", None, None) == Way(url=URL, key=KEY)


def test_the_environment_says_it_too_but_an_option_is_stronger(environ, tmp_path):
    environ.setenv("GROXY_URL", "http://elsewhere:1")
    environ.setenv("GROXY_APP_KEY", KEY)

    assert way_of(None, None, None, None) == Way(url="http://elsewhere:1", key=KEY)
    assert way_of(URL, None, None, None).url == URL


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://h", "http://user:pa55word@h:1"])
def test_a_url_that_is_none_is_refused(environ, url):
    with pytest.raises(GroxyError) as caught:
        way_of(url, None, None, None)

    assert "--url" in caught.value.message
    assert "pa55word" not in caught.value.message


def test_options_that_exclude_each_other_are_refused(environ, tmp_path):
    for arguments in ((URL, None, None, tmp_path), (None, tmp_path / "key", None, None)):
        with pytest.raises(GroxyError) as caught:
            way_of(*arguments)
        assert "--url" in caught.value.message


@pytest.mark.parametrize("content", ["", "two words", "k\x07ey"])
def test_a_key_that_cannot_be_one_is_refused_without_being_repeated(environ, tmp_path, content):
    (tmp_path / "file").write_text(content)

    with pytest.raises(GroxyError) as caught:
        way_of(URL, tmp_path / "file", None, None)

    assert caught.value.message.startswith("The admin key ")
    assert not content or content not in caught.value.message


# ------------------------------------------------------------------------------------- requests


async def test_a_request_has_the_key_in_a_header_and_nothing_empty_in_its_address():
    client, transport = desk(told({"ok": 1}))

    await client.get("/tokens", after="", pool=None, page_size=5, wanted=True)

    (asked,) = transport.asked
    assert asked.url == f"{URL}/admin/api/tokens?page_size=5&wanted=true"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "content-type" not in asked.headers


async def test_bytes_travel_as_they_are_and_values_as_json():
    client, transport = desk(told({}), told({}))

    await client.call("POST", "/import", body=b"xai k", content_type="text/plain")
    await client.post("/x", {"a": [1]})

    assert [one.body for one in transport.asked] == [b"xai k", b'{"a":[1]}']
    types = [one.headers["content-type"] for one in transport.asked]
    assert types == ["text/plain", "application/json"]


async def test_an_error_keeps_the_servers_words_code_and_kind():
    body = {"message": "No.", "code": "account_not_found", "param": "token", "type": "t"}
    client, _ = desk(told({"error": body}, 404), told({"error": body | {"code": "conflict"}}, 409))

    missing, conflict = await fails(client.get("/a")), await fails(client.get("/b"))

    assert (missing.kind, missing.code) == (ErrorKind.NOT_FOUND, "account_not_found")
    assert (missing.message, missing.param) == ("No.", "token")
    assert conflict.kind is ErrorKind.CONFLICT


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(200, [b"<html>"]),
        ScriptedReply(200, [b"[1]"]),
        ScriptedReply(302, [b""]),
        ScriptedReply(404, [b'{"detail": "Not Found"}']),
        ScriptedReply(500, [b'{"error": "text"}']),
    ],
)
async def test_what_is_no_gateway_is_called_so(reply):
    client, _ = desk(reply)

    error = await fails(client.get("/verify"))

    assert "is no Groxy gateway" in error.message
    assert URL in error.message


async def test_a_gateway_out_of_reach_is_named_with_the_reason():
    client, _ = desk(GroxyError(ErrorKind.UPSTREAM_DOWN, "The upstream …", detail="refused"))

    error = await fails(client.get("/verify"))

    assert error.message == f"There is no gateway to be reached at {URL} (refused). Check --url."


async def test_pages_follow_next_until_there_is_none():
    client, transport = desk(
        told({"pagination": {"next": "acc_2"}}), told({"pagination": {"next": None}})
    )

    pages = [page async for page in client.pages("/tokens", pool="heavy")]

    assert len(pages) == 2
    assert transport.asked[1].url.endswith("/tokens?after=acc_2&pool=heavy")


# --------------------------------------------------------------------------------------- tasks


def events(*types, broken=False):
    pieces = [b"data: " + json.dumps({"type": one}).encode() + b"\n\n" for one in types]
    lost = [GroxyError(ErrorKind.STREAM_BROKEN, "lost")] if broken else []
    return ScriptedReply(200, [b": ping\n\n", *pieces, *lost])


@pytest.mark.parametrize("last", ["done", "error", "cancelled"])
async def test_a_task_is_followed_to_its_end(last):
    reply = events("snapshot", "progress", last, "never")
    client, _ = desk(reply)

    types = [event["type"] async for event in client.follow("job_1")]

    assert types == ["snapshot", "progress", last]
    assert reply.is_closed


async def test_a_stream_that_breaks_is_opened_anew(monkeypatch):
    monkeypatch.setattr(operator, "_BETWEEN_TRIES_S", 0)
    down = GroxyError(ErrorKind.UPSTREAM_DOWN, "down")
    client, _ = desk(events("snapshot", broken=True), events("progress"), down, events("done"))

    types = [event["type"] async for event in client.follow("job_1")]

    assert types == ["snapshot", "progress", "done"]


async def test_a_gateway_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(operator, "_BETWEEN_TRIES_S", 0)
    down = [GroxyError(ErrorKind.UPSTREAM_DOWN, "down") for _ in range(10)]
    client, transport = desk(*down)

    error = await fails(anext(client.follow("job_1")))

    assert error.kind is ErrorKind.UPSTREAM_DOWN
    assert len(transport.asked) == 5


async def test_a_task_that_is_gone_is_not_asked_for_again():
    body = {"message": "Gone.", "code": "task_not_found", "param": None}
    client, transport = desk(told({"error": body}, 404))

    error = await fails(anext(client.follow("job_1")))

    assert error.message == "Gone."
    assert len(transport.asked) == 1


async def test_a_stream_that_falls_silent_is_broken(monkeypatch):
    monkeypatch.setattr(operator, "_SILENCE_TIMEOUT_S", 0.02)
    client, _ = desk(ScriptedReply(200, [b"a", 5.0, b"b"]))

    stream = client.stream("/export")
    assert await anext(stream) == b"a"
    error = await fails(anext(stream))

    assert error.kind is ErrorKind.STREAM_BROKEN


async def test_an_answer_that_never_comes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(operator, "_ANSWER_TIMEOUT_S", 0.02)

    class Silent(ScriptedTransport):
        async def send(self, outgoing):
            await asyncio.Event().wait()

    error = await fails(AdminClient(Silent([]), URL, key=KEY).get("/verify"))

    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT


# ------------------------------------------------------------------------------- in this process


def test_what_work_raises_comes_out_alone(environ):
    async def work(client):
        return await client.get("/tokens/nobody")

    with pytest.raises(GroxyError) as caught:
        at_desk(way_of(None, None, None, None), work)

    assert caught.value.code == "account_not_found"


def test_without_redis_this_process_is_alone(environ):
    async def work(client):
        return client.is_alone, await client.get("/verify")

    assert at_desk(way_of(None, None, None, None), work) == (True, {"status": "success"})


# ---------------------------------------------------------------------------------------- words


def test_names_are_sent_once_and_a_thousand_at_a_time():
    names = [f"n{number}" for number in range(1500)]

    assert [len(some) for some in in_parts(names + names)] == [1000, 500]
    assert in_parts([]) == []


def test_text_is_made_fit_for_paths_terminals_and_counts():
    assert part("a/b?c") == "a%2Fb%3Fc"
    assert "\x1b" not in plain("\x1b[31mred")
    assert (counted(1, "account"), counted(1000, "account")) == ("1 account", "1,000 accounts")
