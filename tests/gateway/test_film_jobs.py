"""Film jobs as their callers see them, and films for those who wait."""

import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import VideoRequest
from groxy.core.money import TICKS_PER_USD
from groxy.gateway import film_jobs
from groxy.gateway.films import Film, FilmProgress
from groxy.gateway.recording import Recording
from groxy.gateway.reel import CANCELLED, Filmed
from groxy.jobs.worker import now_ms
from tests.gateway.film_set import (
    DONE,
    FILM,
    MODEL,
    OWNER,
    PENDING,
    FilmSeat,
    stoppable,
    told,
)
from tests.gateway.stage import Reply

PRICE = 6 * 7 * TICKS_PER_USD // 100
"""Of six seconds in 720p, by the catalog: 7 cents a second."""
FAILED_FILM = {"status": "failed", "error": {"code": "internal_error", "message": "Too dark."}}
REFUSED_FILM = {"status": "done", "video": {"url": "/x.mp4", "respect_moderation": False}}


async def kind_of(work, kind, code=""):
    with pytest.raises(GroxyError) as raised:
        await work
    assert raised.value.kind is kind
    assert not code or raised.value.code == code


async def test_another_owner_learns_nothing_of_a_job(stand):
    scene = await stand(FilmSeat(DONE))
    job = await scene.order()
    await scene.work(job)
    for ask in (scene.films.find, scene.films.content, scene.films.remove):
        await kind_of(ask(job.id, "key-2"), ErrorKind.NOT_FOUND, "video_not_found")
    assert (await scene.films.listed("key-2", after="", limit=9, newest_first=True))[0] == []
    assert (await scene.shown(job)).status == "completed"


async def test_jobs_are_listed_a_page_at_a_time_in_both_orders(stand):
    scene = await stand(FilmSeat())
    made = [(await scene.order(prompt=f"film {number}")).id for number in range(3)]

    async def page(after="", limit=2, newest_first=True):
        jobs, has_more = await scene.films.listed(
            OWNER, after=after, limit=limit, newest_first=newest_first
        )
        return [job.id for job in jobs], has_more

    first, has_more = await page()
    assert has_more
    rest, has_more = await page(after=first[-1])
    assert not has_more
    assert sorted(first + rest) == sorted(made)
    upwards, _ = await page(limit=9, newest_first=False)
    assert upwards == list(reversed(first + rest))
    await kind_of(page(after="video_nowhere"), ErrorKind.BAD_REQUEST)


async def test_there_is_nothing_to_download_before_the_end_or_after_a_failure(stand):
    scene = await stand(FilmSeat(FAILED_FILM))
    job = await scene.order()
    await kind_of(scene.films.content(job.id, OWNER), ErrorKind.CONFLICT, "video_not_ready")
    await scene.work(job)
    await kind_of(scene.films.content(job.id, OWNER), ErrorKind.CONFLICT, "video_not_ready")


async def test_a_film_that_made_room_for_others_is_told_to_be_gone(stand):
    scene = await stand(FilmSeat(DONE))
    job = await scene.order()
    ended = await scene.work(job)
    await scene.shelf.delete([ended.media_id])
    await kind_of(scene.films.content(job.id, OWNER), ErrorKind.NOT_FOUND, "file_not_found")
    assert (await scene.shown(job)).url == ""


async def test_a_job_that_has_ended_is_removed_with_its_film(stand):
    scene = await stand(FilmSeat(DONE))
    job = await scene.order()
    await scene.work(job)
    await scene.films.remove(job.id, OWNER)
    await kind_of(scene.films.find(job.id, OWNER), ErrorKind.NOT_FOUND)
    assert (await scene.shelf.stats())["video"].count == 0
    assert (await scene.entry()).cost_ticks == 4_200, "what was made is owed"


async def begun(scene, **changes):
    """Return a job that an upstream has, and nobody here works on."""
    job = await scene.order()
    film = Filmed(await scene.take(job))
    film.reel.part_s = 6
    film.reel.begin_take(
        upstream="xai", account_id="seat-0", model_sent=MODEL, at_ms=now_ms()
    ).taken_ms = now_ms()
    film.reel.error_kind = changes.pop("error_kind", "")
    film.reel.made_s = changes.pop("made_s", 0)
    usual = {"status": "polling", "upstream_id": "film-1", "account_id": "seat-0"}
    await film.save(**(usual | changes))
    return job


