"""Rounds: the candidates for a request are asked in their order, until one serves.

In: what is wanted of routing, and how one candidate is asked. Out: what the one that served gave;
or the failure that tells the caller most. A request waits a little for an account to become free;
after a failure another account may be asked (`rotation`), for as long as the caller's side allows.
What is asked for is not known here: `attempts` asks for text, `turns` for media.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.means import Means
from groxy.gateway.vigil import Vigil
from groxy.ledger.trail import Attempt, Route, RouteCandidate, Trail
from groxy.routing.account import Account
from groxy.routing.router import Candidate, Plan, Wanted
from groxy.routing.secrecy import conceal
from groxy.upstreams._base import ErrorReply
from groxy.wire.http import Reply

_LOOK_AGAIN_S = 0.25
"""While waiting for room: rests end without anybody saying so."""
_MAX_ERROR_BYTES = 64 * 1024

T = TypeVar("T")
Ask = Callable[[Candidate, list[Candidate]], Coroutine[Any, Any, T]]
"""Asks one candidate. May ask those after it as well, and takes these out of the list.

Raises `NoRoomError` when the account has become too busy, having asked nobody.
"""


class NoRoomError(Exception):
    """The account took its last request while this one was on its way."""


class Rounds:
    """Has one request served."""

    def __init__(self, means: Means, trail: Trail, vigil: Vigil) -> None:
        self._means = means
        self._trail = trail
        self._vigil = vigil

    async def serve(
        self, wanted: Wanted, ask: Ask[T], *, is_final: Callable[[], bool] = lambda: False
    ) -> T:
        """Ask candidates until one serves; return what it gave.

        `is_final` is asked after a failure: True when no other account may try any more.
        """
        patience = time.monotonic() + self._means.limits.capacity_wait_s
        while True:
            plan = await self._plan(wanted, patience)
            self._trail.route = route_of(plan, self._means.router.strategy.value)
            try:
                return await self._follow(plan, ask, is_final)
            except NoRoomError:
                # Others were quicker: look again, as long as there is time for it.
                if time.monotonic() >= patience:
                    message = "All accounts for this model are busy. Try again in 1 s."
                    raise GroxyError(ErrorKind.RATE_LIMITED, message, retry_after_s=1) from None

    async def _plan(self, wanted: Wanted, patience: float) -> Plan:
        """Return who is to be asked; wait a little if all are at a limit that will be over."""
        means = self._means
        while True:
            try:
                return means.router.plan(wanted)
            except GroxyError as error:
                left_s = patience - time.monotonic()
                is_limit = error.kind is ErrorKind.RATE_LIMITED
                # Told in whole seconds, rounded up.
                if not is_limit or left_s <= 0.0 or (error.retry_after_s or 0.0) > left_s + 1.0:
                    raise
                # Its end is its place in the row, however often it looks: who came first is first.
                room = means.directory.room(min(left_s, _LOOK_AGAIN_S), patience)
                await self._vigil.attempt(room, is_wait=True)

    async def _follow(self, plan: Plan, ask: Ask[T], is_final: Callable[[], bool]) -> T:
        """Ask the candidates of a plan, one after the other."""
        failures: list[GroxyError] = []
        candidates = list(plan.candidates)
        rotation = self._means.limits.rotation
        try:
            while candidates:
                candidate = candidates.pop(0)
                try:
                    return await ask(candidate, candidates)
                except NoRoomError:
                    continue
                except GroxyError as error:
                    failures.append(error)
                    status = self._trail.attempts[-1].status if self._trail.attempts else 0
                    if is_final() or self._vigil.is_over:
                        raise
                    if not rotation.may_try_another(error, status):
                        raise
                    if candidates and (pause_s := rotation.pause_s(error, len(failures))):
                        await self._vigil.attempt(asyncio.sleep(pause_s), is_wait=True)
            if not failures:
                raise NoRoomError
            raise most_telling(failures)
        finally:
            failures.clear()  # What they were raised through has this list, in a circle.


def begin_attempt(means: Means, trail: Trail, candidate: Candidate, tokens: int) -> Attempt:
    """Begin to ask a candidate, for about so many tokens; return the attempt's place in the trail.

    Raises `NoRoomError` when the account has become too busy for it.
    """
    account = candidate.account
    if not means.directory.begin(account, candidate.model_sent, candidate.target.mode, tokens):
        raise NoRoomError
    trail.upstream_dialect = candidate.dialect
    return trail.begin_attempt(
        upstream=account.upstream.name,
        account_id=account.id,
        model_sent=candidate.model_sent,
    )


def note_failure(means: Means, trail: Trail, candidate: Candidate, error: GroxyError) -> None:
    """Hold a failure against the account, where it is the account's, and log it.

    From here on the error is fit to be told: without the account's secrets, and with the time
    after which the account serves again.
    """
    account, directory = candidate.account, means.directory
    conceal(account, error)
    directory.note_failure(account, error, candidate.model_sent)
    if error.kind is ErrorKind.UPSTREAM_LIMITED and error.retry_after_s is None:
        rest = account.model_rests.get(candidate.model_sent)
        if rest is not None:
            error.retry_after_s = rest.until - directory.now()
    means.log.info(
        "attempt failed",
        request=trail.request_id,
        account=account.id,
        upstream=account.upstream.name,
        outcome=error.kind.value,
        detail=error.detail,
    )


async def read_refusal(account: Account, reply: Reply) -> GroxyError:
    """Return what a reply that is no good one means; of its body only the beginning is read."""
    body = b""
    async for chunk in reply.chunks():
        body += chunk
        if len(body) >= _MAX_ERROR_BYTES:
            break
    refusal = ErrorReply(status=reply.status, body=body[:_MAX_ERROR_BYTES], headers=reply.headers)
    return account.upstream.read_error(refusal)


def route_of(plan: Plan, strategy: str) -> Route:
    """Return how a plan came about, for the trail."""
    scores = plan.notes.scores
    return Route(
        strategy=strategy,
        of=plan.of,
        home=plan.home,
        candidates=[
            RouteCandidate(
                account=one.account.id,
                model=one.model_sent,
                dialect=one.dialect,
                score=scores.get(one.account.id, 0.0),
            )
            for one in plan.candidates
        ],
        passed=plan.notes.passed,
    )


def most_telling(failures: Sequence[GroxyError]) -> GroxyError:
    """Return the failure that helps a caller most, when every candidate failed.

    What the caller can mend comes first, then what waiting mends (the shortest wait), then the
    last that happened.
    """
    for kind in (ErrorKind.UNSUPPORTED, ErrorKind.UPSTREAM_LIMITED):
        found = [error for error in failures if error.kind is kind]
        if found:
            return min(found, key=lambda error: error.retry_after_s or 0.0)
    return failures[-1]
