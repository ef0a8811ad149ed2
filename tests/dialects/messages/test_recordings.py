"""Replays tests/recordings/messages/*.json through the relay and through both ends of translation.

A recording has the stream that an upstream sent, and what it means. Every stream is replayed split
at every byte; the types of the official client accept what comes out.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError, StreamRelay
from groxy.dialects._translation import TranslatedStream
from groxy.dialects.messages import DIALECT
from groxy.dialects.messages.sealing import opened_token
from tests.dialects.messages.streams import RULES, USAGE, asked, asked_to_think, frame, heard

RECORDINGS = Path(__file__).parents[2] / "recordings" / "messages"
every_recording = pytest.mark.parametrize(
    "recording",
    [json.loads(path.read_text("utf-8")) for path in sorted(RECORDINGS.glob("*.json"))],
    ids=[path.stem for path in sorted(RECORDINGS.glob("*.json"))],
)


def _splits(body: bytes) -> list[list[bytes]]:
    cut_once = [[body[:at], body[at:]] for at in range(0, len(body), 41)]
    return [[body], *cut_once, [body[at : at + 1] for at in range(len(body))]]


def _sent(relay: StreamRelay, pieces: list[bytes]) -> bytes:
    sent = b"".join([relay.feed(piece) for piece in pieces]) + relay.close()
    return sent + relay.finish(relay.reported_usage() or USAGE) if relay.is_complete else sent


def _relay() -> StreamRelay:
    return DIALECT.relay(asked(), RULES, frame())


def _translation() -> StreamRelay:
    return TranslatedStream(DIALECT.decoder(RULES), DIALECT.encoder(asked_to_think(), frame()))


def _failure(relay: StreamRelay) -> Any:
    if relay.failure is None:
        return None
    assert isinstance(relay.failure, EmbeddedError)
    return json.loads(relay.failure.payload)


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    opened = opened_token(block.get("signature"))
    return block | {"signature": opened[0]} if opened else block


@every_recording
def test_the_same_lane_passes_on_what_was_recorded(recording):
    expected = recording["expected"]
    relay = _relay()
    sent = _sent(relay, [recording["stream"].encode()])
    assert relay.is_complete == expected["complete"]
    if not expected["complete"]:
        assert _failure(relay) == expected["failure"]
        return
    message = heard(sent)
    assert message["id"] == expected["reply_id"]
    assert message["content"] == expected["content"]
    assert message["stop_reason"] == expected["stop_reason"]
    assert relay.reported_usage() == Usage(**expected["usage"])


@every_recording
def test_the_cross_lane_tells_what_was_recorded(recording):
    expected = recording["expected"]
    relay = _translation()
    sent = _sent(relay, [recording["stream"].encode()])
    assert relay.is_complete == expected["complete"]
    if not expected["complete"]:
        assert _failure(relay) == expected["failure"]
        return
    message = heard(sent)
    content = [_opened(block) for block in message["content"]]
    assert content == expected.get("crossed", expected["content"])
    assert message["stop_reason"] == expected["stop_reason"]
    assert relay.reported_usage() == Usage(**expected["usage"])


@every_recording
@pytest.mark.parametrize("lane", [_relay, _translation])
def test_any_split_sends_the_same(recording, lane):
    body = recording["stream"].encode()
    sent = {_sent(lane(), pieces) for pieces in _splits(body)}
    assert len(sent) == 1
