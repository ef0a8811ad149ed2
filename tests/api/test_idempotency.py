"""Who sends a request again with its `Idempotency-Key` gets the first reply; nothing runs again."""

import asyncio
import json

import pytest

from groxy.api.errors import ErrorBoundary
from groxy.api.idempotency import IdempotentEndpoint, fingerprint_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.replays import Replays
from groxy.state.memory import MemoryState
from groxy.store.database import Database
from groxy.store.kept import KeptStore
from groxy.store.secrets import InstallationSecret
from groxy.wire.asgi import header, read_body
from tests.inprocess import ask

PATH = "/v1/chat/completions"
STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"x-groxy-attempts", b"1"),
    (b"x-ratelimit-remaining-requests", b"7"),
]


class Endpoint:
    """Streams a number, in two pieces with a gate between them; or fails."""

    def __init__(self) -> None:
        self.runs = 0
        self.failure: GroxyError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.bodies: list[bytes] = []

    async def __call__(self, scope, receive, send):
        self.bodies.append(await read_body(scope, receive, limit=100))
        if self.failure is not None:
            raise self.failure
        self.runs += 1
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        await send({"type": "http.response.body", "body": b"run ", "more_body": True})
        await self.gate.wait()
        await send({"type": "http.response.body", "body": b"%d" % self.runs})


