"""Canonical events written as completions: a stream's bytes one by one, or a whole reply.

Thoughts, tool calls and sources have no place here: the caller offered no tools and gets the text.
"""

from collections.abc import Sequence
from typing import Any

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Failed,
    Finished,
    FinishReason,
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
from groxy.dialects._openai import encode_stream_error
from groxy.wire.json import encode
from groxy.wire.sse import DONE

_REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "stop",
    FinishReason.CONTENT_FILTER: "content_filter",
}


class CompletionsEncoder:
    """Writes one reply, streamed or whole; see `dialects._base.ReplyEncoder`.

    `echo` is the prompt when the reply is to begin with it.
    """

    record = b""

    def __init__(self, asked: Asked, frame: Frame, *, echo: str = "") -> None:
        self._wants_usage = asked.wants_usage
        self._counting = frame.counting
        self._echo = echo
        self._head: dict[str, Any] = {
            "id": f"cmpl-{frame.reply_id}",
            "object": "text_completion",
            "created": frame.created,
            "model": asked.model,
        }
        self._spoken: set[int] = set()
        self._finished: set[int] = set()

    def feed(self, event: Event) -> bytes:
        """Return the bytes of one event; empty when completions have none for it."""
        match event:
            case TextDelta():
                return self._choice(event.choice, event.text)
            case Finished():
                self._finished.add(event.choice)
                return self._choice(event.choice, "", _REASONS[event.reason])
            case Started():
                self._start(event)
            case Failed():
                return self.fail(event.error)
            case ReasoningDelta() | ReasoningSealed() | Cited() | ToolCallDelta() | UsageReported():
                pass
        return b""

    def finish(self, usage: Usage) -> bytes:
        """Return the end of the stream: missing finish reasons, usage if asked for, `[DONE]`."""
        ends = [self._choice(at, "", "stop") for at in sorted(self._spoken - self._finished)]
        if self._wants_usage:
            ends.append(self._event({"choices": [], "usage": self._written(usage)}))
        return b"".join(ends) + b"data: " + DONE + b"\n\n"

    def fail(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off: an error, and no `[DONE]`."""
        return encode_stream_error(error)

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """Return the whole reply that `events` make; raise the error when they end in `Failed`."""
        texts: dict[int, list[str]] = {}
        reasons: dict[int, str] = {}
        for event in events:
            match event:
                case Started():
                    self._start(event)
                case TextDelta():
                    texts.setdefault(event.choice, [self._echo]).append(event.text)
                case Finished():
                    texts.setdefault(event.choice, [self._echo])
                    reasons[event.choice] = _REASONS[event.reason]
                case Failed():
                    raise event.error
                case _:
                    pass
        choices = [
            _written_choice(index, "".join(pieces), reasons.get(index, "stop"))
            for index, pieces in sorted(texts.items())
        ]
        return encode(self._head | {"choices": choices, "usage": self._written(usage)})

    def _start(self, event: Started) -> None:
        self._head["created"] = event.created or self._head["created"]
        self._head["model"] = event.model_served or self._head["model"]

    def _choice(self, index: int, text: str, reason: str | None = None) -> bytes:
        if index not in self._spoken:
            self._spoken.add(index)
            text = self._echo + text
        return self._event({"choices": [_written_choice(index, text, reason)]})

    def _event(self, fields: dict[str, Any]) -> bytes:
        return b"data: " + encode(self._head | fields) + b"\n\n"

    def _written(self, usage: Usage) -> dict[str, Any]:
        return written_usage(usage, counting=self._counting)


def _written_choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
