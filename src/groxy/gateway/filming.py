"""Filming: what is done for a film job, from the order to the film on the shelf and the bill.

In: a job that the worker holds. Out: the job, ended. Every state is saved before what cannot be
undone, and after it:

    queued ─▶ submitting ─▶ polling ─▶ fetching ─▶ stored ─▶ completed
                  └─────────────┴──────────┴─▶ failing ─▶ failed        cancelled ─▶ (deleted)

A process that dies leaves a job in one of them, and another goes on from there. In `submitting` it
is not known whether the upstream took the job, and might bill it: it is not asked again, and the
job fails and costs its caller nothing. Each order is in the books exactly once, before its end is
told. Must not know a wire format or a caller.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError, facts_of
from groxy.core.media import FilmState, FilmStatus
from groxy.gateway.film_orders import FilmOrders
from groxy.gateway.film_parts import FilmParts
from groxy.gateway.film_upstream import FilmUpstream, account_gone, unknown_outcome
from groxy.gateway.footage import Footage
from groxy.gateway.means import Means
from groxy.gateway.reel import (
    CANCELLED,
    COMPLETED,
    DIALECT,
    FAILED,
    FAILING,
    FETCHING,
    MAX_PROGRESS,
    POLLING,
    QUEUED,
    STORED,
    SUBMITTING,
    Filmed,
    trail_of,
)
from groxy.jobs.worker import Held, LeaseLostError, now_ms
from groxy.ledger.bill import NO_CHARGE, release_of, released, sheet_of
from groxy.ledger.costs import BY_UPSTREAM
from groxy.ledger.trail import OK
from groxy.routing.account import Account
from groxy.store.database import Database
from groxy.store.entries import request_of
from groxy.store.ledger import enter_once

FAILED_UPSTREAM = "video_generation_failed"
"""The contract's code for a film that its upstream could not make."""
_MEDIA_STORE_DOWN = "media_store_unavailable"
_OK_STATUS = 200
_MOST_WAIT_S = 20.0
_MOST_FETCHES = 5
_ABSENT_S = 30.0
"""How long an account that is not there is waited for: it may only just be loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often an upstream is asked how far a film is."""

    first_s: float = 1.0
    growth: float = 1.4
    most_s: float = 10.0

    def next(self, delay_s: float) -> float:
        """Return the pause after one of `delay_s`."""
        return min(delay_s * self.growth, self.most_s)


