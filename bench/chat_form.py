"""What the upstream says to a chat request, computed beforehand.

In: what was asked for. Out: the body of the whole reply, and the events of a stream, step by step.
"""

from asks import CREATED, INPUT_TOKENS, MODEL, WHOLE_TEXT, WHOLE_TOKENS, Ask, encode, step_text

_HEAD: dict[str, object] = {
    "id": "bench-1",
    "object": "chat.completion.chunk",
    "created": CREATED,
    "model": MODEL,
    "system_fingerprint": "fp_bench",
}


def _usage(produced: int) -> dict[str, object]:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": produced,
        "total_tokens": INPUT_TOKENS + produced,
        "prompt_tokens_details": {"cached_tokens": 6},
    }


def whole() -> bytes:
    """Return the body of the whole reply."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": WHOLE_TEXT},
        "finish_reason": "stop",
    }
    reply = {
        "id": "bench-1",
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice],
        "usage": _usage(WHOLE_TOKENS),
    }
    return encode(reply)


def steps(ask: Ask) -> list[list[bytes]]:
    """Return a stream's events: a step for each event with content, the last with the end too."""
    found = [[_event(_chunk(ask, number))] for number in range(ask.events)]
    usage = _HEAD | {"choices": [], "usage": _usage(ask.events)}
    found[-1] += [_event(usage), b"data: [DONE]\n\n"]
    return found


def _chunk(ask: Ask, number: int) -> dict[str, object]:
    is_last = number == ask.events - 1
    delta: dict[str, object] = {} if is_last else {"content": step_text(number)}
    if number == 0 or ask.usage == "each":
        delta["role"] = "assistant"
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if is_last else None}
    chunk = _HEAD | {"choices": [choice]}
    return chunk | {"usage": _usage(number + 1)} if ask.usage == "each" else chunk


def _event(value: dict[str, object]) -> bytes:
    return b"data: " + encode(value) + b"\n\n"
