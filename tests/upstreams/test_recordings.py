"""Replays tests/recordings/<upstream>/<case>.json through the upstream and the chat dialect.

A recording has what a caller asked, what we then send, what the upstream answered (copied from
the source it names), and what it means: the reply or the events for the caller, the usage for the
books, or the kind of error. Streams are replayed split at every byte.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from groxy.core.errors import GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, EmbeddedError, Frame, StreamRelay
from groxy.dialects.chat import DIALECT
from groxy.upstreams import discover
from groxy.upstreams._base import Credentials, ErrorReply, ModelFacts, Upstream

RECORDINGS = Path(__file__).parents[1] / "recordings"
UPSTREAMS = discover()


def _cases() -> list[Any]:
    cases = []
    for path in sorted(RECORDINGS.glob("*/*.json")):
        if path.parent.name not in UPSTREAMS:
            continue
        recording = json.loads(path.read_text())
        name = f"{path.parent.name}-{path.stem}"
        cases.append(pytest.param(path.parent.name, recording, id=name))
    return cases


@pytest.mark.parametrize(("name", "recording"), _cases())
def test_recording_is_sent_and_read_as_it_says(name, recording):
    upstream = UPSTREAMS[name]
    asked = DIALECT.decode_request(json.dumps(recording["asked"]).encode())
    assert _sent(upstream, asked, recording) == recording["sent"]
    expected = dict(recording["expected"])
    reply, headers = recording["reply"], recording["reply"]["headers"]
    facts = upstream.read_headers(headers)
    assert facts.is_cached == expected.pop("is_cached", False)
    body = reply["text"] if "text" in reply else json.dumps(reply["json"], ensure_ascii=False)
    if reply["status"] != 200:
        error = upstream.read_error(
            ErrorReply(status=reply["status"], body=body.encode(), headers=headers)
        )
        assert {"error": _shown(error, expected["error"])} == expected
        return
    is_stream = headers["content-type"].startswith("text/event-stream")
    for got in _read(upstream, asked, body.encode(), is_stream=is_stream):
        assert _compared(upstream, got, expected) == expected


def _sent(upstream: Upstream, asked: Asked, recording: dict[str, Any]) -> dict[str, Any]:
    account = Credentials(api_key="KEY", **recording.get("account", {}))
    facts = recording["facts"]
    model = upstream.model_id(asked.model, account)
    fields = DIALECT.outgoing(asked, model=model, effort=None, stream=bool(asked.stream))
    adjusted = upstream.prepare(
        fields,
        ModelFacts(
            rejects=frozenset(facts["rejects"]),
            efforts=tuple(facts["efforts"]),
            reasons=facts["reasons"],
        ),
    )
    return {
        "url": upstream.address(account) + DIALECT.upstream_path,
        "headers": upstream.headers(account),
        "body": {name: json.loads(bytes(raw)) for name, raw in fields.items()},
        "adjusted": adjusted,
    }


FRAME = Frame(reply_id="0", created=1, count_input=lambda: 1)
Got = tuple[bytes, Usage | None, Exception | None]
"""What the caller gets, what the books get, what went wrong."""


def _read(upstream: Upstream, asked: Asked, body: bytes, *, is_stream: bool) -> list[Got]:
    """Read a 200 in every way that it may arrive."""
    if not asked.stream:
        return [_read_whole(upstream, asked, body)]
    if not is_stream:
        relay = DIALECT.relay(asked, upstream.usage_rules, FRAME)
        return [_end(relay, relay.feed_whole(body))]
    found = [_relayed(upstream, asked, [body[:at], body[at:]]) for at in range(len(body) + 1)]
    return [*found, _relayed(upstream, asked, [body[at : at + 1] for at in range(len(body))])]


def _read_whole(upstream: Upstream, asked: Asked, body: bytes) -> Got:
    try:
        reply = DIALECT.read_whole(body, asked, upstream.usage_rules, FRAME)
    except (EmbeddedError, GroxyError) as error:
        return b"", None, error
    usage = reply.reported_usage()
    return reply.encode(usage or Usage(input_tokens=1)), usage, None


def _relayed(upstream: Upstream, asked: Asked, chunks: list[bytes]) -> Got:
    relay = DIALECT.relay(asked, upstream.usage_rules, FRAME)
    passed = b"".join([relay.feed(chunk) for chunk in chunks])
    return _end(relay, passed + relay.close())


def _end(relay: StreamRelay, passed: bytes) -> Got:
    usage = relay.reported_usage()
    if relay.failure is None:
        assert relay.is_complete
        passed += relay.finish(usage or Usage(input_tokens=1))
        assert passed.endswith(b"data: [DONE]\n\n")
    return passed, usage, relay.failure


def _compared(upstream: Upstream, got: Got, expected: dict[str, Any]) -> dict[str, Any]:
    """Return what was got in the form of `expected`, with no more than `expected` asks for."""
    passed, usage, failure = got
    shown: dict[str, Any] = {}
    if isinstance(failure, EmbeddedError):
        failure = upstream.read_error(ErrorReply(status=200, body=failure.payload))
    if isinstance(failure, GroxyError):
        shown["error"] = _shown(failure, expected.get("error", {}))
    if "events" in expected:
        lines = [line.removeprefix("data: ") for line in passed.decode().split("\n\n") if line]
        shown["events"] = [json.loads(line) for line in lines if line != "[DONE]"]
    if "reply" in expected and passed:
        shown["reply"] = json.loads(passed)
    if "usage" in expected and usage is not None:
        shown["usage"] = {name: getattr(usage, name) for name in expected["usage"]}
    return shown


def _shown(error: GroxyError, expected: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "kind": error.kind.name,
        "param": error.param,
        "message": error.message,
        "retry_after_s": error.retry_after_s,
    }
    return {name: value for name, value in shown.items() if name in expected or name == "kind"}


def test_every_upstream_but_the_sandbox_has_recordings():
    recorded = {path.parent.name for path in RECORDINGS.glob("*/*.json")}
    assert set(UPSTREAMS) - {"sandbox"} <= recorded
