"""Tokens are exact where an upstream tells them, and an estimate everywhere else."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.tokenizing import Tokenizer
from tests.gateway.stage import DOWN, Reply, Seat, Stage, refusing

EXACT = {"token_ids": [{"token_id": 7, "string_token": "Hi", "token_bytes": [72, 105]}]}


class Letters:
    """Splits into letters."""

    def tokens(self, text: str) -> list[tuple[int, bytes]]:
        return [(ord(letter), letter.encode()) for letter in text]


def tokenizer(stage: Stage) -> Tokenizer:
    return Tokenizer(stage.gateway.router, Letters())


async def test_xai_tells_its_own_tokens() -> None:
    reply = Reply(script=[json.dumps(EXACT).encode()], content_type="application/json")
    stage = Stage(seat := Seat(reply))
    found = await tokenizer(stage).tokenize("Hi", "grok-4.3")
    assert [token.token_id for token in found.token_ids] == [7]
    assert found.estimated is False
    assert seat.asked[0].url.endswith("/tokenize-text")
    assert json.loads(seat.asked[0].body) == {"model": "grok-4.3", "text": "Hi"}


@pytest.mark.parametrize(
    "answer",
    [DOWN, refusing(500), refusing(401), Reply(script=[b"<html>"]), Reply(script=[b'{"a":1}'])],
    ids=["down", "500", "401", "html", "strange"],
)
async def test_an_upstream_that_does_not_tell_leaves_an_estimate(answer) -> None:
    stage = Stage(Seat(answer))
    found = await tokenizer(stage).tokenize("Hi", "grok-4.3")
    assert [token.string_token for token in found.token_ids] == ["H", "i"]
    assert found.estimated is True


async def test_a_failure_here_is_not_held_against_the_account() -> None:
    stage = Stage(Seat(refusing(401)))
    await tokenizer(stage).tokenize("Hi", "grok-4.3")
    (account,) = stage.directory.accounts
    assert account.failures == 0
    assert not account.is_resting(stage.directory.now())


async def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(GroxyError) as caught:
        await tokenizer(Stage(Seat(DOWN))).tokenize("Hi", "no-such-model")
    assert caught.value.kind is ErrorKind.UNKNOWN_MODEL


async def test_a_long_text_is_counted_as_well() -> None:
    found = await tokenizer(Stage(Seat(DOWN))).tokenize("x" * 30_000, "grok-4.3")
    assert len(found.token_ids) == 30_000
