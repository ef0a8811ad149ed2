"""Long films in two parts: each is asked for once, and both are billed."""

import dataclasses

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.film_parts import Extends
from groxy.gateway.reel import COMPLETED, FAILED
from groxy.upstreams.xai import Xai
from tests.gateway.film_set import OWNER, PENDING, DyingStore, FilmSeat, Killed, told

SAVES = 7
"""Of a film in two parts that goes well."""


EXTENSION = "/videos/extensions"


@pytest.fixture
def not_extending(monkeypatch):
    """No upstream makes films longer."""
    # What a protocol found out of a class, it remembers.
    forget = getattr(Extends, "_abc_caches_clear")  # noqa: B009 - types know nothing of it
    monkeypatch.delattr(Xai, "video_extension_call")
    forget()
    yield
    monkeypatch.undo()
    forget()


def part(name: str, ticks: int) -> dict[str, object]:
    return {
        "status": "done",
        "video": {"url": f"https://vidgen.x.ai/{name}.mp4", "respect_moderation": True},
        "usage": {"cost_in_usd_ticks": ticks},
    }


@pytest.mark.parametrize(("seconds", "rest"), [(16, 6), (20, 10)])
async def test_a_long_film_is_made_in_two_parts_and_billed_for_both(stand, seconds, rest):
    seat = FilmSeat(part("first", 1_000), PENDING, part("whole", 500))
    scene = await stand(seat)
    job = await scene.order(seconds=seconds)
    assert (await scene.work(job)).status == COMPLETED
    first, second = seat.begun
    assert first["duration"] == 10
    assert second == {
        "prompt": "a cat",
        "video": {"url": "https://vidgen.x.ai/first.mp4"},
        "duration": rest,
        "model": "grok-imagine-video",
    }
    assert seat.asked[-1].url == "https://vidgen.x.ai/whole.mp4"
    entry = await scene.entry()
    assert (entry.cost_ticks, entry.attempts) == (1_500, 1)


async def test_a_part_that_is_refused_for_now_is_asked_for_again(stand, monkeypatch):
    monkeypatch.setattr("groxy.gateway.film_parts._PAUSE_S", 0.01)
    orders = [told({"request_id": "a"}), told({"error": "no"}, 503), told({"request_id": "b"})]
    seat = FilmSeat(part("first", 1), part("whole", 1), orders=orders)
    scene = await stand(seat)
    scene.stage.directory.rules = dataclasses.replace(scene.stage.directory.rules, down_s=0.01)
    assert (await scene.work(await scene.order(seconds=20))).status == COMPLETED
    assert len(seat.begun) == 3


async def test_a_part_that_may_have_been_taken_on_is_not_asked_for_again(stand):
    seat = FilmSeat(part("first", 1), orders=[told({"request_id": "a"}), told({}, 502)])
    scene = await stand(seat)
    job = await scene.order(seconds=20)
    assert (await scene.work(job)).status == FAILED
    assert (await scene.shown(job)).error_code == "upstream_unknown_outcome"
    assert len(seat.begun) == 2
    assert (await scene.entry()).cost_ticks == 0


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, SAVES + 1))
async def test_killed_between_parts_no_part_is_asked_for_twice(stand, database, at, before):
    seat = FilmSeat()
    seat.of = {"film-1": part("first", 1_000), "film-2": part("whole", 500)}
    first = await stand(seat)
    job = await first.order(seconds=20)
    with pytest.raises(Killed):
        await first.filming.work(await first.take(job, DyingStore(database, at, before=before)))
    second = await stand(seat)
    ended = await second.films.find(job.id, OWNER)
    if ended.completed_ms is None:
        ended = await second.work(job)
    assert len([one for one in seat.begun if "video" in one]) <= 1
    assert len([one for one in seat.begun if "video" not in one]) <= 1
    entry = await second.entry()
    assert (ended.status, entry.cost_ticks) in {(COMPLETED, 1_500), (FAILED, 0)}


async def test_a_film_that_no_account_can_make_is_refused_at_once_with_what_is_possible(
    stand, not_extending
):
    scene = await stand(FilmSeat())
    with pytest.raises(GroxyError) as raised:
        await scene.order(seconds=20)
    assert (raised.value.kind, raised.value.param) == (ErrorKind.UNSUPPORTED, "seconds")
    assert "1 to 15" in raised.value.message
    entry = await scene.entry()
    assert (entry.outcome, entry.status, entry.cost_ticks) == ("unsupported_parameter", 400, 0)
