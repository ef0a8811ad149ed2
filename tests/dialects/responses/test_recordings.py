"""Replays tests/recordings/responses/*.json through the relay and through the decoder.

A recording has what a caller asked, the stream that an upstream sent, and what it means. Every
stream is replayed split at every byte; the typed models of openai-python accept what comes out.
"""

import json
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Finished,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.dialects._base import EmbeddedError
from groxy.dialects.responses import DIALECT
from tests.dialects.responses.streams import RECORDINGS, USAGE, XAI, final, frame, heard

BROKEN = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")
every_recording = pytest.mark.parametrize(
    "recording",
    [json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json"))],
    ids=[path.stem for path in sorted(RECORDINGS.glob("*.json"))],
)


def _splits(body: bytes) -> list[list[bytes]]:
    every = [[body[:at], body[at:]] for at in range(0, len(body), 37)]
    return [*every, [body], [body[at : at + 1] for at in range(len(body))]]


def _relay(recording: dict[str, Any], pieces: list[bytes]) -> tuple[Any, bytes]:
    request = DIALECT.decode_request(json.dumps(recording["asked"]).encode())
    relay = DIALECT.relay(request, XAI, frame())
    sent = b"".join([relay.feed(piece) for piece in pieces]) + relay.close()
    if relay.is_complete:
        return relay, sent + relay.finish(relay.reported_usage() or USAGE)
    return relay, sent + relay.fail(BROKEN)


@every_recording
def test_relay_passes_on_what_was_recorded(recording) -> None:
    expected = recording["expected"]
    relay, sent = _relay(recording, [recording["stream"].encode()])
    assert relay.is_complete == expected["complete"]
    last = final(sent)
    assert last["id"] == "resp_abc"
    assert last["status"] == expected["status"]
    assert [item["type"] for item in last["output"]] == expected["item_types"]
    assert last["previous_response_id"] == recording["asked"].get("previous_response_id")
    assert last["store"] == recording["asked"].get("store", True)
    told = [one["delta"] for one in heard(sent) if one["type"] == "response.output_text.delta"]
    assert "".join(told) == expected["text"]
    assert relay.tally.sealed == expected["sealed"]
    assert relay.tally.call_ids == [call_id for call_id, _, _ in expected["calls"]]


@every_recording
def test_relay_takes_the_books_from_it(recording) -> None:
    expected = recording["expected"]
    relay, _ = _relay(recording, [recording["stream"].encode()])
    usage = relay.reported_usage()
    if "usage" in expected:
        assert usage is not None
        assert {name: getattr(usage, name) for name in expected["usage"]} == expected["usage"]
        assert relay.tally.finish_reason == expected["reason"]
    else:
        assert usage is None
    if "payload" in expected:
        assert isinstance(relay.failure, EmbeddedError)
        assert json.loads(relay.failure.payload) == expected["payload"]


@every_recording
def test_any_split_relays_the_same_bytes(recording) -> None:
    body = recording["stream"].encode()
    whole = _relay(recording, [body])[1]
    for pieces in _splits(body):
        assert _relay(recording, pieces)[1] == whole


def _decode(pieces: list[bytes]) -> tuple[Any, list[Event]]:
    decoder = DIALECT.decoder(XAI)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return decoder, events + decoder.close()


@every_recording
def test_decoder_reads_what_was_recorded(recording) -> None:
    expected = recording["expected"]
    decoder, events = _decode([recording["stream"].encode()])
    assert decoder.is_complete == expected["complete"]
    assert isinstance(events[0], Started)
    found: dict[str, Any] = {"text": "", "thoughts": "", "sealed": [], "calls": [], "cited": []}
    for event in events:
        match event:
            case TextDelta():
                found["text"] += event.text
            case ReasoningDelta():
                found["thoughts"] += event.text
            case ReasoningSealed():
                found["sealed"].append(event.encrypted)
            case ToolCallDelta():
                if event.call_id:
                    found["calls"].append([event.call_id, event.name, ""])
                found["calls"][event.index][2] += event.arguments
            case Cited():
                assert found["text"][event.start : event.end].startswith("[[1]]")
                found["cited"].append(event.url)
            case Finished():
                found["reason"] = event.reason.value
            case UsageReported():
                usage = event.usage
                found["usage"] = {name: getattr(usage, name) for name in expected["usage"]}
            case _:
                pass
    ignored = ("complete", "status", "item_types", "payload")
    assert found == {name: value for name, value in expected.items() if name not in ignored}


@every_recording
def test_any_split_decodes_to_the_same_events(recording) -> None:
    body = recording["stream"].encode()
    whole = _decode([body])[1]
    for pieces in _splits(body):
        assert _decode(pieces)[1] == whole


@every_recording
def test_a_cut_anywhere_leaves_a_reply_that_clients_can_read(recording) -> None:
    body = recording["stream"].encode()
    request = DIALECT.decode_request(json.dumps(recording["asked"]).encode())
    for at in range(0, len(body), 41):
        relay = DIALECT.relay(request, XAI, frame())
        sent = relay.feed(body[:at]) + relay.cut()
        if relay.failure is None:
            assert final(sent + relay.finish(USAGE))["status"] in ("completed", "incomplete")
