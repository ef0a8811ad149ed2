"""What the sandbox tells who asks for no answer, with the scripts of keys, over its own front."""

import json

import pytest

from groxy.core.errors import ErrorKind
from groxy.upstreams._base import ErrorReply
from groxy.upstreams.sandbox import UPSTREAM
from groxy.upstreams.sandbox.server import Sandbox
from tests.upstreams.sandbox.asking import body

ALL_PATHS = ("/v1/models", "/v1/models/m", "/v1/api-key", "/v1/key", "/v1/files")


class Asker:
    """Asks one sandbox."""

    def __init__(self):
        self.sandbox = Sandbox()

    async def ask(self, path, method="GET", content=b"", key="k", header="authorization"):
        headers = {header: f"Bearer {key}" if header == "authorization" else key}
        reply = self.sandbox.answer(method, path, headers, content)
        return reply, json.loads(b"".join([chunk async for chunk in reply.body]))

    async def put(self, script, key="k"):
        content = json.dumps({"key": key, "script": script}).encode()
        reply, told = await self.ask("/v1/faults", "PUT", content)
        assert reply.status == 200, told
        return told

    async def chat(self, text="Hello", key="k", **fields):
        return await self.ask("/v1/chat/completions", "POST", body(text, **fields), key)


@pytest.fixture
def asker():
    return Asker()


def kind_of(reply, told):
    failed = ErrorReply(
        status=reply.status, body=json.dumps(told).encode(), headers=dict(reply.headers)
    )
    return UPSTREAM.read_error(failed).kind


async def test_a_script_fails_one_key_and_no_other(asker):
    await asker.put("status=503 retry_after=2")
    reply, told = await asker.chat()
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert kind_of(reply, told) is ErrorKind.UPSTREAM_DOWN
    assert (await asker.chat(key="other"))[0].status == 200


async def test_a_key_is_known_by_either_header(asker):
    await asker.put("status=503")
    content = body()
    for header in ("authorization", "x-api-key"):
        reply, _ = await asker.ask("/v1/chat/completions", "POST", content, header=header)
        assert reply.status == 503


async def test_a_marker_overrides_the_script_of_the_key(asker):
    await asker.put("status=503 retry_after=2")
    reply, _ = await asker.chat("Hello [[sandbox: status=429]]")
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")


async def test_requests_for_answers_count_and_others_do_not(asker):
    await asker.put("after=1 status=429")
    for path in ALL_PATHS:
        assert (await asker.ask(path))[0].status == 200
    assert (await asker.chat())[0].status == 200
    assert (await asker.chat())[0].status == 429
    assert (await asker.ask("/v1/models"))[0].status == 200
    assert (await asker.ask("/v1/faults"))[1]["data"] == [{"key": "xai-...dbox", "requests": 2}]


@pytest.mark.parametrize("path", ALL_PATHS)
@pytest.mark.parametrize(
    ("script", "kind"),
    [("wrong_key", ErrorKind.UPSTREAM_AUTH), ("status=503", ErrorKind.UPSTREAM_DOWN)],
)
async def test_a_revoked_key_and_an_outage_are_met_at_every_path(asker, path, script, kind):
    await asker.put(script)
    assert kind_of(*await asker.ask(path)) is kind
    assert kind_of(*await asker.chat()) is kind
    assert (await asker.ask("/health"))[0].status == 200
    await asker.put("")
    assert (await asker.ask(path))[0].status == 200


@pytest.mark.parametrize("path", [*ALL_PATHS, "/v1/chat/completions"])
async def test_a_slow_server_is_slow_at_every_path(asker, path):
    await asker.put("slow_first=2")
    is_chat = path.endswith("completions")
    reply = asker.sandbox.answer(
        "POST" if is_chat else "GET", path, {"authorization": "Bearer k"}, body()
    )
    assert (reply.head_after_s, reply.takes_time) == (2, True)


async def test_a_key_without_credits_still_exists(asker):
    await asker.put("no_credits=429")
    assert kind_of(*await asker.chat()) is ErrorKind.UPSTREAM_QUOTA
    assert (await asker.ask("/v1/api-key"))[1]["api_key_blocked"] is False
    assert (await asker.ask("/v1/key"))[1]["data"]["limit_remaining"] == 0


async def test_a_blocked_key_says_so_and_gets_no_answer(asker):
    await asker.put("blocked")
    assert kind_of(*await asker.chat()) is ErrorKind.UPSTREAM_AUTH
    assert (await asker.ask("/v1/api-key"))[1]["api_key_blocked"] is True


async def test_a_key_for_some_models_gets_no_others(asker):
    await asker.put("models=grok-4.3")
    assert (await asker.chat(model="grok-4.3"))[0].status == 200
    assert kind_of(*await asker.chat(model="grok-4.7")) is ErrorKind.MODEL_ABSENT
    assert [each["id"] for each in (await asker.ask("/v1/models"))[1]["data"]] == ["grok-4.3"]


