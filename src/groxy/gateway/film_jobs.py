"""Film jobs as their callers see them: ordered, looked at, listed, fetched and removed.

In: an order, or an owner and the id of a job. Out: the job, and how it is shown. An order is
checked as far as it can be before the job is there, so that what cannot be made is refused at once.
Nobody learns of another's job. What is done for a job is in `filming`.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import VideoRequest
from groxy.core.sizes import film_size_for, read_film_size
from groxy.dialects.videos import USUAL_SIZE, FilmAsked, FilmShown, Status
from groxy.gateway.film_orders import wanted_of
from groxy.gateway.film_parts import first_call
from groxy.gateway.filming import Filming
from groxy.gateway.films import Film, FilmProgress
from groxy.gateway.means import Call, Means
from groxy.gateway.recording import Recording
from groxy.gateway.reel import (
    CANCELLED,
    COMPLETED,
    DIALECT,
    FAILED,
    KIND,
    QUEUED,
    SUBMITTING,
    Filmed,
    Reel,
    read_reel,
    write_reel,
)
from groxy.gateway.rounds import most_telling
from groxy.gateway.settling import settle
from groxy.gateway.tab import Tab
from groxy.jobs.worker import Held, LeaseLostError, Worker, now_ms
from groxy.ledger.bill import NO_CHARGE, hold_of
from groxy.ledger.trail import Trail
from groxy.media.shelf import Shelf
from groxy.store.jobs import Job, JobStore
from groxy.store.media import Stored
from groxy.wire.json import encode

_DAY_MS = 86_400_000
_FOR_EVER_MS = 100 * 365 * _DAY_MS
_FOLLOW_S = 0.5
"""How often somebody who waits for a film looks at it; its worker may be in another process."""
_LOOK_AGAIN_S = 0.1
"""At an order on its way to the upstream: most are there within a second."""
_MOST_ORDERING_S = 30.0
_ORDERING = "video_being_ordered"
_KNOWN_PROMPTS = 256
_GONE = "There is no such video: it was never ordered, was deleted or has expired."
_request_decoder = msgspec.json.Decoder(VideoRequest)

Read = Callable[[], Coroutine[Any, Any, FilmAsked]]
"""Reads an order; what it raises is the answer, and in the books like any failure."""


class FilmJobs:
    """See the module; also makes films for requests that wait for them (`films.Filmer`)."""

    def __init__(
        self, means: Means, jobs: JobStore, worker: Worker, filming: Filming, shelf: Shelf
    ) -> None:
        self.shelf = shelf
        self.follow_s = _FOLLOW_S
        self._means = means
        self._jobs = jobs
        self._worker = worker
        self._filming = filming
        self._prompts: dict[str, str] = {}
        """Of jobs that were asked about lately."""

    # ------------------------------------------------------------------------------------ ordering

    async def order(self, call: Call, read: Read) -> Job:
        """Take an order; its job is durable when this returns.

        Raises what is wrong with it; then that is in the books, and there is no job.
        """
        trail = Trail(
            request_id=call.request_id,
            key_id=call.caller.key_id,
            dialect=DIALECT,
            app_title=call.app_title,
            app_url=call.app_url,
        )
        tab, job_id = Tab(self._means, call.caller, trail), f"video_{secrets.token_hex(16)}"
        if call.recording is not None:
            job_id, job = await self._ordered_before(call.recording, call.caller.key_id)
            if job is not None:
                return job
        try:
            # Nothing is begun that could not be entered in the books.
            self._means.journal.require_open()
            asked = await read()
            trail.model_asked = asked.request.model
            return await self._create(call, asked, tab, job_id)
        except GroxyError as error:
            told = await settle(self._means, tab, error, recording=call.recording)
            raise told or error from None

    async def _ordered_before(self, recording: Recording, owner: str) -> tuple[str, Job | None]:
        """Return the id of the job that a request which can be sent again orders.

        With the job, if it is there: then a process died before it could tell its caller.
        """
        number = 0
        while True:
            seed = f"{recording.name}\0{recording.fingerprint.hex()}\0{number}".encode()
            job_id = "video_" + hashlib.sha256(seed).hexdigest()[:32]
            job = await self._jobs.find(job_id, owner)
            if job is None or job.status not in (CANCELLED, FAILED):
                return job_id, job
            number += 1

    async def _create(self, call: Call, asked: FilmAsked, tab: Tab, job_id: str) -> Job:
        request, at_ms = asked.request, now_ms()
        reel = Reel(
            model=request.model,
            seconds=request.duration_s,
            size=asked.size,
            resolution=request.resolution,
            references=len(request.images),
            form=asked.form,
            prefer_tags=call.prefer_tags,
            app_title=call.app_title,
            app_url=call.app_url,
        )
        self._check(reel, request)
        await tab.open_for_film(request)
        reel.note_price(tab.media_price(self._means.router.base_name(request.model)))
        reel.price_version, reel.plan, reel.hold = tab.trail.price_version, tab.plan, tab.hold
        days = self.shelf.limits.keep_days
        job = Job(
            id=job_id,
            kind=KIND,
            owner=call.caller.key_id,
            status=QUEUED,
            state=write_reel(reel),
            created_ms=at_ms,
            updated_ms=at_ms,
            expires_ms=at_ms + (days * _DAY_MS if days else _FOR_EVER_MS),
            request_id=call.request_id,
        )
        # From here on the books hold what it may cost, also when this process dies.
        entries, moves = hold_of(tab.trail, reel.hold)
        balances = await self._jobs.create(job, encode(request), entries, moves)
        await tab.settle(NO_CHARGE, balances, is_owed=False)
        self._remember(job.id, request.prompt)
        self._worker.wake()
        return job

    def _check(self, reel: Reel, request: VideoRequest) -> None:
        """Raise what keeps every account from making such a film."""
        try:
            plan = self._means.router.plan(wanted_of(reel))
        except GroxyError as error:
            if error.kind is ErrorKind.RATE_LIMITED:
                return  # A job can wait until somebody is free.
            raise
        failures: list[GroxyError] = []
        for candidate in plan.candidates:
            upstream = candidate.account.upstream
            try:
                first_call(upstream, request, candidate.model_sent, candidate.target.facts)
            except GroxyError as error:
                failures.append(error)
            else:
                return
        raise most_telling(failures)

    # ------------------------------------------------------------------------------------- looking

    async def find(self, job_id: str, owner: str) -> Job:
        """Return a job; raise NOT_FOUND for every other, and for another's."""
        job = await self._jobs.find(job_id, owner)
        if job is None or job.kind != KIND or job.status == CANCELLED:
            raise _no_such_job()
        return job

    async def listed(
        self, owner: str, *, after: str, limit: int, newest_first: bool
    ) -> tuple[list[Job], bool]:
        """Return jobs of an owner, and whether there are more; raise BAD_REQUEST for `after`."""
        found = await self._jobs.of_owner(
            owner, kind=KIND, after=after, limit=limit + 1, newest_first=newest_first
        )
        if found is None:
            message = "`after` names no video of yours."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="after")
        shown = [job for job in found[:limit] if job.status != CANCELLED]
        return shown, len(found) > limit

    async def stored(self, job: Job) -> Stored | None:
        """Return the film of a job, if it is there (yet, and still)."""
        if job.status != COMPLETED or not job.media_id:
            return None
        return await self.shelf.find(job.media_id, "video")

    async def content(self, job_id: str, owner: str) -> Stored:
        """Return the film of a job; raise CONFLICT as long as there is none, NOT_FOUND after."""
        job = await self.find(job_id, owner)
        if job.status != COMPLETED:
            is_over = job.status == FAILED
            message = (
                "This video failed, so there is nothing to download. See its `error`."
                if is_over
                else "This video is not ready yet. Ask for it until its `status` is `completed`."
            )
            raise GroxyError(ErrorKind.CONFLICT, message, code="video_not_ready")
        stored = await self.stored(job)
        if stored is None:
            message = "The video is no longer stored: it was deleted, or made room for newer ones."
            raise GroxyError(ErrorKind.NOT_FOUND, message, code="file_not_found")
        return stored

    async def shown(self, job: Job, link_of: Callable[[Stored], str]) -> FilmShown:
        """Return a job as its owner is told of it; raise NOT_FOUND when it is gone by now."""
        reel = read_reel(job.state)
        prompt = await self._prompt(job)
        stored = await self.stored(job)
        is_lasting = job.expires_ms - job.created_ms >= _FOR_EVER_MS
        return FilmShown(
            id=job.id,
            model=reel.model,
            status=_status_of(job),
            progress=job.progress,
            prompt=prompt,
            seconds=reel.seconds,
            size=reel.size,
            created_s=job.created_ms // 1000,
            completed_s=job.completed_ms // 1000 if job.completed_ms is not None else None,
            expires_s=None if is_lasting else job.expires_ms // 1000,
            url=link_of(stored) if stored is not None else "",
            cost_ticks=None if job.cost_ticks is None else reel.shown_ticks(job.cost_ticks),
            error_code=reel.error_code if job.status == FAILED else "",
            error=job.error if job.status == FAILED else "",
        )

    async def _prompt(self, job: Job) -> str:
        """Return the prompt of a job. Its order may have megabytes, and is read once for many."""
        prompt = self._prompts.get(job.id)
        if prompt is None:
            request = _request_decoder.decode(await self._jobs.request(job))
            prompt = self._remember(job.id, request.prompt)
        return prompt

    def _remember(self, job_id: str, prompt: str) -> str:
        while len(self._prompts) >= _KNOWN_PROMPTS:
            del self._prompts[next(iter(self._prompts))]
        self._prompts[job_id] = prompt
        return prompt

    # ------------------------------------------------------------------------------------ removing

    async def remove(self, job_id: str, owner: str, *, is_excused: bool = False) -> None:
        """Cancel a job that is under way, and remove it with its film; raise NOT_FOUND.

        With `is_excused` the caller owes nothing, whatever the upstream makes of it; a film that is
        there by now is theirs, and stays. Raises CONFLICT for one whose order takes very long.
        """
        held = await self._taken_over(job_id, owner, is_excused=is_excused)
        if held is not None:
            film = Filmed(held)
            film.reel.is_excused = is_excused
            with suppress(LeaseLostError):  # Then somebody else cancels it.
                await film.save(status=CANCELLED)
                # If this process dies here, the worker of another one goes on with it.
                await self._filming.work(held)
        elif not is_excused:
            job = await self.find(job_id, owner)
            if job.media_id:
                await self.shelf.delete([job.media_id])
            await self._jobs.delete(job_id, owner)

    async def _taken_over(self, job_id: str, owner: str, *, is_excused: bool) -> Held | None:
        """Return a job that is under way, to be cancelled; None for one that has ended.

        One that is just being ordered is waited for: only who orders it learns what the upstream
        calls it, and taken over meanwhile it would be made, and nobody pay for it.
        """
        busy = (CANCELLED,) if is_excused else (CANCELLED, SUBMITTING)
        ends_at = time.monotonic() + _MOST_ORDERING_S
        while (await self.find(job_id, owner)).completed_ms is None:
            held = await self._worker.take_over(job_id, owner, unless=busy)
            if held is not None:
                return held
            if time.monotonic() > ends_at:
                message = "The upstream is just being asked for this video. Try again in 5 s."
                raise GroxyError(ErrorKind.CONFLICT, message, code=_ORDERING, retry_after_s=5)
            await asyncio.sleep(_LOOK_AGAIN_S)
        return None

    # ------------------------------------------------------------------------------------- waiting

    async def film(
        self, call: Call, request: VideoRequest, *, has_left: Callable[[], bool]
    ) -> AsyncGenerator[FilmProgress | Film, None]:
        """Make a film for somebody who waits for it; see `films.Filmer`."""

        async def read() -> FilmAsked:
            return _asked(request)

        job = await self._ordered(call, read, has_left)
        percent, is_over = -1, False
        try:
            while True:
                job = await self._now(job)
                if job.completed_ms is not None:
                    is_over = True
                    break
                if job.progress > percent:
                    percent = job.progress
                    yield FilmProgress(percent=percent)
                await asyncio.sleep(self.follow_s)
        finally:
            if not is_over:
                await asyncio.shield(self._give_up(job, has_left))
        yield await self._made(job)

    async def _ordered(self, call: Call, read: Read, has_left: Callable[[], bool]) -> Job:
        """Order a film. Who leaves meanwhile leaves no order behind of which half is done."""
        # Waited for here, whatever happens: cut off it would hold money and a place for ever.
        ordering = asyncio.get_running_loop().create_task(self.order(call, read))
        try:
            return await asyncio.shield(ordering)
        except asyncio.CancelledError:
            with suppress(GroxyError):
                await self._give_up(await ordering, has_left)
            raise

    async def _now(self, job: Job) -> Job:
        """Return a job as it is now, or as it was if the database is away."""
        try:
            return await self.find(job.id, job.owner)
        except GroxyError as error:
            if error.kind is not ErrorKind.STORE_DOWN:
                raise
            return job

    async def _give_up(self, job: Job, has_left: Callable[[], bool]) -> None:
        with suppress(GroxyError):
            await self.remove(job.id, job.owner, is_excused=not has_left())

    async def _made(self, job: Job) -> Film:
        reel = read_reel(job.state)
        if job.status == FAILED:
            kind = ErrorKind(reel.error_kind)
            raise GroxyError(kind, job.error, code=reel.error_code)
        stored = await self.stored(job)
        if stored is None:
            raise _no_such_job()
        return Film(
            stored=stored,
            duration_s=float(reel.seconds),
            cost_ticks=reel.shown_ticks(job.cost_ticks or 0),
        )


def _asked(request: VideoRequest) -> FilmAsked:
    """Return what a chat asks for, with the contract's usual size where it names none."""
    if not request.aspect_ratio and not request.images:
        ratio, resolution = read_film_size(USUAL_SIZE)
        resolution = request.resolution or resolution
        request = replace(request, aspect_ratio=ratio, resolution=resolution)
    size = film_size_for(request.aspect_ratio, request.resolution)
    return FilmAsked(request=request, size=size)


def _status_of(job: Job) -> Status:
    match job.status:
        case "queued" | "submitting":
            return "queued"
        case "completed":
            return "completed"
        case "failed":
            return "failed"
        case _:
            return "in_progress"


def _no_such_job() -> GroxyError:
    return GroxyError(ErrorKind.NOT_FOUND, _GONE, param="video_id", code="video_not_found")
