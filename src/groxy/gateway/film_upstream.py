"""An upstream as film jobs see it: it takes one on, says how far it is, and is told to stop.

In: an account, and what is asked of it. Out: an id, a `FilmState`, or a `GroxyError`; and whether
an upstream that failed may have taken the job all the same. Must not know jobs.
"""

import asyncio

from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import FilmState, MediaCall
from groxy.gateway.means import Means
from groxy.gateway.reel import Take
from groxy.gateway.turns import send
from groxy.ledger.trail import Attempt
from groxy.routing.account import Account
from groxy.routing.router import Candidate
from groxy.routing.secrecy import conceal, concealed
from groxy.wire.http import Outgoing, UnsentError

UNKNOWN_OUTCOME = "upstream_unknown_outcome"
_MAX_REPLY_BYTES = 1024 * 1024
_CANCEL_S = 10.0
_DOUBTFUL = frozenset({408, 499, 502, 504, 520, 522, 523, 524, 527})
"""Answers of what stands before an upstream: whether that got the request is not known."""
_GOOD = range(200, 300)


class DoubtError(Exception):
    """An upstream failed, and may have taken the job all the same."""

    def __init__(self, error: GroxyError) -> None:
        super().__init__(error.message)
        self.error = error


class FilmUpstream:
    """Talks to upstreams about films."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def begin(self, candidate: Candidate, call: MediaCall, take: Take) -> str:
        """Have a film begun; return the upstream's id of it. Notes the status in `take`.

        Raises why the upstream certainly did not take it, else `DoubtError`.
        """
        account = candidate.account
        try:
            body = await self._sent(candidate, call, take)
        except GroxyError as error:
            conceal(account, error)
            if _was_refused(error, take.status):
                raise
            raise DoubtError(error) from error
        try:
            return account.upstream.read_video_id(body)
        except GroxyError as error:
            conceal(account, error)
            # An error in a good reply says no; what cannot be read says nothing.
            if error.kind is ErrorKind.BAD_REPLY:
                raise DoubtError(error) from error
            raise

    async def _sent(self, candidate: Candidate, call: MediaCall, take: Take) -> bytes:
        attempt = Attempt(
            number=0,
            upstream=take.upstream,
            account_id=take.account_id,
            model_sent=take.model_sent,
        )
        try:
            async with asyncio.timeout(self._means.limits.deadlines.first_event_s):
                return await send(candidate, call, attempt, limit=_MAX_REPLY_BYTES)
        except TimeoutError:
            raise _late() from None
        finally:
            take.status = attempt.status

    async def state(self, account: Account | None, upstream_id: str) -> FilmState:
        """Return how far a film is; raise what says nothing of the film itself."""
        if account is None:
            raise account_gone()
        upstream = account.upstream
        status, body = await self._called(account, upstream.video_state_call(upstream_id))
        try:
            state = upstream.read_video(status, body)
        except GroxyError as error:
            conceal(account, error)
            raise
        return replace(state, error=concealed(account, state.error))

    async def state_now(self, account: Account | None, upstream_id: str) -> FilmState | None:
        """Return how far a film is, asked once and for seconds; None where that is not told."""
        try:
            async with asyncio.timeout(_CANCEL_S):
                return await self.state(account, upstream_id)
        except (GroxyError, TimeoutError):
            return None

    async def cancel(self, account: Account | None, upstream_id: str) -> bool:
        """Say that nobody wants the film any more; return whether the upstream heeds it.

        Some upstreams cannot be told. Raises nothing.
        """
        if account is None or not upstream_id:
            return False
        try:
            call = account.upstream.video_cancel_call(upstream_id)
            if call is None:
                return False
            async with asyncio.timeout(_CANCEL_S):
                status, _ = await self._called(account, call)
        except (GroxyError, TimeoutError) as error:
            self._means.log.info("film not cancelled upstream", detail=repr(error))
            return False
        return status in _GOOD

    async def _called(self, account: Account, call: MediaCall) -> tuple[int, bytes]:
        """Send a small request; return the reply's status and body."""
        url = account.upstream.address(account.credentials) + call.path
        outgoing = Outgoing(url=url, headers=account.headers, body=call.body, method=call.method)
        deadlines = self._means.limits.deadlines
        try:
            async with asyncio.timeout(min(deadlines.first_event_s, deadlines.idle_s)):
                reply = await account.transport.send(outgoing)
                try:
                    return reply.status, await reply.read(_MAX_REPLY_BYTES)
                finally:
                    reply.close()
        except TimeoutError:
            raise _late() from None


def _was_refused(error: GroxyError, status: int) -> bool:
    """Return whether an upstream said no, or never heard of it."""
    if not status:
        return isinstance(error, UnsentError)
    return status not in _GOOD and status not in _DOUBTFUL


def unknown_outcome(error: GroxyError | None) -> GroxyError:
    """Return what the caller is told of a job that an upstream may have taken, or may not."""
    message = (
        "It is not known whether the upstream took this film on, so it was not asked again. It "
        "costs nothing here. Ask for the film anew if you want it."
    )
    detail = (error.detail or error.message) if error is not None else ""
    return GroxyError(ErrorKind.CONFLICT, message, code=UNKNOWN_OUTCOME, detail=detail)


def account_gone() -> GroxyError:
    """Return what the caller is told when the account that has the film is gone."""
    message = "The account that made this film was removed meanwhile. Ask for the film again."
    return GroxyError(ErrorKind.NO_ACCOUNT, message, code="account_removed")


def _late() -> GroxyError:
    return GroxyError(ErrorKind.UPSTREAM_TIMEOUT, "The upstream did not answer in time.")