async def test_a_quota_that_is_used_up_is_a_429_that_says_how_long(asker):
    await asker.put("quota=1:30")
    reply, _ = await asker.chat()
    assert reply.status == 200
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
    reply, told = await asker.chat()
    assert kind_of(reply, told) is ErrorKind.UPSTREAM_LIMITED
    assert 29 < float(reply.headers["retry-after"]) <= 30
    facts = UPSTREAM.read_limits(reply.headers)
    assert facts is not None
    assert facts.requests is not None
    assert (facts.requests.limit, facts.requests.remaining) == (1, 0)
    assert facts.requests.reset_s == pytest.approx(30, abs=1)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_message_may_ask_for_headers_of_limits(asker, stream):
    text = "Hi [[sandbox: limits=100:42:30 token_limits=9:8:1]]"
    headers = {"authorization": "Bearer k"}
    content = body(text, stream=stream)
    reply = asker.sandbox.answer("POST", "/v1/chat/completions", headers, content)
    limits = {name: value for name, value in reply.headers.items() if "ratelimit" in name}
    assert limits == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "42",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "9",
        "x-ratelimit-remaining-tokens": "8",
        "x-ratelimit-reset-tokens": "1s",
    }
    reply.body.close()


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("/v1/messages", "limits=9:8", "anthropic-ratelimit-requests-limit"),
        ("/v1/chat/completions", "limits=9:8 shape=openrouter", "x-ratelimit-limit"),
        ("/v1/chat/completions", "limits=9:8 status=429", "x-ratelimit-limit-requests"),
        ("/v1/chat/completions", "token_limits=9:8", "x-ratelimit-limit-tokens"),
    ],
)
async def test_limits_are_told_in_the_shape_of_who_is_played(asker, path, text, name):
    content = body(f"Hi [[sandbox: {text}]]", max_tokens=5)
    reply, _ = await asker.ask(path, "POST", content)
    assert reply.headers[name] == "9"


async def test_a_reply_tells_of_limits_only_when_asked_to(asker):
    reply, _ = await asker.chat()
    assert not any("ratelimit" in name for name in reply.headers)


async def test_vectors_and_tokens_fail_with_their_key_too(asker):
    await asker.put("status=503")
    vectors = b'{"model":"v1","input":"a"}'
    assert (await asker.ask("/v1/embeddings", "POST", vectors))[0].status == 503
    tokens = b'{"model":"m","text":"a"}'
    assert (await asker.ask("/v1/tokenize-text", "POST", tokens))[0].status == 503
    await asker.put("quota=2:30")
    assert (await asker.ask("/v1/embeddings", "POST", vectors))[0].status == 200
    reply, _ = await asker.ask("/v1/tokenize-text", "POST", tokens)
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"


async def test_files_are_listed_shown_and_deleted_key_by_key(asker):
    await asker.put("files=2")
    page = UPSTREAM.read_files(json.dumps((await asker.ask("/v1/files"))[1]).encode())
    assert len(page.files) == 2
    path = f"/v1{UPSTREAM.file_path(page.files[0].id)}"
    assert (await asker.ask(path))[1]["filename"] == page.files[0].name
    assert (await asker.ask(path, "DELETE", key="other"))[0].status == 404
    assert (await asker.ask(path, "DELETE"))[1]["deleted"] is True
    assert (await asker.ask(path))[0].status == 404
    assert len((await asker.ask("/v1/files?limit=1"))[1]["data"]) == 1
    assert (await asker.ask("/v1/files?limit=101"))[0].status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/files"), ("DELETE", "/v1/files"), ("POST", "/v1/faults"),
     ("POST", "/v1/api-key"), ("POST", "/health"), ("DELETE", "/v1/key")],
)  # fmt: skip
async def test_other_methods_are_refused(asker, method, path):
    assert (await asker.ask(path, method))[0].status == 405


async def test_all_scripts_can_be_taken_away(asker):
    await asker.put("status=503")
    await asker.put("status=503", key="*")
    listed = (await asker.ask("/v1/faults"))[1]["data"]
    assert [each["key"] for each in listed] == ["xai-...dbox", "*"]
    reply, told = await asker.ask("/v1/faults", "DELETE")
    assert (reply.status, told["data"]) == (200, [])
    assert (await asker.chat())[0].status == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"key":1}',
        b'{"key":"k","script":"explode"}',
        b'{"key":"k","script":"times=x"}',
    ],
)
async def test_a_script_that_cannot_be_is_refused_and_changes_nothing(asker, content):
    await asker.put("status=503")
    assert (await asker.ask("/v1/faults", "PUT", content))[0].status == 400
    assert (await asker.chat())[0].status == 503
