"""History: what is kept of a reply, how a later request goes on from it, and summing it up.

In: requests, records of replies, and what was kept earlier, as bytes. Out: requests with their
whole history in them, and the answers to GET /v1/responses/{id} and its kin. Must not read or
write a store; the gateway does, and seals.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from groxy.core.amounts import usd_text
from groxy.dialects._base import OWN_SUMMARY, Asked
from groxy.dialects._bounds import MAX_COST
from groxy.dialects.responses.items import input_items, raw_items
from groxy.dialects.responses.request import conversation_of
from groxy.wire.json import UNREADABLE, decode_any, encode

_SUMMARY_HEAD = "The conversation so far, summed up:\n\n"
_SUM_UP = (
    "Sum up the conversation so far for whoever continues it without having read it. Keep every "
    "fact, decision, name, number, path, open question and promise that may matter later, and what "
    "was asked for last. Write the summary alone."
)


class _Kept(msgspec.Struct):
    input: list[msgspec.Raw]
    output: list[msgspec.Raw]
    response: msgspec.Raw


class _Record(msgspec.Struct):
    response: msgspec.Raw
    output: list[msgspec.Raw]


class _Id(msgspec.Struct):
    id: str


class _Item(msgspec.Struct):
    type: str = "message"
    encrypted_content: str | None = None


_kept_decoder = msgspec.json.Decoder(_Kept)
_record_decoder = msgspec.json.Decoder(_Record)
_id_decoder = msgspec.json.Decoder(_Id)
_item_decoder = msgspec.json.Decoder(_Item)


def remembered(asked: Asked, record: bytes) -> tuple[str, bytes]:
    """Return a reply's id, and what is to be kept: its request's own input, and its output."""
    read = _record_decoder.decode(record)
    kept = {
        "input": input_items(asked.fields["input"]),
        "output": read.output,
        "response": read.response,
    }
    return _id_decoder.decode(read.response).id, encode(kept)


def summaries(asked: Asked) -> list[str]:
    """Return the sealed summaries of the gateway's own in a request's input."""
    if OWN_SUMMARY.encode() not in bytes(asked.fields["input"]):
        return []
    found = (_summary_in(item) for item in input_items(asked.fields["input"]))
    return [token for token in found if token is not None]


def continued(asked: Asked, earlier: Sequence[bytes], opened: Mapping[str, str]) -> Asked:
    """Return a request with all that it goes on from before its own input, summaries opened."""
    items: list[msgspec.Raw] = []
    for content in earlier:
        kept = _kept_decoder.decode(content)
        items += kept.input
        items += kept.output
    items += raw_items(asked.fields["input"])
    items = [_opened(item, opened) for item in items]
    fields = asked.fields | {"input": msgspec.Raw(encode(items))}
    return replace(asked, fields=fields, conversation=conversation_of(fields))


def _summary_in(item: msgspec.Raw) -> str | None:
    try:
        read = _item_decoder.decode(item)
    except UNREADABLE:
        return None
    token = read.encrypted_content
    is_own = read.type == "compaction" and token is not None and token.startswith(OWN_SUMMARY)
    return token if is_own else None


def _opened(item: msgspec.Raw, opened: Mapping[str, str]) -> msgspec.Raw:
    token = _summary_in(item)
    if token is None or token not in opened:
        return item
    part = {"type": "input_text", "text": _SUMMARY_HEAD + opened[token]}
    return msgspec.Raw(encode({"type": "message", "role": "system", "content": [part]}))


def kept_response(content: bytes) -> bytes:
    """Return a kept reply as it was sent."""
    return bytes(_kept_decoder.decode(content).response)


def kept_input(contents: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the input of the last of `contents`: earlier turns, then its own, oldest first."""
    items: list[dict[str, Any]] = []
    for number, content in enumerate(contents, 1):
        kept = _kept_decoder.decode(content)
        items += [decode_any(item) for item in kept.input]
        if number < len(contents):
            items += [decode_any(item) for item in kept.output]
    return items


def compaction_request(whole: Asked) -> bytes:
    """Return the request that has a conversation summed up by its own model."""
    fields: dict[str, Any] = {
        "model": whole.model,
        "input": [
            *input_items(whole.fields["input"]),
            {"type": "message", "role": "user", "content": _SUM_UP},
        ],
        "store": False,
        "stream": False,
    }
    if whole.max_cost_ticks is not None:
        fields[MAX_COST] = usd_text(whole.max_cost_ticks)
    if "instructions" in whole.fields:
        fields["instructions"] = whole.fields["instructions"]
    return encode(fields)


def as_compacted(
    whole: Asked, reply: Mapping[str, Any], *, item_id: str, seal: Callable[[str], str]
) -> bytes:
    """Return the answer to `compact`: the user's messages, and all the rest as one sealed item."""
    said = (decode_any(item) for item in input_items(whole.fields["input"]))
    output = [
        {"status": "completed", **item}
        for item in said
        if item.get("type", "message") == "message" and item.get("role") == "user"
    ]
    summary = "\n".join(
        part.get("text", "")
        for item in reply["output"]
        if item["type"] == "message"
        for part in item["content"]
    )
    output.append({"type": "compaction", "id": item_id, "encrypted_content": seal(summary)})
    written = {
        "id": reply["id"],
        "object": "response.compaction",
        "created_at": int(reply["created_at"]),
        "output": output,
        "usage": reply["usage"],
    }
    return encode(written)
