"""Every POST is either run once for each idempotency key, or known to do no harm twice."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from groxy.api.idempotency import IdempotentEndpoint
from groxy.app.idempotency import AS_THEY_ARE, AT_MOST_ONCE, IN_BOOKS, OF_USERS, with_idempotency
from groxy.gateway.replays import KIND
from groxy.store import tables
from groxy.store.entries import last_requests
from tests.api.household import household
from tests.api.purses import USD, balance_of, give, person
from tests.inprocess import KEY, application, ask

OTHER_KEY = "sk-of-somebody-else"
CHAT = {"model": "grok-4", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
async def app(tmp_path):
    async with application(tmp_path, app__api_key=f"{KEY},{OTHER_KEY}") as app:
        yield app


async def post(app, path, body, *, caller=KEY):
    return await ask(app, "POST", path, body=body, headers={"idempotency-key": "k"}, key=caller)


async def rows(app):
    return await last_requests(app.database, 100)


def test_each_group_has_its_own():
    groups = [IN_BOOKS, AT_MOST_ONCE, OF_USERS, AS_THEY_ARE]
    assert sum(map(len, groups)) == len(frozenset().union(*groups))


async def test_every_post_is_in_a_group(tmp_path, monkeypatch):
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}

    def wrapped(endpoints, parts, registry):
        before.update(endpoints)
        after.update(with_idempotency(endpoints, parts, registry))
        return after

    monkeypatch.setattr("groxy.app.routes.with_idempotency", wrapped)
    async with application(tmp_path):
        pass
    posts = {path for path, methods in before.items() if "POST" in methods}
    known = IN_BOOKS | AT_MOST_ONCE | OF_USERS | AS_THEY_ARE
    assert posts <= known
    for path in posts - AS_THEY_ARE:
        assert isinstance(after[path]["POST"], IdempotentEndpoint)
        other = {name: one for name, one in after[path].items() if name != "POST"}
        assert not any(isinstance(one, IdempotentEndpoint) for one in other.values())


REQUESTS = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
    ("/v1/messages", CHAT | {"max_tokens": 20}),
    ("/v1/messages", CHAT | {"max_tokens": 20, "stream": True}),
    ("/v1/responses", {"model": "grok-4", "input": "Hello"}),
    ("/v1/responses", {"model": "grok-4", "input": "Hello", "stream": True}),
    ("/v1/responses/compact", {"model": "grok-4", "input": "Hello"}),
    ("/v1/completions", {"model": "grok-4", "prompt": "Hello"}),
    ("/v1/vision/analyze", {"image": "https://x.test/a.png"}),
    ("/v1/images/generations", {"model": "grok-imagine-image", "prompt": "A fox"}),
    ("/v1/chat/completions", CHAT | {"model": "grok-imagine-image"}),
    ("/v1/chat/completions", CHAT | {"model": "grok-imagine-image", "stream": True}),
]


@pytest.mark.parametrize(("path", "body"), REQUESTS)
async def test_a_repeat_gets_the_same_bytes_and_is_in_the_books_once(app, path, body):
    first = await post(app, path, body)
    assert first.status == 200, first.body
    again = await post(app, path, body)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    original = again.headers["x-groxy-original-request-id"]
    assert original == first.headers["x-request-id"]
    assert [row.id for row in await rows(app)] == [original]
    other = await post(app, path, body, caller=OTHER_KEY)
    assert "idempotent-replayed" not in other.headers


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", CHAT | {"n": -1}, 400),
        ("/v1/messages", {"model": "grok-4"}, 400),
        ("/v1/images/generations", {"model": "grok-imagine-image"}, 400),
        ("/v1/videos", {"model": "grok-imagine-video"}, 400),
        ("/v1/vision/analyze", {}, 400),
        ("/v1/chat/completions", b"{", 400),
    ],
)
async def test_a_body_that_is_refused_is_refused_again_in_the_same_words(app, path, body, status):
    first = await post(app, path, body)
    again = await post(app, path, body)
    assert (first.status, again.status, again.body) == (status, status, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await rows(app)) <= 1


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/generations"])
async def test_a_film_is_ordered_once(app, path):
    body = {"model": "grok-imagine-video", "prompt": "A fox"}
    first = await post(app, path, body)
    assert first.status == 200, first.body
    again = await post(app, path, body)
    assert again.body == first.body
    listed = await ask(app, "GET", "/v1/videos")
    assert len(listed.json["data"]) == 1


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/generations"])
async def test_a_film_whose_receipt_was_lost_is_not_ordered_again(app, path):
    """As when the process dies between the two."""
    body = {"model": "grok-imagine-video", "prompt": "A fox"}
    first = await post(app, path, body)
    await forget_replies(app)
    again = await post(app, path, body)
    assert "idempotent-replayed" not in again.headers
    name = "id" if path == "/v1/videos" else "request_id"
    assert again.json[name] == first.json[name]


async def test_a_deferred_reply_is_made_once_and_its_receipt_repeated(app):
    first = await post(app, "/v1/chat/completions", CHAT | {"deferred": True})
    again = await post(app, "/v1/chat/completions", CHAT | {"deferred": True})
    assert first.json == again.json
    await forget_replies(app)
    lost = await post(app, "/v1/chat/completions", CHAT | {"deferred": True})
    assert lost.json == first.json
    while app.open_requests:
        await asyncio.wait(app.open_requests)
    assert len(await rows(app)) == 1
    path = f"/v1/chat/deferred-completion/{first.json['request_id']}"
    reply = await ask(app, "GET", path)
    assert reply.status == 200
    assert reply.json["object"] == "chat.completion"


async def forget_replies(app):
    """Forget what was stored of replies, though the requests are in the books."""
    async with app.database.transaction() as connection:
        await connection.execute(sa.delete(tables.kept).where(tables.kept.c.kind == KIND))


def upload(boundary, content=b"hello"):
    parts = [
        b'content-disposition: form-data; name="purpose"\r\n\r\nuser_data',
        b'content-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + content,
    ]
    line = b"--" + boundary
    return line + b"\r\n" + (b"\r\n" + line + b"\r\n").join(parts) + b"\r\n" + line + b"--\r\n"


async def send_file(app, boundary, **more):
    kind = f"multipart/form-data; boundary={boundary.decode()}"
    headers = {"idempotency-key": "k", "content-type": kind}
    body = upload(boundary, **more)
    return await ask(app, "POST", "/v1/files", body=body, headers=headers)


async def test_a_file_is_uploaded_once_whatever_its_form_is_bounded_by(app):
    first = await send_file(app, b"one")
    assert first.status == 200, first.body
    again = await send_file(app, b"another")
    assert again.json == first.json
    assert len((await ask(app, "GET", "/v1/files")).json["data"]) == 1
    other = await send_file(app, b"one", content=b"other")
    assert (other.status, other.error["code"]) == (409, "idempotency_key_reused")


async def test_what_does_no_harm_ignores_the_header(app):
    for _ in range(2):
        answer = await post(app, "/v1/tokenize", {"model": "grok-4", "text": "Hello"})
        assert answer.status == 200
        assert "idempotent-replayed" not in answer.headers


async def test_replies_are_kept_as_long_as_the_settings_say(tmp_path):
    async with application(tmp_path, billing__idempotency_hours=3) as app:
        await post(app, "/v1/chat/completions", CHAT)
        async with app.database.transaction() as connection:
            query = sa.select(tables.kept.c.expires_ms - tables.kept.c.created_ms)
            (kept_ms,) = await connection.scalars(query.where(tables.kept.c.kind == KIND))
        assert kept_ms == 3 * 3_600_000


async def test_nobody_unknown_learns_what_was_answered(app):
    await post(app, "/v1/chat/completions", CHAT)
    answer = await ask(
        app, "POST", "/v1/chat/completions", body=CHAT, key=None, headers={"idempotency-key": "k"}
    )
    assert answer.status == 401


async def test_a_key_is_made_once_and_told_to_who_asked_only(tmp_path):
    async with household(tmp_path) as house:
        sessions = [await house.session(house.ada), await house.session(house.bob)]
        provisioning = [(await house.key(house.ada.id, is_provisioning=True))[0] for _ in range(2)]

        async def make(key, name="First"):
            headers = {"idempotency-key": "k"}
            answer = await house.ask("POST", "/v1/keys", {"name": name}, key=key, headers=headers)
            return answer.json.get("key") or answer.error["code"]

        made = [await make(key) for key in [*sessions, *provisioning]]
        again = [await make(key) for key in [*sessions, *provisioning]]
        assert again == made
        assert len(set(made)) == 4, "what one is told is for nobody else"
        assert await make(sessions[0], "Second") == "idempotency_key_reused"


async def test_a_caller_pays_once(app):
    ada = await person(app)
    await give(app, ada.id, 5 * USD, "grant:1")
    path = "/v1/chat/completions"
    answers = await asyncio.gather(*(post(app, path, CHAT, caller=ada.key) for _ in range(10)))
    assert len({answer.body for answer in answers}) == 1
    left = await balance_of(app, ada.id)
    assert left < 5 * USD
    assert (await post(app, path, CHAT, caller=ada.key)).status == 200
    assert await balance_of(app, ada.id) == left
    assert len(await rows(app)) == 1


async def test_credits_that_run_out_let_go_of_the_key(app):
    ada = await person(app)
    first = await post(app, "/v1/chat/completions", CHAT, caller=ada.key)
    assert first.status == 402
    await give(app, ada.id, 5 * USD, "grant:1")
    again = await post(app, "/v1/chat/completions", CHAT, caller=ada.key)
    assert again.status == 200
