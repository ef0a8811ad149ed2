"""What is done for a film job: each state, each end, and every moment to die in."""

import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.reel import COMPLETED, FAILED
from tests.gateway.film_set import (
    DONE,
    FILM,
    OWNER,
    PENDING,
    DyingStore,
    FilmSeat,
    Killed,
    limits,
    told,
)
from tests.gateway.stage import DOWN, Reply

FAILED_FILM = {"status": "failed", "error": {"code": "internal_error", "message": "Too dark."}}
MODERATED = {"status": "done", "video": {"url": "/x.mp4", "respect_moderation": False}}
EXPIRED = {"status": "expired"}
SAVES = 5
"""Of a film that goes well and is looked at once: submitting, polling, fetching, stored, end."""


# ------------------------------------------------------------------------------------- going well


async def test_a_film_is_ordered_once_fetched_and_billed_once(stand):
    seat = FilmSeat(PENDING, PENDING, DONE)
    scene = await stand(seat)
    job = await scene.order(seconds=6, size="1280x720")
    assert (await scene.shown(job)).status == "queued"

    ended = await scene.work(job)

    assert ended.status == COMPLETED
    (order,) = seat.begun
    assert (order["model"], order["prompt"], order["duration"]) == (
        "grok-imagine-video",
        "a cat",
        6,
    )
    assert (order["aspect_ratio"], order["resolution"]) == ("16:9", "720p")
    stored = await scene.films.content(job.id, OWNER)
    assert await scene.shelf.read(stored) == FILM
    assert (stored.content_type, stored.owner, stored.kind) == ("video/mp4", OWNER, "video")
    entry = await scene.entry()
    assert (entry.id, entry.dialect, entry.outcome, entry.status) == (
        job.request_id,
        "videos",
        "ok",
        200,
    )
    assert (entry.cost_ticks, entry.key_id, entry.reply_id) == (4_200, OWNER, job.id)
    (attempt,) = await scene.attempts()
    assert (attempt.cost_ticks, attempt.cost_source, attempt.outcome) == (4_200, "upstream", "ok")
    shown = await scene.shown(job)
    assert (shown.status, shown.progress, shown.url) == ("completed", 100, f"link:{stored.id}")
    assert shown.prompt == "a cat"


async def test_what_the_upstream_does_not_bill_costs_the_catalogs_price(stand):
    unbilled = {name: value for name, value in DONE.items() if name != "usage"}
    scene = await stand(FilmSeat(unbilled))
    await scene.work(await scene.order(seconds=10, resolution_name="480p"))
    entry = await scene.entry()
    assert entry.cost_ticks == 10 * 500_000_000
    (attempt,) = await scene.attempts()
    assert attempt.cost_source == "catalog"


async def test_a_prompt_and_its_pictures_are_not_kept_in_the_clear(stand, database):
    import sqlalchemy as sa

    from groxy.store import tables

    scene = await stand(FilmSeat())
    job = await scene.order(prompt="a very private film")
    await scene.work(job)
    async with database.transaction() as connection:
        row = (await connection.execute(sa.select(tables.jobs))).mappings().one()
    assert "private" not in str(dict(row))
    assert (await scene.shown(job)).prompt == "a very private film"


# ---------------------------------------------------------------------------------------- failing


@pytest.mark.parametrize(
    ("look", "code", "outcome", "words"),
    [
        (FAILED_FILM, "video_generation_failed", "upstream_bad_reply", "Too dark."),
        (MODERATED, "content_policy_violation", "content_policy_violation", "usage policy"),
        (EXPIRED, "video_generation_failed", "upstream_bad_reply", "gave the film up"),
        (told({}, 404), "video_generation_failed", "upstream_bad_reply", "no longer knows"),
    ],
    ids=["failed", "moderated", "expired", "forgotten"],
)
async def test_a_film_that_fails_costs_nothing(stand, look, code, outcome, words):
    scene = await stand(FilmSeat(PENDING, look))
    job = await scene.order()
    ended = await scene.work(job)
    assert ended.status == FAILED
    shown = await scene.shown(job)
    assert (shown.status, shown.error_code) == ("failed", code)
    assert words in shown.error
    entry = await scene.entry()
    assert (entry.outcome, entry.cost_ticks) == (outcome, 0)
    (attempt,) = await scene.attempts()
    assert attempt.outcome == outcome


async def test_what_an_upstream_bills_for_a_refusal_is_the_operators(stand):
    scene = await stand(FilmSeat(MODERATED | {"usage": {"cost_in_usd_ticks": 99}}))
    await scene.work(await scene.order())
    assert (await scene.entry()).cost_ticks == 0
    (attempt,) = await scene.attempts()
    assert attempt.cost_ticks == 99


async def test_an_upstream_that_is_away_meanwhile_does_no_harm(stand):
    limited = told({"error": "slow down"}, 429)
    scene = await stand(FilmSeat(DOWN, told({}, 503), limited, PENDING, DOWN, DONE))
    ended = await scene.work(await scene.order())
    assert ended.status == COMPLETED
    assert len(scene.seats[0].begun) == 1


async def test_a_film_that_takes_too_long_is_given_up_and_costs_nothing(stand):
    scene = await stand(FilmSeat(PENDING))
    job = await scene.order()
    object.__setattr__(scene.means.limits.deadlines, "total_s", 0.2)
    ended = await scene.work(job)
    assert ended.status == FAILED
    assert (await scene.shown(job)).error_code == "upstream_timeout"
    entry = await scene.entry()
    assert (entry.outcome, entry.cost_ticks) == ("upstream_timeout", 0)


