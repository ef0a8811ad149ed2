"""Accounts asked for pictures or film, one after the other, until one serves.

In: what is wanted of routing, and how one candidate is asked. Out: what the one that served gave;
or the failure that tells the caller most. It is what `attempts` is for text, without its streams:
nothing leaves for the client before all is there, so that any failure may lead to another account.
Must not know what is asked for.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import MediaCall
from groxy.gateway.attempts import most_telling, route_of
from groxy.gateway.means import Means
from groxy.gateway.race import NoRoomError
from groxy.gateway.vigil import Vigil
from groxy.ledger.trail import OK, Attempt, Trail
from groxy.routing.account import Account
from groxy.routing.router import Candidate, Plan, Wanted
from groxy.routing.secrecy import conceal
from groxy.upstreams._base import ErrorReply
from groxy.wire.http import Outgoing, Reply

_LOOK_AGAIN_S = 0.25
"""While waiting for room: rests end without anybody saying so."""
_MAX_ERROR_BYTES = 64 * 1024
_GOOD = frozenset({200, 201, 202})
"""A job that is begun is told with any of them."""

T = TypeVar("T")
Ask = Callable[[Candidate, Attempt], Coroutine[Any, Any, T]]
"""Asks one candidate; notes in the attempt what it cost."""


class Turns:
    """Asks for one request."""

    def __init__(self, means: Means, trail: Trail, vigil: Vigil) -> None:
        self._means = means
        self._trail = trail
        self._vigil = vigil

    async def serve(self, wanted: Wanted, ask: Ask[T]) -> tuple[Candidate, T]:
        """Ask candidates until one serves; return it, and what it gave."""
        patience = time.monotonic() + self._means.limits.capacity_wait_s
        while True:
            plan = await self._plan(wanted, patience)
            try:
                return await self._follow(plan, ask)
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
                plan = means.router.plan(wanted)
            except GroxyError as error:
                left_s = patience - time.monotonic()
                is_limit = error.kind is ErrorKind.RATE_LIMITED
                # Told in whole seconds, rounded up.
                if not is_limit or left_s <= 0.0 or (error.retry_after_s or 0.0) > left_s + 1.0:
                    raise
                room = means.directory.room(min(left_s, _LOOK_AGAIN_S), patience)
                await self._vigil.attempt(room)
            else:
                self._trail.route = route_of(plan, means.router.strategy.value)
                return plan

    async def _follow(self, plan: Plan, ask: Ask[T]) -> tuple[Candidate, T]:
        failures: list[GroxyError] = []
        rotation = self._means.limits.rotation
        for place, candidate in enumerate(plan.candidates, start=1):
            try:
                return candidate, await self._try(candidate, ask)
            except NoRoomError:
                continue
            except GroxyError as error:
                failures.append(error)
                status = self._trail.attempts[-1].status
                if self._vigil.is_over or not rotation.may_try_another(error, status):
                    raise
                pause_s = rotation.pause_s(error, len(failures))
                if pause_s and place < len(plan.candidates):
                    await self._vigil.attempt(asyncio.sleep(pause_s))
        if not failures:
            raise NoRoomError
        raise most_telling(failures)

    async def _try(self, candidate: Candidate, ask: Ask[T]) -> T:
        """Ask one candidate, and note how it went."""
        account, directory = candidate.account, self._means.directory
        model = candidate.model_sent
        if not directory.begin(account, model, candidate.target.mode, 0):
            raise NoRoomError
        attempt = self._trail.begin_attempt(
            upstream=account.upstream.name, account_id=account.id, model_sent=model
        )
        self._trail.upstream_dialect = candidate.dialect
        attempt.outcome = ErrorKind.INTERNAL.value  # What a crash is entered as.
        try:
            given = await self._vigil.attempt(ask(candidate, attempt))
            attempt.outcome = OK
        except GroxyError as error:
            conceal(account, error)
            attempt.outcome = error.kind.value
            directory.note_failure(account, error, model)
            self._log_failure(account, error)
            raise
        finally:
            attempt.ended = time.perf_counter()
            directory.end(account, 0)
            directory.touched.add(account)
            account.tally.cost_ticks += attempt.cost_ticks
        directory.note_success(account, model)
        return given

    def _log_failure(self, account: Account, error: GroxyError) -> None:
        self._means.log.info(
            "attempt failed",
            request=self._trail.request_id,
            account=account.id,
            upstream=account.upstream.name,
            outcome=error.kind.value,
            detail=error.detail,
        )


async def send(candidate: Candidate, call: MediaCall, attempt: Attempt, *, limit: int) -> bytes:
    """Send a request for media; return the body of a good reply, of at most `limit` bytes.

    Raises what the upstream's error means.
    """
    account = candidate.account
    upstream = account.upstream
    headers = {"User-Agent": "groxy"} | account.headers
    if call.body:
        headers["Content-Type"] = call.content_type
    reply = await account.transport.send(
        Outgoing(
            url=upstream.address(account.credentials) + call.path,
            headers=headers,
            body=call.body,
            method=call.method,
        )
    )
    try:
        attempt.status = reply.status
        rates = upstream.read_limits(reply.headers)
        if rates is not None:
            account.note_rates(candidate.target.mode, rates, time.time_ns() / 1e9)
        if reply.status in _GOOD:
            return await reply.read(limit)
        body = await _beginning_of(reply)
    finally:
        reply.close()
    raise upstream.read_error(ErrorReply(status=reply.status, body=body, headers=reply.headers))


async def _beginning_of(reply: Reply) -> bytes:
    """Read as much of an error's body as can matter."""
    body = b""
    async for chunk in reply.chunks():
        body += chunk
        if len(body) >= _MAX_ERROR_BYTES:
            break
    return body[:_MAX_ERROR_BYTES]