class Site:
    """An endpoint behind its keys."""

    def __init__(self, database, *, stall_s: float = 5.0) -> None:
        self.endpoint = Endpoint()
        self.tasks: set[asyncio.Task[None]] = set()
        self.replays = Replays(
            kept=KeptStore(database, InstallationSecret(b"s" * 32)),
            state=MemoryState(),
            spawn=self._spawn,
            hours=lambda: 1,
            wait_s=lambda: 2.0,
            look_every_s=0.01,
        )
        self.app = ErrorBoundary(
            IdempotentEndpoint(
                endpoint=self.endpoint,
                replays=self.replays,
                owner_of=self._owner,
                is_in_books=True,
                stall_s=lambda: stall_s,
                most_bytes=lambda: 1_000,
            )
        )

    async def _owner(self, scope):
        return header(scope, b"authorization") or ""

    def _spawn(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def ask(self, key: str | None = "k", *, body=b"{}", path=PATH, content_type="", **more):
        headers = {} if key is None else {"idempotency-key": key}
        if content_type:
            headers["content-type"] = content_type
        return await ask(self.app, "POST", path, body=body, headers=headers, **more)

    async def settled(self):
        while self.tasks:
            await asyncio.wait(self.tasks)


@pytest.fixture
async def site(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    site = Site(database)
    yield site
    site.endpoint.gate.set()
    await site.settled()
    await database.close()


async def test_without_the_header_each_request_runs(site):
    assert [(await site.ask(None)).body for _ in range(2)] == [b"run 1", b"run 2"]
    assert site.replays.count == 0


async def test_a_repeat_gets_the_first_reply_and_says_so(site):
    first = await site.ask()
    await site.settled()
    again = await site.ask()
    assert (first.status, first.body) == (again.status, again.body) == (200, b"run 1")
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-groxy-original-request-id"] == first.headers["x-request-id"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert again.headers["content-type"] == "text/event-stream"
    assert again.headers["x-groxy-attempts"] == "1"
    assert "x-ratelimit-remaining-requests" in first.headers
    assert "x-ratelimit-remaining-requests" not in again.headers


async def test_twins_run_once(site):
    site.endpoint.gate.clear()
    asked = [asyncio.create_task(site.ask()) for _ in range(50)]
    await asyncio.sleep(0.05)
    site.endpoint.gate.set()
    answers = await asyncio.gather(*asked)
    assert {answer.body for answer in answers} == {b"run 1"}
    replayed = [answer for answer in answers if "idempotent-replayed" in answer.headers]
    assert len(replayed) == 49
    assert site.endpoint.runs == 1


async def test_a_client_that_leaves_does_not_end_it(site):
    site.endpoint.gate.clear()
    leaving = asyncio.create_task(site.ask())
    await asyncio.sleep(0.05)
    for _ in range(2):  # Once it waits for the end: that of a gateway which stops.
        leaving.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await leaving
    twin = asyncio.create_task(site.ask())
    await asyncio.sleep(0.05)
    site.endpoint.gate.set()
    assert (await twin).body == b"run 1"
    assert site.endpoint.runs == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb", "\x7f"])
async def test_a_key_that_is_none_is_refused_by_name(site, key):
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        sent.append(message)

    await site.app(scope, receive, send)
    assert sent[0]["status"] == 400
    error = json.loads(b"".join(message.get("body", b"") for message in sent))["error"]
    assert (error["param"], error["code"]) == ("idempotency-key", "invalid_idempotency_key")
    assert site.endpoint.runs == 0


async def test_keys_of_255_characters_are_taken(site):
    assert (await site.ask("~" * 255)).status == 200


@pytest.mark.parametrize("is_running", [True, False])
async def test_another_body_is_a_conflict(site, is_running):
    site.endpoint.gate.clear()
    first = asyncio.create_task(site.ask())
    await asyncio.sleep(0.05)
    if not is_running:
        site.endpoint.gate.set()
        await first
        await site.settled()
    answer = await site.ask(body=b'{"n": 2}')
    assert (answer.status, answer.error["code"]) == (409, "idempotency_key_reused")
    site.endpoint.gate.set()
    assert (await first).body == b"run 1"
    assert site.endpoint.runs == 1


async def test_the_same_key_of_another_caller_or_on_another_path_is_another(site):
    bodies = [
        (await site.ask()).body,
        (await site.ask(key="k2")).body,
    ]
    other = await ask(
        site.app, "POST", PATH, body=b"{}", key="sk-other", headers={"idempotency-key": "k"}
    )
    elsewhere = await site.ask(path="/v1/responses")
    assert [*bodies, other.body, elsewhere.body] == [b"run 1", b"run 2", b"run 3", b"run 4"]


async def test_both_prefixes_are_one_path(site):
    await site.ask()
    await site.settled()
    assert (await site.ask(path="/api" + PATH)).body == b"run 1"


async def test_an_error_of_the_body_is_replayed_with_its_status(site):
    site.endpoint.failure = GroxyError(ErrorKind.BAD_REQUEST, "No.", param="n")
    first = await site.ask()
    await site.settled()
    site.endpoint.failure = None
    again = await site.ask()
    assert (first.status, first.body) == (again.status, again.body)
    assert again.status == 400
    assert again.headers["idempotent-replayed"] == "true"


async def test_an_error_of_another_reason_lets_go(site):
    site.endpoint.failure = GroxyError(ErrorKind.RATE_LIMITED, "Slowly.", retry_after_s=3)
    first = await site.ask()
    assert (first.status, first.headers["retry-after"]) == (429, "3")
    await site.settled()
    site.endpoint.failure = None
    assert (await site.ask()).body == b"run 1"


async def test_a_crash_is_told_and_lets_go(site):
    site.endpoint.failure = RuntimeError("a defect")
    first = await site.ask()
    assert first.status == 500
    assert "defect" not in first.body.decode()
    await site.settled()
    site.endpoint.failure = None
    assert (await site.ask()).status == 200


async def test_a_body_beyond_the_bound_is_refused_and_never_runs(site):
    answer = await site.ask(body=b"x" * 1_001)
    assert answer.status == 413
    assert site.endpoint.bodies == []


async def test_a_client_that_reads_nothing_is_left(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    site = Site(database, stall_s=0.05)

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    headers = [(b"idempotency-key", b"k")]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers}
    await asyncio.wait_for(site.app(scope, receive, send), 5)
    await site.settled()
    assert (await site.ask(key="k2", path=PATH)).body == b"run 2"
    await site.settled()
    await database.close()


def form(boundary: bytes, *parts: bytes) -> bytes:
    head = b'\r\ncontent-disposition: form-data; name="a"\r\n\r\n'
    pieces = [b"--" + boundary + head + part + b"\r\n" for part in parts]
    return b"".join(pieces) + b"--" + boundary + b"--\r\n"


def of_form(boundary: bytes, *parts: bytes) -> bytes:
    kind = f'multipart/form-data; boundary="{boundary.decode()}"'
    return fingerprint_of(PATH, kind, form(boundary, *parts))


def test_the_boundary_of_a_form_does_not_count():
    assert of_form(b"one", b"1", b"2") == of_form(b"another", b"1", b"2")
    assert of_form(b"one", b"1", b"2") != of_form(b"one", b"1", b"3")
    assert of_form(b"one", b"1", b"2") != of_form(b"one", b"12")


def test_paths_and_bodies_tell_requests_apart():
    prints = [fingerprint_of(*given) for given in [("/a", "", b"b"), ("/a", "", b"c")]]
    prints.append(fingerprint_of("/b", "", b"b"))
    assert len(set(prints)) == 3
    assert len(prints[0]) == 32


def test_json_that_names_a_boundary_is_taken_as_it_is():
    kind = "application/json; boundary=x"
    assert fingerprint_of("/a", kind, b"--x1") != fingerprint_of("/a", kind, b"--x--x1")
