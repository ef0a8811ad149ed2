"""A request ends in the books, in the metrics and in the log, with what its caller owes."""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.settling import settle
from groxy.gateway.tab import Tab
from groxy.ledger.costs import BY_CATALOG, BY_UPSTREAM
from groxy.ledger.trail import Trail
from groxy.policy.keys import Caller
from tests.gateway.stage import Reply, Seat, Stage


def tab_with(stage, source=BY_UPSTREAM, ticks=50):
    trail = Trail(request_id="req_1", key_id="key-1", dialect="images", model_asked="m")
    attempt = trail.begin_attempt(upstream="xai", account_id="seat-0", model_sent="m")
    attempt.cost_ticks, attempt.cost_source, attempt.outcome = ticks, source, "ok"
    return Tab(stage.gateway, Caller(key_id="key-1", name="test"), trail)


@pytest.mark.parametrize(
    ("kind", "source", "owed"),
    [
        (None, BY_UPSTREAM, 50),
        (None, BY_CATALOG, 50),
        (ErrorKind.CANCELLED, BY_UPSTREAM, 50),
        (ErrorKind.REFUSED, BY_UPSTREAM, 50),
        (ErrorKind.REFUSED, BY_CATALOG, 0),
        (ErrorKind.UPSTREAM_DOWN, BY_UPSTREAM, 0),
        (ErrorKind.STORE_DOWN, BY_UPSTREAM, 0),
    ],
)
async def test_what_is_owed_depends_on_how_it_ended(kind, source, owed):
    stage = Stage(Seat(Reply()))
    error = None if kind is None else GroxyError(kind, "So it ended.")
    assert await settle(stage.gateway, tab_with(stage, source), error) is error
    assert stage.entry.cost_ticks == owed
    assert stage.entry.outcome == ("ok" if kind is None else kind.value)
    assert stage.books.attempts[0].cost_ticks == 50


async def test_books_that_cannot_be_written_are_what_the_caller_is_told():
    stage = Stage(Seat(Reply()))
    stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "Away.")
    told = await settle(stage.gateway, tab_with(stage), None)
    assert told is stage.books.failure


async def test_it_is_counted():
    stage = Stage(Seat(Reply()))
    await settle(stage.gateway, tab_with(stage), None)
    written = stage.metrics.render()
    assert b'dialect="images",outcome="ok"' in written
    assert b'upstream="xai"' in written
