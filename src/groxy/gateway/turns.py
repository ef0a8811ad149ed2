"""Accounts asked for pictures, one after the other, until one serves.

In: what is wanted of routing, and how one candidate is asked. Out: who served, and what it gave;
or the failure that tells the caller most. It is what `attempts` is for text, without its streams:
nothing leaves for the client before all is there, so that any failure may lead to another account.
Must not know what is asked for.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import MediaCall
from groxy.gateway.means import Means
from groxy.gateway.rounds import Rounds, begin_attempt, note_failure, read_refusal
from groxy.gateway.vigil import Vigil
from groxy.ledger.trail import OK, Attempt, Trail
from groxy.routing.router import Candidate, Wanted
from groxy.wire.http import Outgoing

GOOD = frozenset({200, 201, 202})
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

        async def try_one(candidate: Candidate, _: list[Candidate]) -> tuple[Candidate, T]:
            return candidate, await self._try(candidate, ask)

        return await Rounds(self._means, self._trail, self._vigil).serve(wanted, try_one)

    async def _try(self, candidate: Candidate, ask: Ask[T]) -> T:
        """Ask one candidate, and note how it went."""
        account, directory = candidate.account, self._means.directory
        attempt = begin_attempt(self._means, self._trail, candidate, 0)
        attempt.outcome = ErrorKind.INTERNAL.value  # What a crash is entered as.
        try:
            given = await self._vigil.attempt(ask(candidate, attempt))
            attempt.outcome = OK
        except GroxyError as error:
            attempt.outcome = error.kind.value
            note_failure(self._means, self._trail, candidate, error)
            raise
        finally:
            attempt.ended = time.perf_counter()
            directory.end(account, 0)
            directory.touched.add(account)
            account.tally.cost_ticks += attempt.cost_ticks
        directory.note_success(account, candidate.model_sent)
        return given


async def send(candidate: Candidate, call: MediaCall, attempt: Attempt, *, limit: int) -> bytes:
    """Send a request for media; return the body of a good reply, of at most `limit` bytes.

    Raises what the upstream's error means.
    """
    account = candidate.account
    upstream = account.upstream
    headers = dict(account.headers)
    if call.body:
        headers["Content-Type"] = call.content_type
    reply = await account.transport.send(
        Outgoing(
            url=upstream.address(account.credentials) + call.path,
            headers=headers,
            body=call.body,
            method=call.method,
            on_sent=attempt.note_sent,
        )
    )
    try:
        attempt.status = reply.status
        rates = upstream.read_limits(reply.headers)
        if rates is not None:
            account.note_rates(candidate.target.mode, rates, time.time_ns() / 1e9)
        if reply.status in GOOD:
            return await reply.read(limit)
        raise await read_refusal(account, reply)
    finally:
        reply.close()
