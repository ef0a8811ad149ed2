"""What a client of each dialect reads in a reply, told the same way for all of them.

The official packages' own types judge every object and event on the way.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
from anthropic.types import RawMessageStreamEvent
from openai.types import Completion
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

_RESPONSE_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_MESSAGE_EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


@dataclass
class Read:
    """A reply as its client understands it."""

    text: str = ""
    thoughts: str = ""
    sealed: list[str] = field(default_factory=list)
    calls: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Name and arguments by id, in order."""
    reason: str = ""
    """stop, length, tool_calls, content_filter."""
    input_tokens: int = 0
    output_tokens: int = 0
    whole: Any = None
    """The reply as one object, put together where it was streamed."""
    error: dict[str, Any] | None = None


def read(dialect: str, body: bytes, *, stream: bool) -> Read:
    """Read a reply."""
    return (_STREAMS if stream else _WHOLES)[dialect](body)


def events_of(body: bytes) -> list[tuple[str, Any]]:
    """Return name and data of each event of a stream; `[DONE]` stays text."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        name = next((line[7:] for line in lines if line.startswith("event: ")), "")
        data = "\n".join(line[6:] for line in lines if line.startswith("data: "))
        found.append((name, data if data == "[DONE]" else json.loads(data)))
    return found


def _chat_whole(body: bytes) -> Read:
    reply = json.loads(body)
    if "error" in reply:
        return Read(error=reply["error"])
    openai.types.chat.ChatCompletion.model_validate(reply, strict=True)
    (choice,) = reply["choices"]
    message = choice["message"]
    return Read(
        text=message.get("content") or "",
        thoughts=message.get("reasoning_content") or "",
        calls={
            call["id"]: (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        },
        reason=choice["finish_reason"],
        input_tokens=reply["usage"]["prompt_tokens"],
        output_tokens=reply["usage"]["completion_tokens"],
        whole=reply,
    )


def _chat_stream(body: bytes) -> Read:
    found = Read()
    calls: dict[int, dict[str, Any]] = {}
    events = events_of(body)
    for _, event in events:
        if event == "[DONE]":
            break
        if "error" in event:
            found.error = event["error"]
            break
        openai.types.chat.ChatCompletionChunk.model_validate(event, strict=True)
        if usage := event.get("usage"):
            found.input_tokens = usage["prompt_tokens"]
            found.output_tokens = usage["completion_tokens"]
        for choice in event["choices"]:
            delta = choice["delta"]
            found.text += delta.get("content") or ""
            found.thoughts += delta.get("reasoning_content") or ""
            found.reason = choice["finish_reason"] or found.reason
            for call in delta.get("tool_calls") or ():
                known = calls.setdefault(call["index"], {"arguments": ""})
                if "id" in call:
                    known |= {"id": call["id"], "name": call["function"]["name"]}
                known["arguments"] += call["function"].get("arguments") or ""
    if found.error is None:
        assert events[-1][1] == "[DONE]"
        found.calls = {
            call["id"]: (call["name"], json.loads(call["arguments"])) for call in calls.values()
        }
        message: dict[str, Any] = {"role": "assistant", "content": found.text or None}
        if calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in calls.values()
            ]
        found.whole = {"choices": [{"message": message}]}
    return found


def _responses_object(reply: dict[str, Any]) -> Read:
    openai.types.responses.Response.model_validate(reply, strict=True)
    found = Read(whole=reply)
    for item in reply["output"]:
        match item["type"]:
            case "message":
                found.text += "".join(part.get("text", "") for part in item["content"])
            case "reasoning":
                found.thoughts += "".join(part["text"] for part in item["summary"])
                if item.get("encrypted_content"):
                    found.sealed.append(item["encrypted_content"])
            case "function_call":
                found.calls[item["call_id"]] = (item["name"], json.loads(item["arguments"]))
            case _:
                pass
    if reply.get("error"):
        found.error = reply["error"]
    elif reply["status"] == "incomplete":
        why = reply["incomplete_details"]["reason"]
        found.reason = "length" if why == "max_output_tokens" else why
    else:
        found.reason = "tool_calls" if found.calls else "stop"
    if reply.get("usage"):
        found.input_tokens = reply["usage"]["input_tokens"]
        found.output_tokens = reply["usage"]["output_tokens"]
    return found


def _responses_whole(body: bytes) -> Read:
    reply = json.loads(body)
    if reply.get("object") != "response":
        return Read(error=reply["error"])
    return _responses_object(reply)


def _responses_stream(body: bytes) -> Read:
    events = events_of(body)
    assert events[-1][1] == "[DONE]"
    del events[-1]
    if events[0][1]["type"] == "error":
        return Read(error=events[0][1])
    text = ""
    for number, (name, event) in enumerate(events):
        assert name == event["type"]
        assert event["sequence_number"] == number
        _RESPONSE_EVENTS.validate_python(event, strict=True)
        if name == "response.output_text.delta":
            text += event["delta"]
    last = events[-1][1]
    assert last["type"] in ("response.completed", "response.incomplete", "response.failed")
    found = _responses_object(last["response"])
    if found.error is None:
        assert found.text == text
        assert [name for name, _ in events[:2]] == ["response.created", "response.in_progress"]
    found.text = text
    return found


_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def _messages_object(reply: dict[str, Any]) -> Read:
    anthropic.types.Message.model_validate(reply, strict=True)
    found = Read(whole=reply, reason=_REASONS[reply["stop_reason"]])
    for block in reply["content"]:
        match block["type"]:
            case "text":
                found.text += block["text"]
            case "thinking":
                found.thoughts += block["thinking"]
                found.sealed.append(block["signature"])
            case "redacted_thinking":
                found.sealed.append(block["data"])
            case "tool_use":
                found.calls[block["id"]] = (block["name"], block["input"])
            case _:
                pass
    usage = reply["usage"]
    found.input_tokens = usage["input_tokens"] + usage["cache_read_input_tokens"]
    found.output_tokens = usage["output_tokens"]
    return found


def _messages_whole(body: bytes) -> Read:
    reply = json.loads(body)
    if reply["type"] == "error":
        return Read(error=reply["error"])
    return _messages_object(reply)


def _messages_stream(body: bytes) -> Read:
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    events = [(name, event) for name, event in events_of(body) if name != "ping"]
    for name, event in events:
        assert name == event["type"]
        if name == "error":
            return Read(error=event["error"], text=_text_so_far(message))
        _MESSAGE_EVENTS.validate_python(event, strict=True)
        match name:
            case "message_start":
                message = event["message"]
                assert message["usage"]["input_tokens"] > 0
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                assert event["index"] == len(message["content"]) - 1, "blocks do not interleave"
                _grow(message["content"][-1], event["delta"], inputs, event["index"])
            case "message_delta":
                message |= {key: event["delta"][key] for key in ("stop_reason", "stop_sequence")}
                message["usage"] |= event["usage"]
            case _:
                pass
    assert events[-1][0] == "message_stop"
    for index, written in inputs.items():
        message["content"][index]["input"] = json.loads(written or "{}")
    return _messages_object(message)


def _text_so_far(message: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in message.get("content", ()))


def _grow(block: dict[str, Any], delta: dict[str, Any], inputs: dict[int, str], index: int) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta["partial_json"]
        case _:
            pass


def _completions_whole(body: bytes) -> Read:
    reply = json.loads(body)
    if "error" in reply:
        return Read(error=reply["error"])
    Completion.model_validate(reply, strict=True)
    (choice,) = reply["choices"]
    return Read(
        text=choice["text"],
        reason=choice["finish_reason"],
        input_tokens=reply["usage"]["prompt_tokens"],
        output_tokens=reply["usage"]["completion_tokens"],
        whole=reply,
    )


def _completions_stream(body: bytes) -> Read:
    found = Read()
    events = events_of(body)
    for _, event in events:
        if event == "[DONE]":
            break
        if "error" in event:
            found.error = event["error"]
            return found
        if usage := event.get("usage"):
            found.input_tokens = usage["prompt_tokens"]
            found.output_tokens = usage["completion_tokens"]
        for choice in event["choices"]:
            found.text += choice["text"]
            found.reason = choice["finish_reason"] or found.reason
    assert events[-1][1] == "[DONE]"
    return found


_WHOLES = {
    "chat": _chat_whole,
    "responses": _responses_whole,
    "messages": _messages_whole,
    "completions": _completions_whole,
}
_STREAMS = {
    "chat": _chat_stream,
    "responses": _responses_stream,
    "messages": _messages_stream,
    "completions": _completions_stream,
}