async def test_a_film_that_comes_cut_off_is_fetched_again(stand):
    cut = Reply(script=[FILM[:-9]], content_type="video/mp4")
    whole = Reply(script=[FILM], content_type="video/mp4")
    scene = await stand(FilmSeat(DONE, films=[cut, DOWN, whole]))
    job = await scene.order()
    assert (await scene.work(job)).status == COMPLETED
    assert (await scene.shelf.stats())["video"].count == 1


async def test_a_result_that_is_no_film_fails_the_job(stand):
    page = Reply(script=[b"<html>" + b" " * 99], content_type="video/mp4")
    scene = await stand(FilmSeat(DONE, films=[page]))
    job = await scene.order()
    assert (await scene.work(job)).status == FAILED
    assert "no MP4" in (await scene.shown(job)).error
    assert (await scene.entry()).cost_ticks == 0
    assert (await scene.shelf.stats())["video"].count == 0


async def test_a_film_that_is_too_large_for_the_shelf_fails_at_once(stand):
    seat = FilmSeat(DONE)
    scene = await stand(seat)
    scene.shelf.limits = limits(video=100)
    job = await scene.order()
    assert (await scene.work(job)).status == FAILED
    assert (await scene.shown(job)).error_code == "request_too_large"
    assert sum(one.url.endswith(".mp4") for one in seat.asked) == 1


async def test_an_account_that_was_removed_ends_its_films(stand, monkeypatch):
    monkeypatch.setattr("groxy.gateway.filming._ABSENT_S", 0.1)
    scene = await stand(FilmSeat(PENDING))
    job = await scene.order()
    held = await scene.take(job)
    work = asyncio.get_running_loop().create_task(scene.filming.work(held))
    await scene.seats[0].sent.wait()
    scene.stage.directory.replace([])
    await work
    assert (await scene.shown(job)).error_code == "account_removed"


# -------------------------------------------------------------------------------- dying, going on


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, SAVES + 1))
async def test_killed_at_any_save_the_upstream_is_asked_once_and_the_caller_charged_once(
    stand, database, at, before
):
    seat = FilmSeat(DONE)
    first = await stand(seat)
    job = await first.order()
    dying = DyingStore(database, at, before=before)
    held = await first.take(job, dying)
    with pytest.raises(Killed):
        await first.filming.work(held)

    second = await stand(seat)
    ended = await second.films.find(job.id, OWNER)
    if ended.completed_ms is None:
        ended = await second.work(job)

    was_sent = (at, before) not in {(1, False), (1, True)} or ended.status == COMPLETED
    assert len(seat.begun) == was_sent
    entry = await second.entry()
    is_known_to_be_taken = (at, before) not in {(1, False), (2, True)}
    if is_known_to_be_taken:
        assert ended.status == COMPLETED
        assert (entry.outcome, entry.cost_ticks) == ("ok", 4_200)
        stored = await second.films.content(job.id, OWNER)
        assert await second.shelf.read(stored) == FILM
    else:
        assert ended.status == FAILED
        assert (await second.shown(job)).error_code == "upstream_unknown_outcome"
        assert entry.cost_ticks == 0


async def test_a_film_has_as_many_saves_as_the_test_of_dying_goes_through(stand, database):
    scene = await stand(FilmSeat(DONE))
    store = DyingStore(database)
    await scene.work(await scene.order(), store)
    assert len(store.saves) == SAVES


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", [3, 4])
async def test_killed_while_a_failure_is_noted_the_job_still_fails_once(
    stand, database, at, before
):
    seat = FilmSeat(FAILED_FILM)
    first = await stand(seat)
    job = await first.order()
    held = await first.take(job, DyingStore(database, at, before=before))
    with pytest.raises(Killed):
        await first.filming.work(held)
    second = await stand(seat)
    ended = await second.films.find(job.id, OWNER)
    if ended.completed_ms is None:
        ended = await second.work(job)
    assert ended.status == FAILED
    assert len(seat.begun) == 1
    assert (await second.entry()).outcome == "upstream_bad_reply"


async def test_a_full_shelf_puts_the_job_off_and_harms_nothing(stand, tmp_path):
    seat = FilmSeat(DONE)
    (tmp_path / "full").write_text("no folder")
    scene = await stand(seat, store_url=(tmp_path / "full" / "media").as_uri())
    job = await scene.order()
    held = await scene.take(job)
    with pytest.raises(GroxyError) as raised:
        await scene.filming.work(held)
    assert raised.value.kind is ErrorKind.STORE_DOWN
    assert held.job.status == "fetching"
    assert await scene.entries() == []
    later = await stand(seat)
    assert (await later.work(job)).status == COMPLETED
    assert len(seat.begun) == 1


async def test_a_defect_ends_the_job_when_it_is_given_up(stand):
    scene = await stand(FilmSeat(PENDING))
    job = await scene.order()
    held = await scene.take(job)
    await scene.filming.give_up(held, RuntimeError("secret detail"))
    shown = await scene.shown(job)
    assert (shown.status, shown.error_code) == ("failed", "internal_error")
    assert "secret" not in shown.error
    assert (await scene.entry()).cost_ticks == 0
