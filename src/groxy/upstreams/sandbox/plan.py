"""What is sent and when: an answer and a script in, steps out.

A step is bytes to send, a `Wait`, or the `CUT` where the connection drops. Steps are made one by
one while they are played, so a long answer takes no more room than a short one. Pure: nothing here
sleeps or sends. Chat is written by the chat dialect; what an upstream does differently, or what the
script wants spoiled, is changed here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from groxy.core.events import ReasoningDelta, TextDelta, ToolCallDelta
from groxy.core.usage import Usage
from groxy.dialects.chat.events import ChatStreamEncoder, fold
from groxy.upstreams.sandbox.brain import Answer
from groxy.upstreams.sandbox.failures import stream_error
from groxy.upstreams.sandbox.faults import Script
from groxy.wire.json import decode_any, encode

_COMMENT = b": OPENROUTER PROCESSING\n\n"
_COMMENT_EVERY = 5
_END = b"\n\n"
_GARBAGE = b'{"id":"sandbox","choices":[{"index":0,"delta":{"content":"\x00\xff'


@dataclass(frozen=True, slots=True)
class Wait:
    """Time that passes before the next step."""

    seconds: float


class Cut:
    """The connection drops here."""


CUT: Final = Cut()
Step = bytes | Wait | Cut


def whole_body(answer: Answer, script: Script) -> bytes:
    """Return the answer as one reply."""
    reply = decode_any(fold(answer.events))
    for choice in reply["choices"]:
        if script.empty_finish:
            choice["finish_reason"] = ""
    reply["usage"] = _usage(answer.usage, script)
    if script.usage == "none":
        del reply["usage"]
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


def stream_steps(
    answer: Answer, script: Script, *, wants_usage: bool, pace: float
) -> Iterator[Step]:
    """Yield the steps of a streamed reply, `pace` tokens per second (0: no waiting)."""
    if script.comments:
        yield _COMMENT
    if script.slow_first:
        yield Wait(script.slow_first)
    pause = Wait(1 / pace) if pace else None
    trouble = _trouble(script)
    count = 0
    for frame in _frames(answer, script, wants_usage=wants_usage):
        if trouble:
            yield from trouble.get(count, ())
            if count in (script.error_after, script.cut_after):
                return
        if pause:
            yield pause
        yield frame
        count += 1
        if script.comments and count % _COMMENT_EVERY == 0:
            yield _COMMENT
    yield from trouble.get(count, ())
    if count not in (script.error_after, script.cut_after) and not script.no_done:
        yield b"data: [DONE]" + _END


def _trouble(script: Script) -> dict[int, list[Step]]:
    """Return what goes wrong within a stream, by the number of events before it."""
    found: dict[int, list[Step]] = {}
    if script.stall_after is not None:
        found.setdefault(script.stall_after[0], []).append(Wait(script.stall_after[1]))
    if script.garbage_after is not None:
        found.setdefault(script.garbage_after, []).append(b"data: " + _GARBAGE + _END)
    if script.error_after is not None:
        event = b"data: " + stream_error(script.shape) + _END
        found.setdefault(script.error_after, []).append(event)
    if script.cut_after is not None:
        found.setdefault(script.cut_after, []).append(CUT)
    return found


def _frames(answer: Answer, script: Script, *, wants_usage: bool) -> Iterator[bytes]:
    """Yield the events of the stream, each with its empty line."""
    encoder = ChatStreamEncoder(wants_usage=False)
    is_changed = (
        script.empty_finish or script.repeat_role or script.no_index or script.usage == "cumulative"
    )
    sent = 0
    thought = 0
    for event in answer.events:
        frames = encoder.feed(event)
        if is_changed:
            sent += isinstance(event, TextDelta | ToolCallDelta | ReasoningDelta)
            thought += isinstance(event, ReasoningDelta)
            so_far = _so_far(answer.usage, sent, thought)
            for frame in frames.split(_END)[:-1]:
                yield b"data: " + encode(_changed(frame, script, so_far)) + _END
        elif frames.count(_END) > 1:
            yield from (frame + _END for frame in frames.split(_END)[:-1])
        elif frames:
            yield frames
    if wants_usage and script.usage != "none":
        yield b"data: " + encode(_usage_chunk(answer, script)) + _END


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
        chunk["usage"] = _usage(so_far, script)
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


def _usage_chunk(answer: Answer, script: Script) -> dict[str, Any]:
    return {
        "id": answer.started.reply_id,
        "object": "chat.completion.chunk",
        "created": answer.started.created,
        "model": answer.started.model_served,
        "choices": [],
        "usage": _usage(answer.usage, script),
    }


def _usage(usage: Usage, script: Script) -> dict[str, Any]:
    """Return usage as xAI writes it: reasoning beside the completion, and its own bill in ticks."""
    if script.usage == "zero":
        usage = Usage()
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
