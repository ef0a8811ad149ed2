"""The sandbox in-process, and the upstream that offers it."""

import json
import time

import msgspec
import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Frame, UsageRules
from groxy.dialects.chat import DIALECT
from groxy.upstreams import discover
from groxy.upstreams._base import BillField, Credentials, ErrorReply
from groxy.upstreams.sandbox import UPSTREAM
from groxy.upstreams.sandbox.faults import Repeats
from groxy.upstreams.sandbox.transport import SandboxTransport
from groxy.wire.http import Outgoing, Transport
from tests.upstreams.sandbox.asking import body

_FRAME = Frame(reply_id="r", created=1, count_input=lambda: 1)
_URL = "sandbox://in-process/v1/chat/completions"


async def _send(transport, content, url=_URL, method="POST"):
    return await transport.send(Outgoing(url=url, headers={}, body=content, method=method))


async def test_a_request_is_answered_without_a_socket():
    transport: Transport = SandboxTransport()
    reply = await _send(transport, body())
    assert reply.status == 200
    assert json.loads(await reply.read(100_000))["object"] == "chat.completion"
    reply.close()
    await transport.close()


async def test_headers_are_found_in_any_case():
    reply = await _send(SandboxTransport(), body("[[sandbox: status=429 retry_after=2]]"))
    assert reply.headers["Retry-After"] == "2"
    assert reply.headers.get("RETRY-AFTER") == "2"
    assert "Content-Type" in reply.headers
    assert reply.headers.get("x-none") is None
    assert reply.headers.get("x-none", "a") == "a"


async def test_the_model_list_is_served_too():
    url = UPSTREAM.address(Credentials(api_key="")) + "/models"
    reply = await _send(SandboxTransport(["one"]), b"", url, "GET")
    assert UPSTREAM.read_models(await reply.read(10_000)) == {"one"}


async def test_a_reply_that_is_too_long_is_refused():
    reply = await _send(SandboxTransport(), body())
    with pytest.raises(GroxyError) as caught:
        await reply.read(10)
    assert caught.value.kind is ErrorKind.BAD_REPLY


async def test_a_cut_is_the_same_error_as_on_the_network():
    reply = await _send(SandboxTransport(), body("[[sandbox: cut_after=3]]", stream=True))
    chunks = reply.chunks()
    got = await anext(chunks)
    with pytest.raises(GroxyError) as caught:
        await anext(chunks)
    assert caught.value.kind is ErrorKind.STREAM_BROKEN
    assert got.count(b"\n\n") == 3


async def test_the_head_of_a_whole_reply_waits():
    started = time.monotonic()
    await _send(SandboxTransport(), body("[[sandbox: slow_first=0.05]]"))
    assert time.monotonic() - started >= 0.05


async def test_the_chat_dialect_reads_what_it_sends_streamed_and_whole():
    rules = UPSTREAM.usage_rules
    for text in ("Hello", "Hello [[sandbox: usage=cumulative repeat_role comments split=5]]"):
        content = body(
            text, stream=True, stream_options={"include_usage": True}, reasoning_effort="high"
        )
        asked = DIALECT.decode_request(content)
        relay = DIALECT.relay(asked, rules, _FRAME)
        reply = await _send(SandboxTransport(), content)
        async for chunk in reply.chunks():
            relay.feed(chunk)
        assert relay.failure is None
        assert relay.is_complete
        whole = await _send(SandboxTransport(), body(text, reasoning_effort="high"))
        read = DIALECT.read_whole(await whole.read(100_000), asked, rules, _FRAME)
        assert relay.reported_usage() == read.reported_usage()
        usage = read.reported_usage()
        assert usage is not None
        assert usage.output_tokens > usage.reasoning_tokens > 0
        assert usage.cost_ticks


def test_the_sandbox_is_an_upstream_like_any_other():
    assert discover()["sandbox"] is UPSTREAM
    assert UPSTREAM.serves_catalog
    assert not UPSTREAM.needs_key
    assert UPSTREAM.usage_rules == UsageRules(bill=BillField.TICKS, reasoning_apart=True)
    assert UPSTREAM.headers(Credentials(api_key="")) == {}


def test_an_account_with_an_address_is_a_sandbox_elsewhere():
    account = Credentials(api_key="", base_url="http://127.0.0.1:9001/v1/")
    assert UPSTREAM.transport(account) is None
    assert UPSTREAM.address(account) == "http://127.0.0.1:9001/v1"


