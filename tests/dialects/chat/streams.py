"""Streams for the chat tests: written as upstreams write them, read as a strict client does."""

import json
from dataclasses import dataclass, field
from typing import Any

from groxy.core.usage import Usage
from groxy.dialects._base import UsageRules
from groxy.dialects.chat.relay import ChatRelay

DONE = b"data: [DONE]\n\n"
HEAD = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1752854522,
    "model": "grok-4",
}
XAI_USAGE = {
    "prompt_tokens": 32,
    "completion_tokens": 9,
    "total_tokens": 135,
    "prompt_tokens_details": {"text_tokens": 32, "image_tokens": 0, "cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 94},
    "num_sources_used": 0,
}
"""docs.x.ai, 2025-07: reasoning stands beside the completion."""
READ_XAI_USAGE = Usage(input_tokens=32, cached_tokens=6, output_tokens=103, reasoning_tokens=94)


def event(chunk: Any) -> bytes:
    """One event of a stream; a chunk may be bytes of any kind."""
    data = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()
    return b"data: " + data + b"\n\n"


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return HEAD | {"choices": list(choices)} | fields


def choice(delta: Any = None, finish: Any = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta or {}, "finish_reason": finish} | more


def says(text: Any, **fields: Any) -> bytes:
    """An event with text of the first choice."""
    return event(chunk(choice({"content": text}), **fields))


def begins(**fields: Any) -> bytes:
    """The event that opens the first choice."""
    return event(chunk(choice({"role": "assistant", "content": ""}), **fields))


def ends(reason: Any = "stop", **fields: Any) -> bytes:
    """The event that ends the first choice."""
    return event(chunk(choice({}, reason), **fields))


def calls(*tool_calls: Any, finish: Any = None, index: int = 0) -> bytes:
    """An event with tool calls."""
    return event(chunk(choice({"tool_calls": list(tool_calls)}, finish, index)))


def call(arguments: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A tool call, or a fragment of one."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"function": function} | more


def usage_event(usage: Any, **fields: Any) -> bytes:
    return event(chunk(usage=usage, **fields))


# ------------------------------------------------------------------------------- a strict client


@dataclass
class Heard:
    """What a strict client made of one choice."""

    text: str = ""
    thoughts: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish: str = ""

    def take(self, one: dict[str, Any], *, is_first: bool) -> None:
        """Take a choice of a chunk, the way clients rely on it."""
        assert not self.finish, "nothing follows the end"
        delta = one["delta"]
        assert isinstance(delta, dict)
        assert ("role" in delta) == is_first, "the role comes once, and first"
        assert delta.get("role", "assistant") == "assistant"
        content = delta.get("content")
        assert content is None or isinstance(content, str)
        self.text += content or ""
        self.thoughts += delta.get("reasoning_content") or ""
        for fragment in delta.get("tool_calls") or ():
            self._take_call(fragment)
        reason = one.get("finish_reason")
        assert reason in (None, "stop", "length", "tool_calls", "content_filter", "function_call")
        self.finish = reason or self.finish

    def _take_call(self, fragment: dict[str, Any]) -> None:
        index = fragment["index"]
        if fragment.get("id"):
            assert fragment["type"] == "function"
        function = fragment.get("function") or {}
        held = self.calls.setdefault(
            index, {"id": fragment.get("id", ""), "name": function.get("name", ""), "arguments": ""}
        )
        held["arguments"] += function.get("arguments") or ""


@dataclass
class Outcome:
    """What came of one relayed stream."""

    relay: ChatRelay
    passed: bytes
    """What the caller got before the end was known."""
    last: bytes
    """The last bytes, when the reply was complete."""

    @property
    def sent(self) -> bytes:
        return self.passed + self.last

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return chunks_of(self.sent)

    @property
    def heard(self) -> Heard:
        return heard_from(self.sent)[0]


def data_of(stream: bytes) -> list[bytes]:
    """The data of each event; nothing but data events may be there."""
    events = stream.split(b"\n\n")
    assert events.pop() == b""
    assert all(one.startswith(b"data: ") and b"\n" not in one for one in events)
    return [one.removeprefix(b"data: ") for one in events]


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream; `[DONE]` may only be its last event."""
    data = data_of(stream)
    assert b"[DONE]" not in data[:-1]
    return [json.loads(one) for one in data if one != b"[DONE]"]


def heard_from(stream: bytes) -> dict[int, Heard]:
    """What a strict client makes of each choice."""
    heard: dict[int, Heard] = {}
    for one in chunks_of(stream):
        assert one["object"] == "chat.completion.chunk"
        for part in one["choices"]:
            is_first = part["index"] not in heard
            heard.setdefault(part["index"], Heard()).take(part, is_first=is_first)
    return heard


def relayed(*pieces: bytes, wants_usage: bool = False, rules: UsageRules | None = None) -> Outcome:
    """Relay a stream that comes in these pieces, as the gateway does; `[DONE]` is not added."""
    relay = ChatRelay(wants_usage=wants_usage, rules=rules or UsageRules())
    passed = b""
    for piece in pieces:
        passed += relay.feed(piece)
        if relay.is_done:
            break
    return _finished(relay, passed + relay.close())


def relayed_whole(
    body: bytes, *, wants_usage: bool = False, rules: UsageRules | None = None
) -> Outcome:
    """Relay a reply that came whole."""
    relay = ChatRelay(wants_usage=wants_usage, rules=rules or UsageRules())
    return _finished(relay, relay.feed_whole(body))


def _finished(relay: ChatRelay, passed: bytes) -> Outcome:
    last = b""
    if relay.is_complete:
        last = relay.finish(relay.reported_usage() or Usage(input_tokens=1, estimated=True))
    return Outcome(relay, passed, last)
