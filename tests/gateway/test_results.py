"""Results are fetched from where they may be, checked, and kept."""

from typing import Any, cast

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import MadeImage
from groxy.gateway.results import Results, reach
from groxy.media.fetch import Fetched, Fetcher
from tests.gateway.darkroom import JPEG, MIB, PNG, NoShelf, shelf_in
from tests.gateway.stage import DOWN, Reply, Seat, Stage

OWN = "https://api.x.ai/v1/media/1.png"
HOST = "https://imgen.x.ai/1.png"
AWAY = "https://cdn.example.com/1.png"


class Outside:
    """The guarded fetcher: what it is asked for, and what it gives."""

    def __init__(self, *answers):
        self.answers = list(answers) or [PNG]
        self.asked = []

    async def fetch(self, url, *, max_bytes, accepts, param):
        self.asked.append((url, accepts))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Fetched(answer, "image/png")


def good(content=PNG):
    return Reply(script=[content], content_type="image/png")


def moved(location, status=302):
    return Reply(status=status, more_headers={"location": location})


def account_with(*answers):
    seat = Seat(*answers)
    (account,) = Stage(seat).directory.accounts
    return account, seat


async def collected(account, *made, outside=None, shelf=None, most=30 * MIB):
    on: Any = shelf or NoShelf()
    results = Results(on, cast("Fetcher", outside or Outside()), max_image_bytes=most)
    return await results.collect(made, account, owner="key-1", keeps=shelf is not None)


async def test_what_lies_at_the_accounts_own_address_is_asked_for_with_its_key():
    account, seat = account_with(good())
    (picture,), reasons = await collected(account, MadeImage(url=OWN))
    assert (picture.content, picture.content_type, reasons) == (PNG, "image/png", [])
    assert seat.asked[0].method == "GET"
    assert seat.asked[0].headers["Authorization"] == "Bearer xai-0"
    assert seat.given[0].is_closed


@pytest.mark.parametrize("url", ["media/1.png", "/media/1.png"])
async def test_a_place_without_a_scheme_is_below_the_accounts_address(url):
    account, seat = account_with(good())
    await collected(account, MadeImage(url=url))
    assert seat.asked[0].url == OWN


async def test_a_host_that_the_upstream_names_is_asked_over_the_same_way_without_a_key():
    account, seat = account_with(good())
    (picture,), _ = await collected(account, MadeImage(url=HOST))
    assert picture.content == PNG
    assert "Authorization" not in seat.asked[0].headers


@pytest.mark.parametrize(
    "url",
    [
        AWAY,
        "http://imgen.x.ai/1.png",
        "https://imgen.x.ai.example.com/1.png",
        "https://evil.imgen.x.ai/1.png",
        "http://api.x.ai/v1/media/1.png",
        "https://api.x.ai:8443/v1/media/1.png",
        "https://api.x.ai@example.com/1.png",
        "http://169.254.169.254/latest/meta-data",
    ],
)
async def test_any_other_place_is_fetched_as_if_a_stranger_had_named_it(url):
    account, seat = account_with(good())
    outside = Outside()
    await collected(account, MadeImage(url=url), outside=outside)
    assert outside.asked == [(url, ("image/",))]
    assert not seat.asked, "no key leaves"


async def test_a_redirect_is_followed_as_far_as_it_is_trusted():
    account, seat = account_with(moved(HOST), moved(AWAY))
    outside = Outside()
    await collected(account, MadeImage(url=OWN), outside=outside)
    assert [one.url for one in seat.asked] == [OWN, HOST]
    assert "Authorization" not in seat.asked[1].headers
    assert outside.asked == [(AWAY, ("image/",))]


async def test_a_redirect_that_goes_in_circles_ends():
    account, seat = account_with(moved(OWN))
    with pytest.raises(GroxyError) as caught:
        await reach(account, OWN)
    assert caught.value.kind is ErrorKind.UPSTREAM_DOWN
    assert len(seat.asked) == 4
    assert all(reply.is_closed for reply in seat.given)


@pytest.mark.parametrize("url", ["https://api.x.ai\\@evil/", "https://a b/", "ftp:///x", "x://"])
async def test_what_is_no_place_is_the_upstreams_mistake(url):
    account, _ = account_with(good())
    with pytest.raises(GroxyError) as caught:
        await reach(account, url)
    assert caught.value.kind is ErrorKind.BAD_REPLY


async def test_what_cannot_be_had_is_asked_for_twice():
    account, seat = account_with(DOWN, good())
    (picture,), _ = await collected(account, MadeImage(url=OWN))
    assert (picture.content, len(seat.asked)) == (PNG, 2)


async def test_a_picture_that_is_lost_does_not_take_the_others_with_it():
    account, _ = account_with(Reply(status=404))
    pictures, reasons = await collected(
        account, MadeImage(content=JPEG), MadeImage(url=OWN), MadeImage(refused="Too rude.")
    )
    assert [one.content for one in pictures] == [JPEG]
    assert reasons[0] == "Too rude."
    assert "could not be fetched" in reasons[1]


async def test_when_none_can_be_had_that_is_the_failure():
    account, _ = account_with(Reply(status=404))
    with pytest.raises(GroxyError) as caught:
        await collected(account, MadeImage(url=OWN))
    assert caught.value.facts.status == 502


@pytest.mark.parametrize("content", [b"<html>", b"", PNG[:40]])
async def test_what_is_no_whole_picture_is_not_taken(content):
    account, _ = account_with(good(content))
    with pytest.raises(GroxyError) as caught:
        await collected(account, MadeImage(url=OWN))
    assert caught.value.kind is ErrorKind.BAD_REPLY


async def test_a_picture_beyond_the_bound_is_not_taken():
    account, _ = account_with(good())
    with pytest.raises(GroxyError) as caught:
        await collected(account, MadeImage(content=PNG), most=len(PNG) - 1)
    assert caught.value.kind is ErrorKind.BAD_REPLY


async def test_what_outside_gives_no_picture_is_told_without_the_callers_field():
    account, _ = account_with(good())
    bad = GroxyError(ErrorKind.BAD_REQUEST, "The URL gives text.", param="image")
    with pytest.raises(GroxyError) as caught:
        await collected(account, MadeImage(url=AWAY), outside=Outside(bad))
    assert (caught.value.facts.status, caught.value.param) == (502, None)


async def test_pictures_that_are_kept_are_on_the_shelf(tmp_path):
    async with shelf_in(tmp_path) as shelf:
        account, _ = account_with(good())
        pictures, _ = await collected(
            account, MadeImage(content=PNG), MadeImage(content=JPEG), shelf=shelf
        )
        assert [await shelf.read(one.stored) for one in pictures] == [PNG, JPEG]