@pytest.mark.parametrize(
    ("look", "stops", "cost_ticks"),
    [
        (PENDING, 200, 0),
        (PENDING, 404, PRICE),
        (PENDING, 500, PRICE),
        (told({}, 500), 404, PRICE),
        (DONE, 200, 4_200),
        (FAILED_FILM, 404, 0),
        (told({"error": "gone"}, 404), 404, 0),
    ],
    ids=["stopped", "not stopped", "not told", "away", "made", "failed", "unknown"],
)
async def test_what_a_cancelled_film_costs_is_what_its_upstream_makes_of_it(
    stand, monkeypatch, look, stops, cost_ticks
):
    stoppable(monkeypatch)
    scene = await stand(FilmSeat(look, stops=told({}, stops)))
    job = await begun(scene)
    await scene.films.remove(job.id, OWNER)
    await kind_of(scene.films.find(job.id, OWNER), ErrorKind.NOT_FOUND)
    entry = await scene.entry()
    assert (entry.outcome, entry.cost_ticks) == ("client_disconnected", cost_ticks)
    assert scene.stage.directory.accounts[0].tally.cost_ticks == cost_ticks


async def test_an_upstream_that_cannot_be_told_to_stop_is_paid_for(stand):
    scene = await stand(FilmSeat(PENDING))
    job = await begun(scene)
    await scene.films.remove(job.id, OWNER)
    assert (await scene.entry()).cost_ticks == PRICE


async def test_a_film_that_has_failed_costs_nothing_though_it_is_cancelled_then(stand):
    seat = FilmSeat(PENDING)
    scene = await stand(seat)
    job = await begun(scene, status="failing", error_kind=ErrorKind.BAD_REPLY.value)
    await scene.films.remove(job.id, OWNER)
    assert (await scene.entry()).cost_ticks == 0
    assert seat.asked == []


async def test_an_upstream_is_told_once_to_stop_however_often_the_books_are_away(
    stand, monkeypatch
):
    stoppable(monkeypatch)
    seat = FilmSeat(PENDING, stops=told({}, 200))
    scene = await stand(seat)
    job = await begun(scene)
    held = await scene.take(job)
    await held.save(status=CANCELLED)
    enter, tries = scene.filming._enter, []

    async def away_at_first(*given, **more):
        tries.append(1)
        if len(tries) == 1:
            raise GroxyError(ErrorKind.STORE_DOWN, "Away.")
        await enter(*given, **more)

    monkeypatch.setattr(scene.filming, "_enter", away_at_first)
    await kind_of(scene.filming.work(held), ErrorKind.STORE_DOWN)
    seat.stops = told({}, 404)
    await scene.filming.work(await scene.take(job))
    assert (await scene.entry()).cost_ticks == 0
    assert [one.method for one in seat.asked] == ["GET", "DELETE"]


async def test_a_film_that_is_cancelled_while_it_is_ordered_is_paid_for_as_it_is_made(stand):
    slow = Reply(script=[0.5, b'{"request_id":"film-1"}'], content_type="application/json")
    seat = FilmSeat(PENDING, orders=[slow])
    scene = await stand(seat)
    async with scene.working():
        job = await scene.order()
        await seat.sent.wait()
        await scene.films.remove(job.id, OWNER)
    assert (await scene.entry()).cost_ticks == PRICE


async def test_a_film_whose_order_takes_very_long_cannot_be_cancelled_yet(stand, monkeypatch):
    monkeypatch.setattr(film_jobs, "_MOST_ORDERING_S", 0.2)
    slow = Reply(script=[1.5, b'{"request_id":"film-1"}'], content_type="application/json")
    seat = FilmSeat(PENDING, orders=[slow])
    scene = await stand(seat)
    async with scene.working():
        job = await scene.order()
        await seat.sent.wait()
        await kind_of(scene.films.remove(job.id, OWNER), ErrorKind.CONFLICT, "video_being_ordered")
        await scene.films.remove(job.id, OWNER, is_excused=True)
    assert (await scene.entry()).cost_ticks == 0


