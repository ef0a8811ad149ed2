"""Canonical events written as chat: a stream's bytes one by one, or their fold, a whole reply."""

from typing import Any

from groxy.core.events import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects.chat.errors import encode_error
from groxy.dialects.chat.usage import written_usage
from groxy.wire.json import encode
from groxy.wire.sse import DONE


class ChatStreamEncoder:
    """Writes events as chunks, the way an upstream would; `[DONE]` is written by `close`."""

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._head: dict[str, Any] = {}
        self._spoken: set[int] = set()

    def feed(self, event: Event) -> bytes:
        """Return the bytes of one event; empty when chat has none for it."""
        match event:
            case Started():
                self._head = {
                    "id": event.reply_id,
                    "object": "chat.completion.chunk",
                    "created": event.created,
                    "model": event.model_served,
                }
                return b""
            case UsageReported():
                if not self._wants_usage:
                    return b""
                return self._data({"choices": [], "usage": written_usage(event.usage)})
            case Failed():
                return b"data: " + encode_error(event.error) + b"\n\n"
            case Finished():
                return self._choice(event.choice, {}, event.reason.value)
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                return self._choice(event.choice, _delta(event), None)

    def close(self) -> bytes:
        """Return the end of a stream that went well."""
        return b"data: " + DONE + b"\n\n"

    def _choice(self, index: int, delta: dict[str, Any], reason: str | None) -> bytes:
        opening = b""
        if index not in self._spoken:
            self._spoken.add(index)
            opening = self._choice(index, {"role": "assistant", "content": ""}, None)
        return opening + self._data(
            {"choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
        )

    def _data(self, fields: dict[str, Any]) -> bytes:
        return b"data: " + encode(self._head | fields) + b"\n\n"


def _delta(event: TextDelta | ReasoningDelta | ToolCallDelta) -> dict[str, Any]:
    match event:
        case TextDelta():
            return {"content": event.text}
        case ReasoningDelta():
            return {"reasoning_content": event.text}
        case ToolCallDelta():
            function: dict[str, str] = {"arguments": event.arguments}
            call: dict[str, Any] = {"index": event.index, "function": function}
            if event.call_id:
                call |= {"id": event.call_id, "type": "function"}
                function["name"] = event.name
            return {"tool_calls": [call]}


class _Choice:
    """One choice while its events are folded."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.thoughts: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.reason = "stop"

    def take(self, event: Event) -> None:
        match event:
            case TextDelta():
                self.text.append(event.text)
            case ReasoningDelta():
                self.thoughts.append(event.text)
            case ToolCallDelta():
                call = self.calls.setdefault(
                    event.index,
                    {
                        "id": event.call_id,
                        "type": "function",
                        "function": {"name": event.name, "arguments": ""},
                    },
                )
                call["function"]["arguments"] += event.arguments
            case Finished():
                self.reason = event.reason.value
            case Started() | UsageReported() | Failed():
                pass

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text) or None}
        if not self.calls:
            message["content"] = "".join(self.text)
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return message | {"refusal": None}


def fold(events: list[Event]) -> bytes:
    """Return the whole reply that `events` make; raise the error when they end in `Failed`."""
    head: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    usage = Usage()
    for event in events:
        match event:
            case Started():
                head = {
                    "id": event.reply_id,
                    "object": "chat.completion",
                    "created": event.created,
                    "model": event.model_served,
                }
            case UsageReported():
                usage = event.usage
            case Failed():
                raise event.error
            case TextDelta() | ReasoningDelta() | ToolCallDelta() | Finished():
                choices.setdefault(event.choice, _Choice()).take(event)
    written = [
        {"index": index, "message": choice.message(), "finish_reason": choice.reason}
        for index, choice in sorted(choices.items())
    ]
    return encode(head | {"choices": written, "usage": written_usage(usage)})
