"""A quote says what a request would hold, and the request then holds just that."""

import json

import pytest

from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, Plan, PlanGrant
from groxy.core.money import TICKS_PER_USD
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.gateway.quoting import Quoter
from groxy.policy.keys import Caller
from tests.gateway.stage import Reply, Seat, Stage, whole
from tests.gateway.test_tab import USER, paying

ASK = {"model": "grok-4.3", "messages": [{"role": "user", "content": "one two"}]}


def quoter(stage):
    return Quoter(stage.gateway, {one.name: one for one in (CHAT, MESSAGES, EMBEDDINGS)})


async def quoted(stage, endpoint="chat", **fields):
    body = json.dumps(fields or ASK).encode()
    caller = Caller(key_id="key-1", name="test", **stage.caller)
    return await quoter(stage).quote(caller, endpoint, body)


@pytest.mark.parametrize("markup_bp", [0, 1500, -2000])
async def test_a_request_holds_what_its_quote_said(markup_bp):
    plan = Plan(id="p", grant=PlanGrant(markup_bp=markup_bp))
    stage = paying(Stage(Seat(Reply(script=[whole()]))), plan=plan)
    quote = await quoted(stage, **ASK, max_tokens=70)

    await stage.send(json.dumps({**ASK, "max_tokens": 70}).encode())

    assert stage.entry.held_ticks == quote["hold_ticks"] > 0
    assert quote["price_version"] == stage.entry.price_version == "catalog"
    assert quote["hold"] == usd_text(quote["hold_ticks"])


async def test_a_quote_holds_and_counts_nothing():
    stage = paying(Stage(Seat(Reply(script=[whole()]))))

    await quoted(stage)

    assert await stage.gate.available(USER) == (TICKS_PER_USD, 0)
    assert stage.books.requests == []
    assert stage.seats[0].asked == []


async def test_it_says_whether_the_request_would_pass():
    stage = paying(Stage(Seat(Reply())), ticks=1_000)

    quote = await quoted(stage, **ASK, max_tokens=1_000)

    assert (quote["would_pass"], quote["available"]) == (False, "0.0000001")


async def test_the_tightest_purse_is_what_is_available():
    grant = KeyGrant(caps=Caps(day=500, total=700))
    stage = paying(Stage(Seat(Reply())), grant=grant)

    assert (await quoted(stage))["available"] == usd_text(500)


async def test_for_who_pays_nothing_everything_passes():
    quote = await quoted(Stage(Seat(Reply())))

    assert (quote["available"], quote["would_pass"]) == (None, True)


async def test_it_tells_tokens_and_prices():
    quote = await quoted(Stage(Seat(Reply())), **ASK, max_tokens=100, n=2)

    assert quote["prompt_tokens"] < quote["max_prompt_tokens"]
    assert quote["max_output_tokens"] == 200
    (price,) = quote["prices"]
    assert (price["input"], price["output"]) == ("1.25", "2.5")
    assert price["long"] == {
        "from_tokens": 200_000,
        "input": "2.5",
        "cached_input": "0.4",
        "output": "5",
    }


async def test_pictures_and_films_are_quoted_by_their_tables():
    stage = Stage(Seat(Reply()))

    pictures = await quoted(stage, "images", model="grok-imagine-image", prompt="a cat", n=2)
    film = await quoted(
        stage, "videos", model="grok-imagine-video", prompt="a cat", seconds=6, size="1280x720"
    )

    assert pictures["hold_ticks"] > 0
    assert film["hold_ticks"] > 0
    assert film["price_version"] == "catalog"


@pytest.mark.parametrize(
    ("endpoint", "fields", "param"),
    [
        ("nonsense", ASK, "endpoint"),
        ("chat", {**ASK, "n": 0}, "n"),
        ("chat", {**ASK, "max_cost": "0.0000001"}, "max_cost"),
        ("images", {"model": "grok-imagine-image", "prompt": "a", "max_cost": "0.001"}, "max_cost"),
    ],
)
async def test_what_the_request_itself_would_be_refused_for_is_refused(endpoint, fields, param):
    with pytest.raises(GroxyError) as caught:
        await quoted(Stage(Seat(Reply())), endpoint, **fields)

    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, param)


async def test_a_model_that_the_key_may_not_use_is_not_quoted():
    stage = Stage(Seat(Reply()))
    stage.caller = {"grant": KeyGrant(models=("grok-4.7",))}

    with pytest.raises(GroxyError) as caught:
        await quoted(stage)

    assert caught.value.kind is ErrorKind.FORBIDDEN
