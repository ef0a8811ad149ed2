"""Ordering a film: accounts are asked, one after the other, until one takes the job on.

In: a job in the state `queued`. Out: the same in `polling`, or what its caller is told. What is
about to be asked of whom is saved before, the upstream's id after it. Another account is asked only
while it is certain that none has taken the job. All may be busy: a job can wait, nobody holds the
line.
"""

import asyncio
from contextlib import nullcontext

import msgspec
from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import MediaCall, VideoRequest
from groxy.core.preferences import NONE, Preferences
from groxy.dialects.videos import CARRIERS
from groxy.gateway.film_parts import first_call
from groxy.gateway.film_upstream import (
    UNKNOWN_OUTCOME,
    DoubtError,
    FilmUpstream,
    unknown_outcome,
)
from groxy.gateway.means import Means
from groxy.gateway.reel import POLLING, QUEUED, SUBMITTING, Filmed, Reel, Take
from groxy.gateway.rounds import most_telling, route_of
from groxy.jobs.worker import LeaseLostError, now_ms
from groxy.routing.account import Account
from groxy.routing.router import Candidate, Plan, Wanted
from groxy.wire.json import encode

_LOOK_AGAIN_S = 0.5
_ROOM_S = 5.0
"""While all accounts rest: rests end without anybody saying so."""
_ABSENT_S = 30.0
"""How long no account at all is waited for: they may only just be loaded."""
_MOST_ROUNDS = 3
"""How often accounts are asked again that had no room when asked."""
_LARGE_AT_ONCE = 8
"""Orders with pictures that are on their way at once: each may have tens of megabytes."""
_request_decoder = msgspec.json.Decoder(VideoRequest)


