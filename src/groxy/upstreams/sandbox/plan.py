"""What is sent and when: an answer and a script in, steps out.

A step is bytes to send, a `Wait`, `Work` for a thread, or the `CUT` where the connection drops.
Steps are made one by one while they are played, so a long answer takes no more room than a short
one. Pure: nothing here sleeps or sends. The dialect that was asked in writes the events; what an
upstream does differently, or what the script wants spoiled, is changed here. Must not know
dialects, but for the few things that xAI does on chat alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from groxy.core.events import Event, ReasoningDelta, ReasoningSealed, TextDelta, ToolCallDelta
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, CallersEnd, Counting, Frame, ReplyEncoder
from groxy.upstreams.sandbox.brain import Answer
from groxy.upstreams.sandbox.failures import stream_error, usual_shape
from groxy.upstreams.sandbox.faults import Script
from groxy.upstreams.sandbox.seal import native
from groxy.wire.json import decode_any, encode

_COMMENT = b": OPENROUTER PROCESSING\n\n"
_COMMENT_EVERY = 5
_END = b"\n\n"
_DONE = b"data: [DONE]" + _END
_GARBAGE = b'{"id":"sandbox","choices":[{"index":0,"delta":{"content":"\x00\xff'
_NAMES: Mapping[str, bytes] = {
    "messages": b"event: content_block_delta\n",
    "responses": b"event: response.output_text.delta\n",
}
"""What a garbled event is called, in dialects where clients pass over events without a name."""
_CHAT, _COMPLETIONS = "chat", "completions"
_USAGE = b'"usage":'
_DELTAS = (TextDelta, ReasoningDelta, ToolCallDelta)


@dataclass(frozen=True, slots=True)
class Wait:
    """Time that passes before the next step."""

    seconds: float


class Cut:
    """The connection drops here."""


@dataclass(frozen=True, slots=True)
class Work:
    """What takes a thread for a while; its result is played in its place."""

    run: Callable[[], "Iterable[Step]"]


CUT: Final = Cut()
Step = bytes | Wait | Cut | Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """One answer, the dialect that it is to be written in, and what is to be spoiled."""

    answer: Answer
    dialect: CallersEnd
    asked: Asked
    script: Script

    @property
    def is_chat(self) -> bool:
        """True for the dialect in which xAI is known for its oddities."""
        return self.dialect.name == _CHAT

    @property
    def usage(self) -> Usage:
        """What the reply says that it took."""
        return Usage() if self.script.usage == "zero" else self.answer.usage

    @property
    def has_chats_usage(self) -> bool:
        """True where usage is written here, as xAI writes it on chat and completions alike."""
        return self.dialect.name in (_CHAT, _COMPLETIONS)

    def encoder(self) -> ReplyEncoder:
        """Return what writes the answer; on chat it leaves usage out, which is written here."""
        tells_usage = self.asked.wants_usage and self.script.usage != "none"
        asked = replace(self.asked, wants_usage=tells_usage and not self.is_chat)
        started, usage = self.answer.started, self.usage
        frame = Frame(
            reply_id=started.reply_id.replace("-", ""),
            created=started.created,
            count_input=lambda: usage.input_tokens,
            counting=Counting.XAI,
        )
        return self.dialect.encoder(asked, frame)


def whole_body(writing: Writing) -> bytes:
    """Return the answer as one reply."""
    script = writing.script
    body = native(writing.encoder().whole(writing.answer.events, writing.usage))
    if not writing.has_chats_usage and script.usage != "none":
        return body
    reply: dict[str, Any] = decode_any(body)
    if writing.has_chats_usage:
        reply["usage"] = _usage(writing.usage)
    if writing.is_chat and script.empty_finish:
        for choice in reply["choices"]:
            choice["finish_reason"] = ""
    if script.usage == "none":
        reply.pop("usage", None)
    return encode(reply)


def whole_steps(body: bytes, script: Script) -> Iterator[Step]:
    """Yield the steps of a whole reply; what goes wrong, goes wrong in its middle."""
    middle = len(body) // 2
    if script.garbage_after is not None:
        yield body[:middle] + _GARBAGE
        return
    yield body[:middle]
    if script.stall_after is not None:
        yield Wait(script.stall_after[1])
    if script.cut_after is not None:
        yield CUT
        return
    yield body[middle:]


def stream_steps(writing: Writing, *, pace: float) -> Iterator[Step]:
    """Yield the steps of a streamed reply, `pace` tokens per second (0: no waiting)."""
    script = writing.script
    if script.comments:
        yield _COMMENT
    if script.slow_first:
        yield Wait(script.slow_first)
    trouble = _trouble(script, writing.dialect.name)
    ends = (script.error_after, script.cut_after)
    count = 0
    end = b""
    for step in _events(writing, Wait(1 / pace) if pace else None):
        if step == _DONE:
            end = _DONE
            break
        if not isinstance(step, bytes):
            yield step
            continue
        if trouble:
            yield from trouble.get(count, ())
            if count in ends:
                return
        yield step
        count += 1
        if script.comments and count % _COMMENT_EVERY == 0:
            yield _COMMENT
    yield from trouble.get(count, ())
    if end and count not in ends and not script.no_done:
        yield end


def _trouble(script: Script, dialect: str) -> dict[int, list[Step]]:
    """Return what goes wrong within a stream, by the number of events before it."""
    found: dict[int, list[Step]] = {}
    if script.stall_after is not None:
        found.setdefault(script.stall_after[0], []).append(Wait(script.stall_after[1]))
    if script.garbage_after is not None:
        garbage = _NAMES.get(dialect, b"") + b"data: " + _GARBAGE + _END
        found.setdefault(script.garbage_after, []).append(garbage)
    if script.error_after is not None:
        shape = script.shape or usual_shape(dialect)
        event = stream_error(shape, dialect, sequence_number=script.error_after)
        found.setdefault(script.error_after, []).append(event)
    if script.cut_after is not None:
        found.setdefault(script.cut_after, []).append(CUT)
    return found


def _events(writing: Writing, pause: Wait | None) -> Iterator[bytes | Wait]:
    """Yield the events of the stream, each with its empty line, and a pause before each token."""
    encoder = writing.encoder()
    change = _change_for(writing)
    for event in writing.answer.events:
        frames = encoder.feed(event)
        if isinstance(event, ReasoningSealed):
            frames = native(frames)
        if not frames:
            continue
        if pause is not None and isinstance(event, _DELTAS):
            yield pause
        if change is not None:
            yield from (change(frame, event) for frame in _each(frames))
        elif frames.count(_END) > 1:
            yield from _each(frames)
        else:
            yield frames
    for frame in _each(encoder.finish(writing.usage)):
        if frame == _DONE and writing.is_chat and writing.asked.wants_usage:
            yield from _usage_event(writing)
        yield frame if change is None or frame == _DONE else change(frame, None)


def _each(frames: bytes) -> Iterator[bytes]:
    return (frame + _END for frame in frames.split(_END)[:-1])


_Change = Callable[[bytes, Event | None], bytes]
"""Changes one event of a stream; also told which event of the answer it comes from."""


def _change_for(writing: Writing) -> _Change | None:
    """Return what the script wants changed in every event; None for nothing."""
    script = writing.script
    if not writing.is_chat:
        if script.usage == "none":
            return _without_usage
        return partial(_with_chats_usage, writing.usage) if writing.has_chats_usage else None
    if script.empty_finish or script.repeat_role or script.no_index or script.usage == "cumulative":
        return _ChatChange(writing.answer.usage, script)
    return None


def _without_usage(frame: bytes, event: Event | None) -> bytes:
    del event
    head, mark, data = frame.partition(b"data: ")
    if _USAGE not in data:
        return frame
    fields: dict[str, Any] = decode_any(data)
    for holder in (fields, fields.get("response"), fields.get("message")):
        if isinstance(holder, dict):
            holder.pop("usage", None)
    return head + mark + encode(fields) + _END


def _with_chats_usage(usage: Usage, frame: bytes, event: Event | None) -> bytes:
    del event
    head, mark, data = frame.partition(b"data: ")
    if _USAGE not in data:
        return frame
    fields: dict[str, Any] = decode_any(data)
    return head + mark + encode(fields | {"usage": _usage(usage)}) + _END


class _ChatChange:
    """Writes chunks as odd upstreams do, with the usage so far on each where that is asked for."""

    def __init__(self, usage: Usage, script: Script) -> None:
        self._usage = usage
        self._script = script
        self._sent = 0
        self._thought = 0

    def __call__(self, frame: bytes, event: Event | None) -> bytes:
        """Return one chunk, changed."""
        self._sent += isinstance(event, _DELTAS)
        self._thought += isinstance(event, ReasoningDelta)
        so_far = _so_far(self._usage, self._sent, self._thought)
        return b"data: " + encode(_changed(frame, self._script, so_far)) + _END


def _changed(frame: bytes, script: Script, so_far: Usage) -> dict[str, Any]:
    """Return a chunk the way the script wants it."""
    chunk: dict[str, Any] = decode_any(frame.removeprefix(b"data: "))
    for choice in chunk["choices"]:
        delta = choice["delta"]
        if script.repeat_role:
            delta["role"] = "assistant"
        if script.empty_finish and choice["finish_reason"] is not None:
            choice["finish_reason"] = ""
        if script.no_index:
            for call in delta.get("tool_calls", ()):
                call.pop("index", None)
    if script.usage == "cumulative":
        chunk["usage"] = _usage(so_far)
    return chunk


def _so_far(usage: Usage, sent: int, thought: int) -> Usage:
    """Return the usage after so many events; near enough, the last report is exact."""
    return Usage(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        image_tokens=usage.image_tokens,
        output_tokens=min(sent, usage.output_tokens),
        reasoning_tokens=min(thought, usage.reasoning_tokens),
    )


def _usage_event(writing: Writing) -> Iterator[bytes]:
    """Yield the chunk with the usage, which has no choices."""
    if writing.script.usage == "none":
        return
    started = writing.answer.started
    chunk = {
        "id": started.reply_id,
        "object": "chat.completion.chunk",
        "created": started.created,
        "model": started.model_served,
        "choices": [],
        "usage": _usage(writing.usage),
    }
    yield b"data: " + encode(chunk) + _END


def _usage(usage: Usage) -> dict[str, Any]:
    """Return usage as xAI writes it: reasoning beside the completion, and its own bill in ticks."""
    visible = usage.output_tokens - usage.reasoning_tokens
    written: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": visible,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "text_tokens": usage.input_tokens - usage.image_tokens,
            "audio_tokens": 0,
            "image_tokens": usage.image_tokens,
            "cached_tokens": usage.cached_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "num_sources_used": 0,
    }
    if usage.cost_ticks is not None:
        written["cost_in_usd_ticks"] = usage.cost_ticks
    return written


def split(steps: Iterable[Step], size: int) -> Iterator[Step]:
    """Yield the same bytes in pieces of `size`, wherever that cuts an event."""
    held = b""
    for step in steps:
        if isinstance(step, bytes):
            held += step
            whole = len(held) - len(held) % size
            yield from (held[at : at + size] for at in range(0, whole, size))
            held = held[whole:]
        else:
            if held:
                yield held
            held = b""
            yield step
    if held:
        yield held
