"""Pictures are made, priced and entered in the books once, whatever happens."""

import asyncio
import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest
from groxy.gateway.making import OnSilence, Order
from groxy.ledger.costs import BY_CATALOG
from groxy.routing.catalog import Catalog
from tests.gateway.darkroom import (
    JPEG,
    MODEL,
    PNG,
    PNG_URI,
    REFUSED,
    call,
    inline,
    made,
    make,
    maker,
    shelf_in,
)
from tests.gateway.stage import DOWN, Reply, Seat, Stage, refusing


async def ask(stage, **fields):
    return await make(maker(stage).begin(call()), stage, **fields)


async def failure(stage, **fields):
    with pytest.raises(GroxyError) as caught:
        await ask(stage, **fields)
    return caught.value


def price_of(name):
    model = Catalog.load().find(name)
    assert model is not None
    assert model.media_price is not None
    return model.media_price


def sent(seat):
    return json.loads(seat.asked[-1].body)


class Connecting(Seat):
    """An upstream to which no connection comes about."""

    async def send(self, outgoing):
        await asyncio.sleep(30)
        raise AssertionError("nobody waits so long")


async def test_what_the_upstream_made_comes_back_and_costs_what_it_billed():
    seat = Seat(made(inline(PNG), inline(JPEG), ticks=400))
    stage = Stage(seat)
    done = await ask(stage, count=2)
    assert [one.content_type for one in done.pictures] == ["image/png", "image/jpeg"]
    assert [one.content for one in done.pictures] == [PNG, JPEG]
    assert (done.pictures[0].width, done.pictures[0].height) == (8, 6)
    assert list(done.refusals) == []
    assert (done.cost_ticks, done.is_priced) == (400, True)
    entry = stage.entry
    assert (entry.dialect, entry.outcome, entry.status) == ("images", "ok", 200)
    assert (entry.model_asked, entry.cost_ticks, entry.attempts) == (MODEL, 400, 1)
    assert (entry.account_id, entry.upstream_dialect) == ("seat-0", "images")
    (attempt,) = stage.books.attempts
    assert (attempt.outcome, attempt.cost_ticks, attempt.cost_source) == ("ok", 400, "upstream")
    assert sent(seat)["n"] == 2
    assert seat.asked[0].url == "https://api.x.ai/v1/images/generations"
    assert seat.asked[0].headers["Authorization"] == "Bearer xai-0"


async def test_without_a_bill_the_catalog_prices_what_was_delivered():
    stage = Stage(Seat(made(inline(), REFUSED, ticks=None)))
    done = await ask(stage, count=2)
    price = price_of(MODEL).for_image()
    assert done.cost_ticks == stage.entry.cost_ticks == price
    assert stage.books.attempts[0].cost_source == "catalog"
    assert len(done.refusals) == 1


async def test_the_catalog_prices_quality_and_resolution():
    stage = Stage(Seat(made(ticks=None)))
    model = "grok-imagine-image-2.0"
    price = price_of(model)
    await ask(stage, model=model, resolution="2k", quality="low")
    await ask(stage, model=model)
    costs = [entry.cost_ticks for entry in stage.books.requests]
    assert costs == [price.per_image["2k/low"], price.per_image["1k/medium"]]


async def test_fewer_pictures_than_asked_for_are_told():
    stage = Stage(Seat(made(inline())))
    done = await ask(stage, count=3)
    assert len(done.pictures) == 1
    assert list(done.refusals) == ["The upstream made fewer pictures than it was asked for."] * 2


async def test_more_pictures_than_asked_for_are_left_out():
    done = await ask(Stage(Seat(made(inline(), inline(), inline()))), count=2)
    assert (len(done.pictures), list(done.refusals)) == (2, [])


async def test_when_all_are_refused_the_reason_is_told_and_nothing_is_owed():
    first, second = Seat(made(REFUSED, ticks=None)), Seat(made())
    stage = Stage(first, second)
    error = await failure(stage)
    assert (error.kind, error.facts.status) == (ErrorKind.REFUSED, 403)
    assert "usage policy" in error.message
    assert not second.asked, "another account would refuse it too"
    assert (stage.entry.outcome, stage.entry.cost_ticks) == ("content_policy_violation", 0)


async def test_a_fee_for_what_was_refused_is_the_callers():
    stage = Stage(Seat(made(REFUSED, ticks=90)))
    await failure(stage)
    assert stage.entry.cost_ticks == 90


