"""What the upstream says to a Responses request: chat's words as xAI's events, computed beforehand.

In: what was asked for. Out: the body of the whole reply, and the events of a stream, step by step.
A stream has as many steps as chat's, so that both leave in as many writes and at the same times:
the events that open a reply leave with its first words, those that close it stand in the last
step. Usage is told once, at the end, whatever was asked: this dialect has no other place for it.
"""

from asks import (
    CREATED,
    INPUT_TOKENS,
    MODEL,
    WHOLE_TEXT,
    WHOLE_TOKENS,
    Ask,
    encode,
    step_text,
    stream_text,
)

_REPLY_ID = "00000000-0000-4000-8000-00000000be9c"
_ITEM_ID = f"msg_{_REPLY_ID}"
_PLACE = {"item_id": _ITEM_ID, "output_index": 0, "content_index": 0}


def whole() -> bytes:
    """Return the body of the whole reply."""
    return encode(_reply([_message(WHOLE_TEXT)], WHOLE_TOKENS))


def steps(ask: Ask) -> list[list[bytes]]:
    """Return a stream's events: as many steps as chat has, the last with everything that closes."""
    found: list[list[dict[str, object]]] = [
        [_delta(step_text(number))] for number in range(ask.events - 1)
    ]
    found.append(_closing(stream_text(ask.events), ask.events))
    found[0] = _opening() + found[0]
    written: list[list[bytes]] = []
    number = 0
    for step in found:
        written.append([_event(value, number + at) for at, value in enumerate(step)])
        number += len(step)
    written[-1].append(b"data: [DONE]\n\n")
    return written


def _opening() -> list[dict[str, object]]:
    item = _message("") | {"status": "in_progress", "content": []}
    return [
        {"type": "response.created", "response": _reply([])},
        {"type": "response.in_progress", "response": _reply([])},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **_PLACE, "part": _part("")},
    ]


def _delta(text: str) -> dict[str, object]:
    return {"type": "response.output_text.delta", **_PLACE, "delta": text, "logprobs": []}


def _closing(text: str, produced: int) -> list[dict[str, object]]:
    item = _message(text)
    return [
        {"type": "response.output_text.done", **_PLACE, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **_PLACE, "part": _part(text)},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": _reply([item], produced)},
    ]


def _event(value: dict[str, object], number: int) -> bytes:
    data = encode({"sequence_number": number} | value)
    return b"event: %b\ndata: %b\n\n" % (str(value["type"]).encode(), data)


def _message(text: str) -> dict[str, object]:
    return {
        "id": _ITEM_ID,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [_part(text)],
    }


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _reply(output: list[dict[str, object]], produced: int | None = None) -> dict[str, object]:
    """Return the object that stands for the reply; `produced` tokens when it is complete."""
    is_complete = produced is not None
    return {
        "id": _REPLY_ID,
        "object": "response",
        "created_at": CREATED,
        "completed_at": CREATED if is_complete else None,
        "status": "completed" if is_complete else "in_progress",
        "model": MODEL,
        "output": output,
        "usage": None if produced is None else _usage(produced),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "user": None,
    }


def _usage(produced: int) -> dict[str, object]:
    return {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 6},
        "output_tokens": produced,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + produced,
        "num_sources_used": 0,
        "num_server_side_tools_used": 0,
    }