async def test_an_account_has_a_pace():
    transport = UPSTREAM.transport(Credentials(api_key="", options={"tokens_per_s": "50"}))
    assert transport is not None
    started = time.monotonic()
    await _send(transport, body("[[sandbox: tokens=5]]"))
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("pace", ["fast", "-1", "nan", "1e9"])
def test_a_pace_that_is_none_is_refused(pace):
    with pytest.raises(ValueError, match="tokens_per_s"):
        UPSTREAM.transport(Credentials(api_key="", options={"tokens_per_s": pace}))


def _account(**options):
    return Credentials(api_key="", options=options)


def test_an_account_speaks_every_dialect_or_those_it_names():
    every = (
        "chat",
        "responses",
        "messages",
        "completions",
        "embeddings",
        "images",
        "videos",
    )
    assert UPSTREAM.dialects_of(_account()) == UPSTREAM.dialects == every
    assert UPSTREAM.dialects_of(_account(dialects="messages, chat")) == ("messages", "chat")


async def test_an_account_answers_in_no_other_dialect_than_it_speaks():
    transport = UPSTREAM.transport(_account(dialects="messages,embeddings"))
    assert transport is not None
    base = UPSTREAM.address(_account())
    messages = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'
    assert (await _send(transport, messages, f"{base}/messages")).status == 200
    vectors = b'{"model":"m","input":"Hi"}'
    assert (await _send(transport, vectors, f"{base}/embeddings")).status == 200
    assert (await _send(transport, body())).status == 404
    chats = UPSTREAM.transport(_account(dialects="chat"))
    assert chats is not None
    assert (await _send(chats, body())).status == 200
    assert (await _send(chats, vectors, f"{base}/embeddings")).status == 404


@pytest.mark.parametrize("base_url", ["", "http://127.0.0.1:9001/v1"])
def test_a_dialect_that_nobody_knows_is_refused(base_url):
    account = Credentials(api_key="", base_url=base_url, options={"dialects": "chat,soap"})
    with pytest.raises(ValueError, match="soap"):
        UPSTREAM.transport(account)


def test_an_error_of_messages_inside_a_200_is_read_by_its_type():
    said = b'{"type":"error","error":{"type":"rate_limit_error","message":"No."}}'
    assert UPSTREAM.read_error(ErrorReply(status=200, body=said)).kind is ErrorKind.UPSTREAM_LIMITED


async def test_accounts_share_the_count_of_failures():
    repeats = Repeats()
    one, other = SandboxTransport(repeats=repeats), SandboxTransport(repeats=repeats)
    content = body("[[sandbox: status=500 times=1]]")
    assert [(await _send(each, content)).status for each in (one, other)] == [500, 200]
    content = body("[[sandbox: status=500 times=1]] through the upstream")
    transports = [UPSTREAM.transport(Credentials(api_key="")) for _ in range(2)]
    assert [(await _send(each, content)).status for each in transports] == [500, 200]


async def test_accounts_share_what_becomes_of_a_key():
    ask = Outgoing(url="sandbox://in-process/v1/files", headers={"Authorization": "Bearer k"})
    account = Credentials(api_key="k")
    first, second = (UPSTREAM.transport(account) for _ in range(2))
    assert first is not None
    assert second is not None
    (file, *_) = UPSTREAM.read_files(await _read(first, ask, "GET")).files
    await _read(first, ask, "DELETE", UPSTREAM.file_path(file.id))
    left = UPSTREAM.read_files(await _read(second, ask, "GET")).files
    assert file not in left
    assert len(left) == 2


async def test_an_account_is_known_by_its_key():
    transport = SandboxTransport()
    ask = Outgoing(url=_URL, headers={"Authorization": "Bearer k"})
    named = b'{"key":"k","script":"status=503"}'
    await _send(transport, named, "sandbox://in-process/v1/faults", "PUT")
    reply = await transport.send(msgspec.structs.replace(ask, body=body()))
    assert reply.status == 503
    assert (await _send(transport, body())).status == 200


async def _read(transport, ask, method, path=""):
    url = ask.url if not path else ask.url.removesuffix("/files") + path
    reply = await transport.send(msgspec.structs.replace(ask, url=url, method=method))
    assert reply.status == 200
    return await reply.read(100_000)
