"""Canonical events written as chat: a stream's bytes one by one, or their fold, a whole reply."""

from collections.abc import Sequence
from typing import Any

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Frame
from groxy.dialects._completion_usage import written_usage
from groxy.dialects._openai import encode_error
from groxy.dialects.chat.held_calls import HeldCalls
from groxy.dialects.chat.sources import written_sources
from groxy.wire.json import encode
from groxy.wire.sse import DONE

_ID_PREFIX = "chatcmpl-"
_NULL = b"null"
_THOUGHTS = ("reasoning_content",)
_OPENROUTERS_THOUGHTS = ("reasoning_content", "reasoning")
_CUT_OFF = frozenset({"length", "content_filter"})
"""The reasons that leave a call half done."""
_DATA, _CHOICES, _END = b"data: ", b',"choices":[', b"]}\n\n"


class ChatEncoder:
    """Writes one reply, streamed or whole; see `dialects._base.ReplyEncoder`.

    Sealed thoughts have no place in chat: the gateway keeps them.
    """

    record = b""

    def __init__(self, asked: Asked, frame: Frame) -> None:
        self._wants_usage = asked.wants_usage
        self._wants_cost = asked.wants_cost
        self._counting = frame.counting
        self._set_head(_ID_PREFIX + frame.reply_id, frame.created, asked.model)
        self._spoken: dict[int, bool] = {}
        """The choices that began: whether they called a tool."""
        self._finished: set[int] = set()
        self._sources: list[Cited] = []
        self._calls: dict[int, HeldCalls] = {}
        is_openrouters = bytes(asked.fields.get("reasoning", _NULL)) != _NULL
        self._thoughts = _OPENROUTERS_THOUGHTS if is_openrouters else _THOUGHTS
        """The fields of thoughts; who asks for them as OpenRouter has it reads them so, too."""

    def feed(self, event: Event) -> bytes:
        """Return the bytes of one event; empty when chat has none for it."""
        match event:
            case TextDelta():
                return self._say(event.choice, {"content": event.text})
            case ReasoningDelta():
                return self._say(event.choice, dict.fromkeys(self._thoughts, event.text))
            case ToolCallDelta():
                return self._call(event)
            case Cited():
                self._sources.append(event)
            case Started():
                self._start(event)
            case Finished():
                return self._end_choice(event.choice, event.reason.value)
            case Failed():
                return self.fail(event.error)
            case ReasoningSealed() | UsageReported():
                pass
        return b""

    def finish(self, usage: Usage) -> bytes:
        """Return the end of the stream: missing finish reasons, usage if asked for, `[DONE]`."""
        chunks = [
            self._end_choice(index, "tool_calls" if has_called else "stop")
            for index, has_called in sorted(self._spoken.items())
            if index not in self._finished
        ]
        if self._wants_usage:
            chunk = self._head | {"choices": [], "usage": self._written_usage(usage)}
            chunks.append(_DATA + encode(chunk) + b"\n\n")
        return b"".join(chunks) + _DATA + DONE + b"\n\n"

    def fail(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off: an error, and no `[DONE]`."""
        return _DATA + encode_error(error) + b"\n\n"

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """Return the whole reply that `events` make; raise the error when they end in `Failed`."""
        choices: dict[int, _Choice] = {}
        for event in events:
            match event:
                case Started():
                    self._start(event)
                case Failed():
                    raise event.error
                case UsageReported() | ReasoningSealed():
                    pass
                case _:
                    choices.setdefault(event.choice, _Choice()).take(event)
        reply = self._head | {
            "object": "chat.completion",
            "choices": [
                {
                    "index": index,
                    "message": choice.message(self._thoughts),
                    "finish_reason": choice.reason,
                }
                for index, choice in sorted(choices.items())
            ],
            "usage": self._written_usage(usage),
        }
        urls = _urls([source for _, choice in sorted(choices.items()) for source in choice.sources])
        return encode(reply | {"citations": urls} if urls else reply)

    def _start(self, event: Started) -> None:
        head = self._head
        self._set_head(
            event.reply_id or head["id"],
            event.created or head["created"],
            event.model_served or head["model"],
        )

    def _set_head(self, reply_id: str, created: int, model: str) -> None:
        self._head: dict[str, Any] = {
            "id": reply_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._opening = _DATA + encode(self._head)[:-1] + _CHOICES

    def _say(self, index: int, delta: dict[str, Any]) -> bytes:
        """Return text or thoughts, behind the calls that came before them."""
        held = self._calls.get(index)
        calls = self._written_calls(index, held.whole()) if held else b""
        return calls + self._choice(index, delta)

    def _call(self, event: ToolCallDelta) -> bytes:
        role = self._role(event.choice)
        self._spoken[event.choice] = True
        held = self._calls.setdefault(event.choice, HeldCalls())
        return role + self._written_calls(event.choice, held.take(event))

    def _written_calls(self, index: int, calls: list[dict[str, Any]]) -> bytes:
        return b"".join(self._choice(index, {"tool_calls": [call]}) for call in calls)

    def _choice(self, index: int, delta: dict[str, Any]) -> bytes:
        written = encode({"index": index, "delta": delta, "finish_reason": None})
        return self._role(index) + self._opening + written + _END

    def _role(self, index: int) -> bytes:
        """Return the chunk that opens a choice, the first time it is asked for."""
        if index in self._spoken:
            return b""
        self._spoken[index] = False
        return self._choice(index, {"role": "assistant", "content": ""})

    def _end_choice(self, index: int, reason: str) -> bytes:
        """Return the last chunk of a choice, behind its last calls; its sources come with it."""
        before = self._role(index)
        if held := self._calls.get(index):
            before += self._written_calls(index, held.rest(is_cut=reason in _CUT_OFF))
        self._finished.add(index)
        delta: dict[str, Any] = {}
        if sources := [source for source in self._sources if source.choice == index]:
            delta["annotations"] = written_sources(sources)
        choice = {"index": index, "delta": delta, "finish_reason": reason}
        chunk = self._head | {"choices": [choice]}
        if self._sources:
            chunk["citations"] = _urls(self._sources)
        return before + _DATA + encode(chunk) + b"\n\n"

    def _written_usage(self, usage: Usage) -> dict[str, Any]:
        return written_usage(usage, counting=self._counting, with_cost=self._wants_cost)


def _urls(sources: Sequence[Cited]) -> list[str]:
    return list(dict.fromkeys(source.url for source in sources))


class _Choice:
    """One choice while its events are folded."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.thoughts: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.sources: list[Cited] = []
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self._reason or ("tool_calls" if self.calls else "stop")

    def take(self, event: TextDelta | ReasoningDelta | ToolCallDelta | Cited | Finished) -> None:
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
            case Cited():
                self.sources.append(event)
            case Finished():
                self._reason = event.reason.value

    def message(self, thoughts: Sequence[str]) -> dict[str, Any]:
        """Return the message; `thoughts` are the fields that its thoughts stand in."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text) or None}
        if not self.calls:
            message["content"] = "".join(self.text)
        if self.thoughts:
            message |= dict.fromkeys(thoughts, "".join(self.thoughts))
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        if self.sources:
            message["annotations"] = written_sources(self.sources)
        return message | {"refusal": None}