async def test_of_two_who_cancel_a_film_one_tells_the_upstream(stand, monkeypatch):
    stoppable(monkeypatch)
    seat = FilmSeat(PENDING, stops=told({}, 200))
    scene = await stand(seat)
    job = await begun(scene)
    ends = await asyncio.gather(
        *(scene.films.remove(job.id, OWNER) for _ in range(3)), return_exceptions=True
    )
    assert None in ends
    assert {end.kind for end in ends if isinstance(end, GroxyError)} <= {ErrorKind.NOT_FOUND}
    assert [one.method for one in seat.asked].count("DELETE") == 1
    assert (await scene.entry()).cost_ticks == 0


async def test_a_film_that_is_there_when_the_gateway_gives_it_up_stays(stand):
    scene = await stand(FilmSeat(DONE))
    job = await scene.order()
    await scene.work(job)
    await scene.films.remove(job.id, OWNER, is_excused=True)
    assert (await scene.shown(job)).status == "completed"


async def test_a_film_whose_second_part_failed_costs_nothing_though_it_is_cancelled_then(stand):
    scene = await stand(FilmSeat(FAILED_FILM))
    job = await begun(scene, made_s=3)
    await scene.films.remove(job.id, OWNER)
    assert (await scene.entry()).cost_ticks == 0


async def test_what_was_made_of_a_film_in_parts_is_owed_though_it_is_cancelled(stand, monkeypatch):
    stoppable(monkeypatch)
    seat = FilmSeat(DONE)
    seat.of["film-2"] = PENDING
    scene = await stand(seat)
    async with scene.working():
        job = await scene.order(seconds=20)
        while len(seat.begun) < 2 or (await scene.films.find(job.id, OWNER)).status != "polling":
            await asyncio.sleep(0.01)
        await scene.films.remove(job.id, OWNER)
    assert (await scene.entry()).cost_ticks == 4_200


async def test_a_job_that_nobody_has_begun_is_cancelled_without_asking_anybody(stand):
    seat = FilmSeat()
    scene = await stand(seat)
    job = await scene.order()
    await scene.films.remove(job.id, OWNER)
    assert seat.asked == []
    assert (await scene.entry()).attempts == 0


async def test_a_cancellation_goes_on_when_its_process_dies(stand):
    scene = await stand(FilmSeat())
    job = await scene.order()
    held = await scene.take(job)
    await held.save(status=CANCELLED)
    await scene.jobs.release([job.id], held.holder)
    await kind_of(scene.films.find(job.id, OWNER), ErrorKind.NOT_FOUND)
    async with scene.working(), asyncio.timeout(10):
        while await scene.jobs.find(job.id, OWNER) is not None:
            await asyncio.sleep(0.01)
    assert (await scene.entry()).outcome == "client_disconnected"


async def test_what_is_wrong_with_an_order_is_in_the_books(stand):
    scene = await stand(FilmSeat())
    await kind_of(scene.order(model="grok-4.3"), ErrorKind.BAD_REQUEST)
    entry = await scene.entry()
    assert (entry.dialect, entry.outcome, entry.model_asked) == (
        "videos",
        "invalid_value",
        "grok-4.3",
    )
    assert (await scene.films.listed(OWNER, after="", limit=9, newest_first=True))[0] == []


async def test_a_film_that_nobody_can_make_is_refused_before_there_is_a_job(stand):
    scene = await stand()
    with pytest.raises(GroxyError):
        await scene.order()
    assert (await scene.films.listed(OWNER, after="", limit=9, newest_first=True))[0] == []


# ------------------------------------------------------------------------------------- waiting


def wish(**fields):
    return VideoRequest(**({"model": MODEL, "prompt": "a cat"} | fields))


def following(scene, *, has_left=True):
    return scene.films.film(scene.call(), wish(), has_left=lambda: has_left)


async def test_who_waits_is_told_how_far_the_film_is_and_gets_it(stand):
    looks = [{"status": "pending", "progress": number} for number in (10, 40, 40, 80)]
    scene = await stand(FilmSeat(*looks, DONE))
    scene.films.follow_s = 0.001
    async with scene.working(), asyncio.timeout(20):
        steps = [step async for step in following(scene)]
    *told_of, film = steps
    assert isinstance(film, Film)
    assert await scene.shelf.read(film.stored) == FILM
    assert (film.cost_ticks, film.duration_s) == (4_200, 6.0)
    percents = [step.percent for step in told_of if isinstance(step, FilmProgress)]
    assert percents == sorted(set(percents))
    begun = scene.seats[0].begun[0]
    assert (begun["aspect_ratio"], begun["resolution"]) == ("9:16", "720p")
    assert (await scene.entry()).outcome == "ok"


