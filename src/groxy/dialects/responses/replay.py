"""A whole reply as the events of a stream, for upstreams that answer whole though asked to stream.

In: the decoded object. Out: the data of each event, without sequence numbers. Must not fail on an
object of any shape. Cloudflare's guardrails answer a streaming request whole (docs, 2026-08).
"""

from collections.abc import Iterator
from typing import Any

Data = dict[str, Any]


def events_of(reply: Data) -> Iterator[Data]:
    """Yield the events that make `reply`, from `response.created` to the terminal one."""
    blank = reply | {"status": "in_progress", "output": [], "usage": None, "completed_at": None}
    yield {"type": "response.created", "response": blank}
    yield {"type": "response.in_progress", "response": blank}
    output = reply.get("output")
    for index, item in enumerate(output if isinstance(output, list) else ()):
        if isinstance(item, dict):
            yield from _item(item, index)
    status = "incomplete" if reply.get("status") == "incomplete" else "completed"
    yield {"type": f"response.{status}", "response": reply}


def _item(item: Data, index: int) -> Iterator[Data]:
    where = {"output_index": index, "item_id": item.get("id")}
    match item.get("type"):
        case "message":
            opened, inner = item | {"content": []}, _content(item, where)
        case "reasoning":
            opened, inner = item | {"summary": []}, _summary(item, where)
            opened.pop("encrypted_content", None)
        case "function_call":
            opened, inner = item | {"arguments": ""}, _arguments(item, where)
        case _:
            opened, inner = dict(item), iter(())
    if "status" in opened:
        opened["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": index, "item": opened}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _parts(item: Data, name: str) -> Iterator[tuple[int, Data]]:
    parts = item.get(name)
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            yield index, part


def _content(item: Data, where: Data) -> Iterator[Data]:
    for index, part in _parts(item, "content"):
        at = where | {"content_index": index}
        is_refusal = part.get("type") == "refusal"
        name, kind = ("refusal", "refusal") if is_refusal else ("text", "output_text")
        text = part.get(name)
        extra: Data = {} if is_refusal else {"logprobs": []}
        blank: Data = {} if is_refusal else {"annotations": [], "logprobs": []}
        yield {"type": "response.content_part.added", "part": part | {name: ""} | blank, **at}
        if isinstance(text, str) and text:
            yield {"type": f"response.{kind}.delta", "delta": text, **extra, **at}
            for number, annotation in _parts(part, "annotations"):
                yield {
                    "type": "response.output_text.annotation.added",
                    "annotation_index": number,
                    "annotation": annotation,
                    **at,
                }
            yield {"type": f"response.{kind}.done", name: text, **extra, **at}
        yield {"type": "response.content_part.done", "part": part, **at}


def _summary(item: Data, where: Data) -> Iterator[Data]:
    kind = "response.reasoning_summary"
    for index, part in _parts(item, "summary"):
        at = where | {"summary_index": index}
        text = part.get("text")
        yield {"type": f"{kind}_part.added", "part": part | {"text": ""}, **at}
        if isinstance(text, str) and text:
            yield {"type": f"{kind}_text.delta", "delta": text, **at}
            yield {"type": f"{kind}_text.done", "text": text, **at}
        yield {"type": f"{kind}_part.done", "part": part, **at}


def _arguments(item: Data, where: Data) -> Iterator[Data]:
    arguments = item.get("arguments")
    if isinstance(arguments, str):
        kind = "response.function_call_arguments"
        yield {"type": f"{kind}.delta", "delta": arguments, **where}
        yield {"type": f"{kind}.done", "arguments": arguments, "name": item.get("name"), **where}
