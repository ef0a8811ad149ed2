"""Short ways to ask the sandbox, for its tests."""

import json
from typing import Any

from groxy.core.events import Event, ReasoningDelta, TextDelta, ToolCallDelta
from groxy.core.request import Request
from groxy.dialects.chat import DIALECT
from groxy.upstreams.sandbox.brain import Answer, reply_to
from groxy.upstreams.sandbox.faults import Script, take_script
from groxy.upstreams.sandbox.plan import Writing
from groxy.wire.tokens import SplintrCounter

TOKENS = SplintrCounter()


def body(text: str = "Hello there", **fields: Any) -> bytes:
    """A chat request, as JSON."""
    messages = fields.pop("messages", [{"role": "user", "content": text}])
    return json.dumps({"model": "grok-4.7", "messages": messages} | fields).encode()


def request(text: str = "Hello there", **fields: Any) -> Request:
    """A chat request, decoded."""
    return DIALECT.canonical(DIALECT.decode_request(body(text, **fields)))


def reply(text: str = "Hello there", **fields: Any) -> Answer:
    """The answer to a chat request whose text may hold a marker."""
    script, asked = take_script(request(text, **fields))
    return reply_to(asked, script, TOKENS)


def writing(text: str = "Hello there", **fields: Any) -> Writing:
    """The answer to a chat request, about to be written."""
    asked = DIALECT.decode_request(body(text, **fields))
    script, request = take_script(DIALECT.canonical(asked))
    answer = reply_to(request, script, TOKENS)
    return Writing(answer=answer, dialect=DIALECT, asked=asked, script=script)


def plain_reply(asked: Request, script: Script | None = None) -> Answer:
    return reply_to(asked, script or Script(), TOKENS)


def text_of(events: list[Event], choice: int = 0) -> str:
    return "".join(
        event.text for event in events if isinstance(event, TextDelta) and event.choice == choice
    )


def thoughts_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def calls_of(events: list[Event], choice: int = 0) -> list[tuple[str, Any]]:
    """Name and arguments of each tool call."""
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for event in events:
        if isinstance(event, ToolCallDelta) and event.choice == choice:
            names.setdefault(event.index, event.name)
            arguments[event.index] = arguments.get(event.index, "") + event.arguments
    return [(names[index], json.loads(arguments[index])) for index in sorted(names)]


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    """A function tool; without parameters it takes a required `city`."""
    schema = parameters or {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def data_of(stream: bytes) -> list[bytes]:
    """The data of each event of a stream."""
    blocks = stream.split(b"\n\n")
    return [block.removeprefix(b"data: ") for block in blocks if block.startswith(b"data: ")]


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream that is in order; `[DONE]` is left out."""
    return [json.loads(data) for data in data_of(stream) if data != b"[DONE]"]


def call_deltas(events: list[Event]) -> list[ToolCallDelta]:
    """The tool call events, in order."""
    return [event for event in events if isinstance(event, ToolCallDelta)]