@pytest.mark.parametrize(
    ("look", "kind", "code"),
    [
        (FAILED_FILM, ErrorKind.BAD_REPLY, "video_generation_failed"),
        (REFUSED_FILM, ErrorKind.REFUSED, "content_policy_violation"),
    ],
)
async def test_who_waits_is_told_why_there_is_no_film(stand, look, kind, code):
    scene = await stand(FilmSeat(look))

    async def follow():
        async for _ in following(scene):
            pass

    async with scene.working(), asyncio.timeout(20):
        await kind_of(follow(), kind, code)
    assert (await scene.entry()).cost_ticks == 0


async def test_who_waits_no_longer_cancels_the_film(stand):
    seat = FilmSeat(PENDING)
    scene = await stand(seat)
    async with scene.working():
        steps = following(scene)
        await anext(steps)
        await seat.sent.wait()
        await steps.aclose()
        assert (await scene.films.listed(OWNER, after="", limit=9, newest_first=True))[0] == []
        while scene.worker.count:
            await asyncio.sleep(0.01)
    entry = await scene.entry()
    assert (entry.outcome, entry.cost_ticks) == ("client_disconnected", PRICE)


async def test_a_disconnect_while_nothing_is_told_cancels_the_film_too(stand):
    seat = FilmSeat(PENDING)
    scene = await stand(seat)
    async with scene.working():

        async def follow():
            async for _ in following(scene):
                pass

        waiting = asyncio.get_running_loop().create_task(follow())
        await seat.sent.wait()
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert (await scene.entry()).outcome == "client_disconnected"


async def test_a_film_that_the_gateway_gives_up_costs_its_caller_nothing(stand):
    seat = FilmSeat(PENDING)
    scene = await stand(seat)
    async with scene.working():
        steps = following(scene, has_left=False)
        await anext(steps)
        await seat.sent.wait()
        await steps.aclose()
    entry = await scene.entry()
    assert (entry.outcome, entry.cost_ticks) == ("client_disconnected", 0)
    assert (await scene.attempts())[0].cost_ticks == PRICE, "the upstream makes it all the same"


async def test_jobs_are_forgotten_when_their_films_are(stand):
    scene = await stand(FilmSeat())
    job = await scene.order()
    assert job.expires_ms - job.created_ms == 30 * 86_400_000
    assert (await scene.shown(job)).expires_s == job.expires_ms // 1000
    scene.shelf.limits = type(scene.shelf.limits)(
        max_total_bytes=scene.shelf.limits.max_total_bytes,
        max_bytes=scene.shelf.limits.max_bytes,
        keep_days=0,
    )
    lasting = await scene.order()
    assert lasting.expires_ms > now_ms() + 10 * 365 * 86_400_000
    assert (await scene.shown(lasting)).expires_s is None


async def test_two_hundred_jobs_at_once_are_each_made_once(stand):
    seat = FilmSeat(PENDING, DONE)
    scene = await stand(seat)
    async with scene.working():
        jobs = [await scene.order(prompt=f"film {number}") for number in range(200)]
        ended = await scene.until_over(*jobs, within_s=60.0)
    assert {job.status for job in ended} == {"completed"}
    assert len({one["prompt"] for one in seat.begun}) == len(seat.begun) == 200
    entries = await scene.entries()
    assert len(entries) == 200
    assert {entry.cost_ticks for entry in entries} == {4_200}


async def test_an_order_that_is_sent_again_finds_its_job_unless_that_failed(stand):
    scene = await stand(FilmSeat(FAILED_FILM))

    def call():
        recording = Recording("replay_1", owner=OWNER, request_id="req_1", fingerprint=b"f")
        return scene.call(recording=recording)

    first = await scene.order(call=call())
    assert (await scene.order(call=call())).id == first.id
    ended = await scene.work(first)
    assert ended.status == "failed"
    second = await scene.order(call=call())
    assert second.id != first.id
    assert (await scene.order(call=call())).id == second.id