async def test_another_account_makes_what_the_first_one_could_not():
    first, second = Seat(DOWN), Seat(made())
    stage = Stage(first, second)
    done = await ask(stage)
    assert len(done.pictures) == 1
    assert (stage.entry.attempts, stage.entry.account_id) == (2, "seat-1")
    assert [one.outcome for one in stage.books.attempts] == ["upstream_unavailable", "ok"]
    assert all(account.in_flight == 0 for account in stage.directory.accounts)


async def test_when_all_fail_the_caller_is_told_once_and_owes_nothing():
    stage = Stage(Seat(DOWN), Seat(refusing(500, b"{}")))
    error = await failure(stage)
    assert error.facts.status == 502
    assert (stage.entry.attempts, stage.entry.cost_ticks) == (2, 0)


async def test_what_the_upstream_calls_wrong_is_not_asked_of_another():
    first, second = Seat(refusing(400, b'{"error": "Bad size."}')), Seat(made())
    stage = Stage(first, second)
    error = await failure(stage)
    assert error.facts.status == 400
    assert not second.asked


async def test_a_reply_without_pictures_is_an_upstreams_mistake():
    error = await failure(Stage(Seat(Reply(script=[b"<html>"], content_type="text/html"))))
    assert error.kind is ErrorKind.BAD_REPLY


async def test_what_is_no_picture_is_not_passed_on_and_not_owed():
    stage = Stage(Seat(made(inline(b"not a picture"), ticks=500)))
    error = await failure(stage)
    assert error.kind is ErrorKind.BAD_REPLY
    assert stage.entry.cost_ticks == 0
    assert stage.books.attempts[0].cost_ticks == 500, "the operator pays it all the same"


async def test_an_edit_sends_its_pictures():
    seat = Seat(made())
    done = await ask(Stage(seat), images=(PNG_URI,), prompt="make it blue")
    assert len(done.pictures) == 1
    assert seat.asked[0].url.endswith("/images/edits")
    assert sent(seat)["image"] == {"url": PNG_URI}


async def test_what_no_account_can_do_names_the_field():
    seat = Seat(made())
    error = await failure(Stage(seat), images=(PNG_URI,), mask=PNG_URI)
    assert (error.kind, error.param) == (ErrorKind.UNSUPPORTED, "mask")
    assert not seat.asked


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "grok-imagine-image-lite", "count": 5}, "n"),
        ({"model": "grok-imagine-image-edit"}, "model"),
        ({"model": "grok-4.3"}, "model"),
        ({"model": "grok-imagine-video"}, "model"),
        ({"model": "no-such-model"}, "model"),
    ],
)
async def test_what_a_model_does_not_make_is_refused_before_anybody_is_asked(fields, param):
    seat = Seat(made())
    stage = Stage(seat)
    error = await failure(stage, **fields)
    assert (error.facts.status, error.param) == (400, param)
    assert not seat.asked
    assert (stage.entry.attempts, stage.entry.outcome) == (0, error.kind.value)


async def test_a_lite_model_makes_four():
    assert await ask(Stage(Seat(made())), model="grok-imagine-image-lite", count=4)


async def test_a_quality_that_the_name_fixes_is_sent_unless_another_is_asked_for():
    seat = Seat(made())
    stage = Stage(seat)
    await ask(stage, model="grok-imagine-image-quality")
    assert sent(seat)["quality"] == "low"
    await ask(stage, model="grok-imagine-image-quality", quality="high")
    assert sent(seat)["quality"] == "high"


async def test_a_request_that_cannot_be_read_is_in_the_books_too():
    stage = Stage(Seat(made()))

    async def read() -> Order:
        raise GroxyError(ErrorKind.BAD_REQUEST, "`prompt` is empty.", param="prompt")

    with pytest.raises(GroxyError) as caught:
        await maker(stage).begin(call()).make(read, stage.client)
    assert caught.value.param == "prompt"
    assert (stage.entry.outcome, stage.entry.status) == ("invalid_value", 400)


async def test_a_client_that_leaves_ends_it_and_owes_what_the_upstream_bills_all_the_same():
    seat = Seat(Reply(script=[30.0], content_type="application/json"))
    stage = Stage(seat)
    stage.client.left.set()
    error = await failure(stage, count=2)
    assert error.kind is ErrorKind.CANCELLED
    owed = 2 * price_of(MODEL).for_image(resolution="1k", quality="medium")
    assert owed > 0
    assert (stage.entry.outcome, stage.entry.cost_ticks) == ("client_disconnected", owed)
    assert stage.books.attempts[0].cost_source == BY_CATALOG
    assert seat.given[0].is_closed
    (account,) = stage.directory.accounts
    assert (account.in_flight, account.rest_reason) == (0, None)


