"""The end of a request: its sheet in the books, what it was charged, its metrics and its log line.

In: its trail and its tab, and the error that it ended with, if any. Out: the error that its caller
is told: the same, or that of books that could not be written. Each request comes here exactly once,
whatever happened to it.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.calls import ENDED
from groxy.gateway.means import Means
from groxy.gateway.recording import Recording
from groxy.gateway.tab import Tab
from groxy.ledger.bill import Charge, sheet_of
from groxy.ledger.costs import BY_UPSTREAM
from groxy.ledger.trail import OK, Trail
from groxy.observe.logs import RequestLine, log_request
from groxy.store.kept import KeptRow

_OK_STATUS = 200
_BILLED_OUTCOMES = frozenset({OK, ErrorKind.CANCELLED.value})


async def settle(
    means: Means,
    tab: Tab,
    error: GroxyError | None,
    *,
    kept: Sequence[KeptRow] = (),
    is_empty: bool = False,
    recording: Recording | None = None,
) -> GroxyError | None:
    """Enter a request in the books, once it has ended; return what its caller is told.

    `kept` is what it leaves behind if it went well. A reply that `is_empty` is free. With a
    `recording` that is left to its keeper, who has the reply entered together with it.
    """
    trail = tab.trail
    outcome, status = OK, _OK_STATUS
    if error is not None:
        outcome, status, kept = error.kind.value, error.facts.status, ()
    is_owed = outcome in _BILLED_OUTCOMES or _is_owed_all_the_same(trail, error)
    charge = await tab.charge(is_owed=is_owed and not is_empty)
    ending = _Ending(means, tab, charge, outcome, status, is_owed, kept, recording)
    if recording is not None and recording.postpone(ending.enter, error):
        return error
    return await ending.enter() or error


class _Ending(NamedTuple):
    """A request that has ended and is to be entered."""

    means: Means
    tab: Tab
    charge: Charge
    outcome: str
    status: int
    is_owed: bool
    kept: Sequence[KeptRow]
    recording: Recording | None

    async def enter(self, rows: Sequence[KeptRow] = ()) -> GroxyError | None:
        """Enter it, and `rows` with it; return why that was not possible."""
        means, tab, trail = self.means, self.tab, self.tab.trail
        charge, is_owed = self.charge, self.is_owed
        if self.recording is not None and self.recording.is_overtaken:
            # Its caller pays for the other run of it.
            charge, is_owed = Charge(user_id=charge.user_id), False
        sheet = sheet_of(
            trail,
            charge,
            outcome=self.outcome,
            status=self.status,
            is_owed=is_owed,
            kept=[*self.kept, *rows],
        )
        try:
            committed = means.journal.submit(sheet)
            _count(means, trail, self.outcome)  # Meanwhile: the disk takes longer.
            balances = await committed
        except GroxyError as failure:
            return await _give_up(means, tab, self.outcome, failure)
        if self.recording is not None:
            self.recording.is_spooled = bool(rows) and balances is None
        await tab.settle(charge, balances, is_owed=is_owed)
        _done(means, trail, self.outcome)
        return None


async def _give_up(means: Means, tab: Tab, outcome: str, failure: GroxyError) -> GroxyError:
    """Let go of a request that could not be entered; return why."""
    await tab.release()
    means.log.error(
        "entry not written", request=tab.trail.request_id, outcome=outcome, detail=failure.detail
    )
    _done(means, tab.trail, failure.kind.value)
    return failure


def _done(means: Means, trail: Trail, outcome: str) -> None:
    means.metrics.request_done(
        dialect=trail.dialect, outcome=outcome, duration_s=time.perf_counter() - trail.began
    )


def _is_owed_all_the_same(trail: Trail, error: GroxyError | None) -> bool:
    """True for what was made for a key that ended meanwhile, and where the upstream billed what it
    refused: xAI does so (docs.x.ai/models, 2026).

    A price of the catalog is none for that: nothing was made.
    """
    last = trail.last
    if error is not None and error.code == ENDED:
        return True
    is_refused = error is not None and error.kind is ErrorKind.REFUSED
    return is_refused and last is not None and last.cost_source == BY_UPSTREAM


def _count(means: Means, trail: Trail, outcome: str) -> None:
    """Count the attempts in the metrics, and log the request."""
    for attempt in trail.attempts:
        means.metrics.attempt_done(
            upstream=attempt.upstream,
            outcome=attempt.outcome,
            usage=attempt.usage,
            cost_ticks=attempt.cost_ticks,
        )
    last = trail.last
    if last is not None and last.first_event and trail.upstream_dialect:
        # Of text only: a picture is there at once, when it is there.
        means.metrics.first_event(upstream=last.upstream, seconds=last.first_event - trail.began)
    if not means.limits.logs_requests:
        return
    log_request(
        RequestLine(
            request=trail.request_id,
            key=trail.key_id,
            dialect=trail.dialect,
            stream=trail.is_stream,
            model=trail.model_asked[:128],
            served=last.model_served if last else "",
            account=last.account_id if last else "",
            attempts=len(trail.attempts),
            outcome=outcome,
            input_tokens=last.usage.input_tokens if last else 0,
            output_tokens=last.usage.output_tokens if last else 0,
            ms=round((time.perf_counter() - trail.began) * 1000, 2),
        )
    )