class FilmOrders:
    """Orders films."""

    def __init__(self, means: Means, upstream: FilmUpstream) -> None:
        self._means = means
        self._upstream = upstream
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def order(self, film: Filmed) -> None:
        """Have the film begun by whichever account can."""
        failures: list[GroxyError] = []
        rounds = 0
        while film.held.job.status == QUEUED:
            film.check_time(self._means.limits.deadlines.total_s)
            self._means.journal.require_open()
            plan = await self._plan(film, failures)
            if plan is None:
                continue
            asked = len(failures)
            if await self._loaded_and_followed(film, plan, failures):
                return
            if len(failures) == asked:  # Others were quicker.
                await self._means.directory.room(_LOOK_AGAIN_S)
                continue
            rounds += 1
            are_busy = any(one.kind is ErrorKind.UPSTREAM_LIMITED for one in failures[asked:])
            if not are_busy or rounds >= _MOST_ROUNDS:
                raise most_telling(failures)
            await self._means.directory.room(_LOOK_AGAIN_S)

    async def _plan(self, film: Filmed, failures: list[GroxyError]) -> Plan | None:
        """Return who is to be asked; None when that has to be looked at again."""
        means = self._means
        try:
            plan = means.router.plan(wanted_of(film.reel))
        except GroxyError as error:
            if error.kind not in (ErrorKind.RATE_LIMITED, ErrorKind.NO_ACCOUNT):
                raise
            left_s = means.limits.deadlines.total_s - film.age_s
            if error.kind is ErrorKind.NO_ACCOUNT:
                left_s = min(left_s, _ABSENT_S - film.idle_s)
            others = [one for one in failures if one.kind is not ErrorKind.UPSTREAM_LIMITED]
            if others or left_s <= 0.0 or (error.retry_after_s or 0.0) > left_s:
                raise (most_telling(failures) if failures else error) from None
            await means.directory.room(min(error.retry_after_s or _ROOM_S, _ROOM_S))
            return None
        film.reel.route = route_of(plan, means.router.strategy.value)
        return plan

    async def _loaded_and_followed(
        self, film: Filmed, plan: Plan, failures: list[GroxyError]
    ) -> bool:
        """Ask the candidates of a plan. What was ordered is in memory only meanwhile."""
        async with self._large if film.reel.references else nullcontext():
            request = _request_decoder.decode(await film.held.request())
            return await self._follow(film, plan, request, failures)

    async def _follow(
        self, film: Filmed, plan: Plan, request: VideoRequest, failures: list[GroxyError]
    ) -> bool:
        """Ask the candidates of a plan; return whether one took the job on.

        Raises a failure after which nobody else may be asked.
        """
        rotation = self._means.limits.rotation
        for candidate in plan.candidates:
            takes = len(film.reel.takes)
            try:
                if await self._ask(film, candidate, request):
                    return True
            except GroxyError as error:
                was_asked = len(film.reel.takes) > takes
                status = film.reel.takes[-1].status if was_asked else 0
                is_final = error.code == UNKNOWN_OUTCOME or error.kind is ErrorKind.STORE_DOWN
                if is_final or not rotation.may_try_another(error, status):
                    raise
                failures.append(error)
                await asyncio.sleep(rotation.pause_s(error, len(failures)))
        return False

    async def _ask(self, film: Filmed, candidate: Candidate, request: VideoRequest) -> bool:
        """Ask one account; False when there is no room for it there.

        Raises why it certainly did not take the job, or that this is not known.
        """
        account, directory = candidate.account, self._means.directory
        call, part_s = first_call(
            account.upstream, request, candidate.model_sent, candidate.target.facts
        )
        if not directory.begin(account, candidate.model_sent, candidate.target.mode, 0):
            return False
        try:
            take = film.reel.begin_take(
                upstream=account.upstream.name,
                account_id=account.id,
                model_sent=candidate.model_sent,
                at_ms=now_ms(),
            )
            film.reel.part_s = part_s
            model = candidate.target.model
            if film.reel.second_ticks is None:  # The price list did not know it by the name asked.
                film.reel.note_price(model.media_price if model is not None else None)
            with film.held.unbroken():
                await film.save(status=SUBMITTING, account_id=account.id)
                upstream_id = await self._begun(film, candidate, call, take)
                await self._note_taken(film, account, upstream_id, request)
        finally:
            directory.end(account, 0)
            directory.touched.add(account)
        return True

    async def _begun(self, film: Filmed, candidate: Candidate, call: MediaCall, take: Take) -> str:
        """Send the order; return the upstream's id, or save that it was not taken."""
        account, directory = candidate.account, self._means.directory
        try:
            upstream_id = await self._upstream.begin(candidate, call, take)
        except DoubtError as doubt:
            self._note_failure(film, candidate, doubt.error)
            raise unknown_outcome(doubt.error) from None
        except GroxyError as error:
            self._note_failure(film, candidate, error)
            await film.save(status=QUEUED)
            raise
        take.taken_ms = now_ms()
        directory.note_success(account, candidate.model_sent)
        return upstream_id

    def _note_failure(self, film: Filmed, candidate: Candidate, error: GroxyError) -> None:
        self._means.directory.note_failure(candidate.account, error, candidate.model_sent)
        film.reel.end_take(error.kind.value, now_ms())
        film.log_failure(self._means.log, candidate.account, error)

    async def _note_taken(
        self, film: Filmed, account: Account, upstream_id: str, request: VideoRequest
    ) -> None:
        try:
            await film.save(
                status=POLLING,
                upstream_id=upstream_id,
                progress=1,
                request=encode(replace(request, images=())),
            )
        except LeaseLostError:
            # It was cancelled meanwhile, or this process was thought dead.
            await self._upstream.cancel(account, upstream_id)
            raise


def wanted_of(reel: Reel) -> Wanted:
    """Return what a film wants of routing."""
    tags = reel.prefer_tags
    wished = Preferences(prefer_tags=tags) if tags else NONE
    return Wanted(model=reel.model, carriers=CARRIERS, preferences=wished)