@pytest.mark.parametrize(
    "seat",
    [
        Seat(Reply(500, script=[30.0], content_type="application/json")),
        Seat(Reply(429, script=[30.0], content_type="application/json")),
        Connecting(),
    ],
    ids=["failed", "busy", "not reached"],
)
async def test_who_leaves_an_upstream_that_makes_nothing_owes_nothing(seat):
    stage = Stage(seat)
    stage.client.left.set()
    assert (await failure(stage)).kind is ErrorKind.CANCELLED
    assert (stage.entry.outcome, stage.entry.cost_ticks) == ("client_disconnected", 0)


async def test_who_leaves_pays_the_price_of_the_quality_that_the_model_stands_for():
    name = "grok-imagine-image-quality"
    model = Catalog.load().find(name)
    stage = Stage(Seat(Reply(script=[30.0], content_type="application/json")))
    stage.client.left.set()
    await failure(stage, model=name)
    assert model is not None
    own = price_of(name).for_image(resolution="1k", quality=model.quality or "medium")
    assert stage.entry.cost_ticks == own


async def test_a_client_that_leaves_before_anybody_was_asked_owes_nothing():
    seat = Seat(made())
    stage = Stage(seat)
    stage.client.left.set()

    async def read() -> Order:
        await asyncio.sleep(30)
        raise AssertionError("nobody waits so long")

    with pytest.raises(GroxyError):
        await maker(stage).begin(call()).make(read, stage.client)
    assert (stage.entry.outcome, stage.entry.cost_ticks, seat.asked) == (
        "client_disconnected",
        0,
        [],
    )


async def test_an_upstream_that_takes_too_long_is_given_up():
    slow = Seat(Reply(script=[30.0], content_type="application/json"))
    stage = Stage(slow, Seat(made()), first_event_s=1.0)
    await ask(stage)
    assert [one.outcome for one in stage.books.attempts] == ["upstream_timeout", "ok"]


async def test_a_gateway_that_stops_tells_the_caller_and_the_books():
    stage = Stage(Seat(Reply(script=[30.0], content_type="application/json")))
    asking = asyncio.get_running_loop().create_task(failure(stage))
    await asyncio.sleep(0.02)
    asking.cancel()
    error = await asking
    assert (error.kind, stage.entry.outcome) == (ErrorKind.INTERNAL, "internal_error")
    assert stage.directory.accounts[0].in_flight == 0


async def test_a_defect_is_in_the_books_and_not_hidden():
    stage = Stage(Seat(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await ask(stage)
    assert stage.entry.outcome == "internal_error"
    assert stage.books.attempts[0].outcome == "internal_error"
    assert stage.directory.accounts[0].in_flight == 0


async def test_nothing_leaves_that_the_books_do_not_have():
    stage = Stage(Seat(made()))
    stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "The store is away.")
    error = await failure(stage)
    assert error.kind is ErrorKind.STORE_DOWN


async def test_pictures_to_be_kept_are_on_the_shelf_for_their_owner(tmp_path):
    async with shelf_in(tmp_path) as shelf:
        stage = Stage(Seat(made(inline(JPEG))))
        making = maker(stage, shelf).begin(call())
        done = await make(making, stage, keeps=True)
        stored = done.pictures[0].stored
        assert stored is not None
        assert (stored.kind, stored.owner, stored.content_type) == ("image", "key-1", "image/jpeg")
        assert await shelf.read(stored) == JPEG


async def test_a_full_shelf_is_told_and_the_caller_owes_nothing(tmp_path):
    class Full:
        async def put(self, *arguments, **more):
            message = "The media store is full."
            raise GroxyError(ErrorKind.STORE_DOWN, message, code="media_store_unavailable")

    first, second = Seat(made()), Seat(made())
    stage = Stage(first, second)
    with pytest.raises(GroxyError) as caught:
        await make(maker(stage, Full()).begin(call()), stage, keeps=True)
    assert (caught.value.code, caught.value.facts.status) == ("media_store_unavailable", 503)
    assert (stage.entry.outcome, stage.entry.cost_ticks) == ("store_unavailable", 0)
    assert not second.asked, "another account would not make room"
    assert stage.directory.accounts[0].rest_reason is None


async def test_silence_is_broken_while_it_takes():
    told = []

    async def tell():
        told.append(1)

    slow = Reply(script=[0.6, made().script[0]], content_type="application/json")
    stage = Stage(Seat(slow))

    async def read() -> Order:
        return Order(request=ImageRequest(model=MODEL, prompt="x"), keeps=False)

    making = maker(stage).begin(call())
    # The vigil looks at the client first after a little while, and breaks silence from then on.
    await making.make(read, stage.client, on_silence=OnSilence(tell=tell, after_s=0.02))
    assert told
    assert making.attempts == 1
