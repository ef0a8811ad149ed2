"""The end of a request for media: its line in the books, in the metrics and in the log.

In: its trail, and the error that it ended with, if any. Out: the error that its caller is told: the
same, or that of books that could not be written. It is what the pipeline does for text.
"""

import time

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.means import Means
from groxy.ledger.costs import BY_UPSTREAM
from groxy.ledger.trail import OK, Trail
from groxy.observe.logs import RequestLine, log_request

_OK_STATUS = 200
_BILLED_OUTCOMES = frozenset({OK, ErrorKind.CANCELLED.value})


async def settle(means: Means, trail: Trail, error: GroxyError | None) -> GroxyError | None:
    """Enter a request in the books, once it has ended; return what its caller is told."""
    outcome, status = OK, _OK_STATUS
    if error is not None:
        outcome, status = error.kind.value, error.facts.status
    entry, attempts = trail.entries(
        outcome=outcome, status=status, is_owed=outcome in _BILLED_OUTCOMES or _is_fee(trail, error)
    )
    try:
        committed = means.journal.submit(entry, attempts)
        _count(means, trail, outcome)  # Meanwhile: the disk takes longer.
        await committed
    except GroxyError as failure:
        means.log.error(
            "entry not written", request=entry.id, outcome=outcome, detail=failure.detail
        )
        error, outcome = failure, failure.kind.value
    means.metrics.request_done(
        dialect=entry.dialect, outcome=outcome, duration_s=time.perf_counter() - trail.began
    )
    return error


def _is_fee(trail: Trail, error: GroxyError | None) -> bool:
    """True where the upstream billed what it refused: xAI does so (docs.x.ai/models, 2026).

    A price of the catalog is none for that: nothing was made.
    """
    last = trail.last
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
    if not means.limits.logs_requests:
        return
    last = trail.last
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
            input_tokens=0,
            output_tokens=0,
            ms=round((time.perf_counter() - trail.began) * 1000, 2),
        )
    )
