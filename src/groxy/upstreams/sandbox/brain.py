"""The fake model: a canonical request in, the events of a deterministic answer out.

The same request always gets the same answer, ids and times included. It answers in words, calls
tools, fills schemas and thinks first when asked to, keeps to limits and stop texts, and counts
its tokens honestly. Must not talk to anyone, wait, or know any wire format.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, cycle, islice, zip_longest
from typing import Protocol
from uuid import UUID

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.money import Price, TokenPrice, cost_of
from groxy.core.request import OutputForm, Request, Tool, ToolUse
from groxy.core.tokens import image_tokens, input_tokens
from groxy.core.usage import Usage
from groxy.upstreams.sandbox.faults import Script
from groxy.upstreams.sandbox.schema import TooCostlyError, UnfillableError, fill
from groxy.upstreams.sandbox.seal import check_seals, sealed
from groxy.upstreams.sandbox.wording import FILLER, spoken, thoughts, tools_to_call
from groxy.wire.json import decode_any, encode

_NO_ARGUMENTS = b'{"type":"object"}'
CREATED = 1_735_689_600
"""When every answer was made: 2025-01-01, because an answer must not change from call to call."""
PRICE = Price(
    base=TokenPrice(input=20_000_000_000, cached_input=5_000_000_000, output=60_000_000_000)
)
"""What every model costs here: 2.00, 0.50 and 6.00 dollars per million tokens."""

_MAX_TOKENS = 200_000


class Tokens(Protocol):
    """Counts and splits text; `wire.tokens.SplintrCounter` is one."""

    def count(self, text: str) -> int:
        """Return how many tokens `text` takes."""
        ...

    def split(self, text: str) -> list[str]:
        """Return `text` in one piece a token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, not yet written for any wire."""

    started: Started
    events: list[Event]
    """All of them, `started` first."""
    usage: Usage


@dataclass(slots=True, kw_only=True)
class _Draft:
    """One choice: what it thinks and says, a piece a token, and why it ends."""

    thoughts: list[str]
    pieces: list[str] = field(default_factory=list)
    calls: list[tuple[Tool, list[str]]] = field(default_factory=list)
    reason: FinishReason = FinishReason.STOP
    stop_text: str = ""
    tokens: int = 0
    """Visible ones: the thoughts do not count against the limit, as at xAI."""


def reply_to(request: Request, script: Script, tokens: Tokens) -> Answer:
    """Return the answer to `request`; raise BAD_REQUEST where there can be none."""
    _check_tools(request)
    check_seals(request)
    digest = blake2b(msgspec.json.encode(request), digest_size=16).digest()
    drafts = _drafts(request, script, tokens)
    usage = _usage(request, script, tokens, drafts)
    started = Started(reply_id=str(UUID(bytes=digest)), model_served=request.model, created=CREATED)
    streams = [_events_of(draft, choice, digest, script) for choice, draft in enumerate(drafts)]
    merged = streams[0] if len(streams) == 1 else _interleaved(streams)
    events = [started, *merged, UsageReported(usage=usage)]
    return Answer(started=started, events=events, usage=usage)


def _check_tools(request: Request) -> None:
    """Refuse a tool_choice that cannot be, as real models do."""
    options = request.options
    if (options.tool_use is ToolUse.REQUIRED or options.tool_name) and not request.tools:
        raise _bad("A tool_choice was set on the request but no tools were specified.")
    if options.tool_name and all(tool.name != options.tool_name for tool in request.tools):
        raise _bad("The tool_choice names a tool that is not among the tools of the request.")


def _drafts(request: Request, script: Script, tokens: Tokens) -> list[_Draft]:
    called = [
        (tool, tokens.split(_filled(_arguments(tool), f"the parameters of `{tool.name}`")))
        for tool in tools_to_call(request)
    ]
    texts = [] if called else _said(request)
    thought = tokens.split(thoughts(request))
    limit = request.options.max_output_tokens or _MAX_TOKENS
    drafts = []
    room = _MAX_TOKENS
    for choice in range(request.options.choices):
        draft = _Draft(thoughts=thought)
        if called:
            _add_calls(draft, called, tokens, limit)
        else:
            text, draft.stop_text = _cut(texts[choice], request.options.stop)
            _add_text(draft, _pieces(text, request, script, tokens), limit)
        room -= draft.tokens + len(thought)
        if room < 0:
            raise _bad(f"The sandbox writes {_MAX_TOKENS} tokens at most. Ask for less.")
        drafts.append(draft)
    return drafts


def _add_calls(
    draft: _Draft, called: list[tuple[Tool, list[str]]], tokens: Tokens, limit: int
) -> None:
    draft.reason = FinishReason.TOOL_CALLS
    for tool, arguments in called:
        draft.tokens += tokens.count(tool.name)
        kept = arguments[: max(limit - draft.tokens, 0)]
        draft.tokens += len(kept)
        draft.calls.append((tool, kept))
        if len(kept) < len(arguments):
            draft.reason, draft.tokens = FinishReason.LENGTH, limit
            break


def _add_text(draft: _Draft, pieces: list[str], limit: int) -> None:
    if len(pieces) > limit:
        pieces, draft.reason, draft.stop_text = pieces[:limit], FinishReason.LENGTH, ""
    draft.pieces, draft.tokens = pieces, len(pieces)


def _cut(text: str, stops: tuple[str, ...]) -> tuple[str, str]:
    """Return a text up to its first stop text, and that; "" when there is none."""
    cuts = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not cuts:
        return text, ""
    at, stop = min(cuts)
    return text[:at], stop


def _pieces(text: str, request: Request, script: Script, tokens: Tokens) -> list[str]:
    """Return a text as it is sent, token by token, drawn out where the script asks for it."""
    options = request.options
    pieces = tokens.split(text)
    if script.tokens is None or options.output_form is not OutputForm.TEXT:
        return pieces
    filler = cycle(chain.from_iterable(tokens.split(sentence) for sentence in FILLER))
    return [*pieces, *islice(filler, max(script.tokens - len(pieces), 0))][: script.tokens]


def _said(request: Request) -> list[str]:
    """Return the text of each choice in the form asked for."""
    match request.options.output_form:
        case OutputForm.SCHEMA:
            text = _filled(request.options.output_schema, "the schema of response_format")
            return [text] * request.options.choices
        case OutputForm.JSON:
            return [encode({"sandbox": True, "answer": text}).decode() for text in spoken(request)]
        case OutputForm.TEXT:
            return spoken(request)


def _arguments(tool: Tool) -> bytes:
    """Return the schema of a call's arguments, which are an object even if it does not say so."""
    return _NO_ARGUMENTS if tool.parameters == b"{}" else tool.parameters