class Filming:
    """See the module; the handler of jobs of the kind `video`."""

    def __init__(
        self, means: Means, footage: Footage, database: Database, pace: Pace | None = None
    ) -> None:
        self._means = means
        self._footage = footage
        self._database = database
        self._pace = pace or Pace()
        self._upstream = FilmUpstream(means)
        self._orders = FilmOrders(means, self._upstream)
        self._parts = FilmParts(means, self._upstream)

    async def work(self, held: Held) -> None:
        """Go on with a job until it has ended; raises STORE_DOWN, to be tried again."""
        film = Filmed(held)
        steps: dict[str, Callable[[Filmed], Coroutine[Any, Any, None]]] = {
            QUEUED: self._orders.order,
            SUBMITTING: self._doubt,
            POLLING: self._poll,
            FETCHING: self._fetch,
            STORED: self._complete,
            FAILING: self._end_failed,
            CANCELLED: self._end_cancelled,
        }
        while not held.has_ended and not film.is_deleted:
            try:
                await steps[held.job.status](film)
            except GroxyError as error:
                # A shelf that stays full ends the job at last; nothing ends without the books.
                is_shelf = error.code == _MEDIA_STORE_DOWN and self._is_late(film)
                if error.kind is ErrorKind.STORE_DOWN and not is_shelf:
                    raise
                await self._fail(film, error)

    async def give_up(self, held: Held, error: Exception) -> None:
        """End a job that a defect of ours keeps from ending."""
        message = "The gateway made a mistake with this film. Ask for it again."
        failure = GroxyError(ErrorKind.INTERNAL, message, detail=repr(error))
        await self._fail(Filmed(held), failure)
        await self.work(held)

    # ----------------------------------------------------------------------------- waiting for it

    async def _doubt(self, film: Filmed) -> None:
        """A process died while it asked: nobody knows whether the upstream took the job."""
        del film
        raise unknown_outcome(None)

    async def _poll(self, film: Filmed) -> None:
        """Ask how far the film is until it is there."""
        state = await self._state(film)
        film.reel.note_made(state, film.reel.part_s)
        if film.reel.made_s < film.reel.seconds:
            await self._parts.extend(film, state)
        else:
            await film.save(status=FETCHING, progress=MAX_PROGRESS)

    async def _state(self, film: Filmed) -> FilmState:
        """Return the state of a film that is done; raise what it failed with."""
        delay_s = self._pace.first_s
        while True:
            film.check_time(self._means.limits.deadlines.total_s)
            account = self._account(film)
            try:
                state = await self._upstream.state(account, film.held.job.upstream_id)
            except GroxyError as error:
                # The upstream is away, or busy: the film is not worse off for that.
                film.log_failure(self._means.log, account, error)
                if account is not None and error.kind is ErrorKind.UPSTREAM_AUTH:
                    self._means.directory.note_failure(account, error)
                delay_s = max(delay_s, min(error.retry_after_s or 0.0, _MOST_WAIT_S))
            else:
                if state.status is FilmStatus.DONE:
                    return state
                if state.status is FilmStatus.FAILED:
                    raise _failure(film, state)
                progress = film.reel.progress(state)
                if progress > film.held.job.progress:
                    await film.save(progress=progress)
            await asyncio.sleep(delay_s)
            delay_s = self._pace.next(delay_s)

    def _account(self, film: Filmed) -> Account | None:
        """Return the account that has a film; raise NO_ACCOUNT when it stays away."""
        account = self._means.directory.get(film.held.job.account_id)
        if account is None and film.idle_s > _ABSENT_S:
            raise account_gone()
        return account

    # ------------------------------------------------------------------------------ bringing home

    async def _fetch(self, film: Filmed) -> None:
        """Put the film on the shelf. Where it lies is asked anew: such addresses do not last."""
        tries, delay_s = 0, self._pace.first_s
        while True:
            state = await self._state(film)
            account = self._account(film)
            try:
                if account is None:
                    raise account_gone()
                stored = await self._footage.bring_home(
                    state.url,
                    account,
                    owner=film.held.job.owner,
                    silence_s=self._means.limits.deadlines.idle_s,
                )
            except GroxyError as error:
                tries += 1
                is_final = error.kind is ErrorKind.TOO_LARGE or tries >= _MOST_FETCHES
                if error.kind is ErrorKind.STORE_DOWN or is_final:
                    raise
                film.log_failure(self._means.log, account, error)
                await asyncio.sleep(delay_s)
                delay_s = self._pace.next(delay_s)
            else:
                await self._keep(film, stored.id)
                return

    async def _keep(self, film: Filmed, media_id: str) -> None:
        cost_ticks, source = film.reel.cost()
        take = film.reel.take
        if take is not None:
            take.cost_ticks, take.cost_source = cost_ticks, source
        film.reel.end_take(OK, now_ms())
        try:
            await film.save(
                status=STORED, media_id=media_id, cost_ticks=cost_ticks, cost_source=source
            )
        except LeaseLostError:
            # Who has the job now brings it home anew.
            await self._footage.shelf.delete([media_id])
            raise

    # ------------------------------------------------------------------------------------ its end

    async def _complete(self, film: Filmed) -> None:
        await self._enter(film, OK, _OK_STATUS, is_owed=True)
        await film.save(status=COMPLETED, progress=100, completed_ms=now_ms())

    async def _fail(self, film: Filmed, error: GroxyError) -> None:
        """Note why there will be no film; the books come next."""
        job, reel = film.held.job, film.reel
        if job.status == FAILING:
            raise error
        log = self._means.log
        log.info("film failed", job=job.id, outcome=error.kind.value, detail=error.detail)
        reel.error_kind, reel.error_code = error.kind.value, error.code
        reel.end_take(error.kind.value, now_ms())
        if job.status in (POLLING, FETCHING) and self._is_late(film):
            await self._upstream.cancel(self._known(film), job.upstream_id)
        if job.media_id:
            await self._footage.shelf.delete([job.media_id])
        await film.save(status=FAILING, error=error.message, media_id="", cost_ticks=None)

    async def _end_failed(self, film: Filmed) -> None:
        kind = ErrorKind(film.reel.error_kind)
        await self._enter(film, kind.value, facts_of(kind).status, is_owed=False)
        await film.save(status=FAILED, completed_ms=now_ms())

    async def _end_cancelled(self, film: Filmed) -> None:
        """Leave nothing of the job but its line in the books.

        What is made, and what an upstream makes all the same, its caller pays: else films could be
        ordered at the operator's expense, as many as anybody likes.
        """
        job, reel, kind = film.held.job, film.reel, ErrorKind.CANCELLED
        if job.upstream_id and reel.made_s < reel.seconds and not reel.error_kind:
            await self._wind_down(film)
        has_failed = bool(reel.error_kind)
        if reel.take is not None and reel.made_s and not has_failed:
            reel.take.cost_ticks, reel.take.cost_source = reel.cost()
        reel.end_take(kind.value, now_ms())
        is_owed = reel.made_s > 0 and not (has_failed or reel.is_excused)
        await self._enter(film, kind.value, facts_of(kind).status, is_owed=is_owed)
        if job.media_id:
            await self._footage.shelf.delete([job.media_id])
        await film.held.delete()
        film.is_deleted = True

    async def _wind_down(self, film: Filmed) -> None:
        """Find out what becomes of the part that is being made, and note it once and for all."""
        job, reel, account = film.held.job, film.reel, self._known(film)
        state = await self._upstream.state_now(account, job.upstream_id)
        if state is not None and state.status is FilmStatus.DONE:
            reel.note_made(state, reel.part_s)
        elif state is not None and state.status is FilmStatus.FAILED:
            _note_bill(film, state)
            reel.error_kind = ErrorKind.BAD_REPLY.value
        elif account is not None and not await self._upstream.cancel(account, job.upstream_id):
            reel.note_unstopped()
        # Asked again, an upstream would not know any more what it was told to stop.
        await film.save(upstream_id="")

    async def _enter(self, film: Filmed, outcome: str, status: int, *, is_owed: bool) -> None:
        """Enter the order in the books, unless it is there already."""
        job, means = film.held.job, self._means
        trail, reel = trail_of(job, film.reel), film.reel
        if await request_of(self._database, job.request_id) is not None:
            # Either this is the second time, or its order was thought to have failed: a commit that
            # nobody heard of. In both cases what was set aside has to come back, once.
            lines, moves = release_of(trail, reel.hold)
            if lines:
                await means.admission.learn(await enter_once(self._database, lines, moves))
            return
        charge = reel.charge(reel.cost()[0]) if is_owed else NO_CHARGE
        charge = replace(charge, user_id=reel.hold.user_id)
        sheet = sheet_of(trail, charge, outcome=outcome, status=status, is_owed=is_owed)
        balances = await means.journal.submit(released(sheet, trail, reel.hold))
        await means.admission.learn(balances or {})
        if charge.ticks:
            means.admission.count_in(trail.key_id, charge.spends)
        for attempt in trail.attempts:
            means.metrics.attempt_done(
                upstream=attempt.upstream,
                outcome=attempt.outcome,
                usage=attempt.usage,
                cost_ticks=attempt.cost_ticks,
            )
        duration_s = time.perf_counter() - trail.began
        means.metrics.request_done(dialect=DIALECT, outcome=outcome, duration_s=duration_s)
        account = self._known(film)
        if account is not None and reel.take is not None:
            account.tally.cost_ticks += reel.take.cost_ticks
            means.directory.touched.add(account)

    def _known(self, film: Filmed) -> Account | None:
        return self._means.directory.get(film.held.job.account_id)

    def _is_late(self, film: Filmed) -> bool:
        return film.age_s > self._means.limits.deadlines.total_s


def _failure(film: Filmed, state: FilmState) -> GroxyError:
    """Return what a film failed with; what the upstream billed for it is the operator's."""
    _note_bill(film, state)
    if state.is_refused:
        return GroxyError(ErrorKind.REFUSED, state.error, param="prompt")
    return GroxyError(ErrorKind.BAD_REPLY, state.error, code=FAILED_UPSTREAM)


def _note_bill(film: Filmed, state: FilmState) -> None:
    """Note what the upstream billed for a film that failed."""
    take = film.reel.take
    if take is not None and state.cost_ticks:
        take.cost_ticks, take.cost_source = state.cost_ticks, BY_UPSTREAM