def _filled(schema: bytes, what: str) -> str:
    """Return a value for a schema as JSON text."""
    try:
        return encode(fill(decode_any(schema))).decode()
    except (UnfillableError, TooCostlyError, RecursionError, OverflowError) as error:
        raise _bad(f"The sandbox cannot fill {what}: {error}.") from None


def _events_of(draft: _Draft, choice: int, digest: bytes, script: Script) -> list[Event]:
    events: list[Event] = [
        ReasoningDelta(text=piece, choice=choice) for piece in draft.thoughts if piece
    ]
    if events:
        # Chat has no field for it, as at xAI.
        seal = sealed("".join(draft.thoughts), digest + bytes((choice,)))
        events.append(ReasoningSealed(encrypted=seal, choice=choice))
    call_id = f"call_{digest.hex()[:16]}{choice:02x}"
    for index, (tool, pieces) in enumerate(draft.calls):
        # xAI sends a call whole; OpenAI begins with an empty one and adds fragments.
        head = "" if script.fragments else "".join(pieces)
        rest = [piece for piece in pieces if piece] if script.fragments else []
        call = ToolCallDelta(
            index=index,
            call_id=f"{call_id}{index:02x}",
            name=tool.name,
            arguments=head,
            choice=choice,
        )
        events.append(call)
        events += [ToolCallDelta(index=index, arguments=piece, choice=choice) for piece in rest]
    events += [TextDelta(text=piece, choice=choice) for piece in draft.pieces if piece]
    events.append(Finished(reason=draft.reason, choice=choice, stop_text=draft.stop_text))
    return events


def _interleaved(streams: list[list[Event]]) -> Iterable[Event]:
    rows = zip_longest(*streams)
    return (event for row in rows for event in row if event is not None)


def _usage(request: Request, script: Script, tokens: Tokens, drafts: list[_Draft]) -> Usage:
    images, read = image_tokens(request), input_tokens(request, tokens)
    thought = sum(len(draft.thoughts) for draft in drafts)
    usage = Usage(
        input_tokens=read,
        cached_tokens=min(script.cached, read),
        image_tokens=images,
        output_tokens=thought + sum(draft.tokens for draft in drafts),
        reasoning_tokens=thought,
    )
    return msgspec.structs.replace(usage, cost_ticks=cost_of(usage, PRICE))


def _bad(message: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, message)
