"""An upstream that fails: has it certainly not taken a job, or is that not known?"""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import MediaCall
from groxy.gateway.film_upstream import DoubtError, FilmUpstream
from groxy.gateway.reel import Take
from groxy.routing.candidate import Candidate, target_of
from groxy.upstreams._base import Credentials
from groxy.wire.http import UnsentError
from tests.gateway.film_set import FilmSeat, told
from tests.gateway.stage import DOWN, Reply, Stage

LATE = ErrorKind.UPSTREAM_TIMEOUT
CALL = MediaCall(path="/videos/generations", body=b'{"model":"m","prompt":"p"}')


async def begin(answer, **deadlines):
    stage = Stage(FilmSeat(orders=[answer]), **deadlines)
    (account,) = stage.directory.accounts
    candidate = Candidate(account, "m", "videos", target_of(None))
    take = Take(upstream="xai", account_id=account.id, model_sent="m", at_ms=0)
    return await FilmUpstream(stage.gateway).begin(candidate, CALL, take), take


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_good_reply_gives_the_id(status):
    upstream_id, take = await begin(told({"request_id": "film-9"}, status))
    assert (upstream_id, take.status) == ("film-9", status)


@pytest.mark.parametrize(
    "answer",
    [
        *(UnsentError(kind, "It could not be reached.") for kind in (DOWN.kind, LATE)),
        *(told({"error": "no"}, status) for status in (400, 401, 403, 404, 429, 500, 503, 529)),
        told({"error": {"message": "overloaded", "code": 503}}),
    ],
)
async def test_it_said_no_or_never_heard_of_it(answer):
    with pytest.raises(GroxyError) as raised:
        await begin(answer)
    assert raised.value.code != "upstream_unknown_outcome"


@pytest.mark.parametrize(
    "answer",
    [
        DOWN,
        *(told({}, status) for status in (408, 502, 504, 520, 524)),
        told({}),
        Reply(script=[b'{"request_id":', DOWN], content_type="application/json"),
    ],
)
async def test_it_may_have_taken_the_job(answer):
    with pytest.raises(DoubtError):
        await begin(answer)


async def test_one_that_does_not_answer_may_have_taken_the_job():
    with pytest.raises(DoubtError) as raised:
        await begin(Reply(script=[5.0]), first_event_s=0.05)
    assert raised.value.error.kind is ErrorKind.UPSTREAM_TIMEOUT


async def test_an_account_that_is_gone_tells_nothing_and_is_told_nothing():
    upstream = FilmUpstream(Stage(FilmSeat()).gateway)
    await upstream.cancel(None, "film-1")
    with pytest.raises(GroxyError) as raised:
        await upstream.state(None, "film-1")
    assert raised.value.code == "account_removed"


@pytest.mark.parametrize(
    "look",
    [
        {"status": "failed", "error": {"message": "not with open sesame today"}},
        told({"error": "not with open sesame today"}, 400),
    ],
)
async def test_what_an_upstream_says_of_a_film_never_tells_the_credential(look):
    stage = Stage(FilmSeat(look))
    (account,) = stage.directory.accounts
    account.credentials = Credentials(api_key="open sesame")
    try:
        words = (await FilmUpstream(stage.gateway).state(account, "film-1")).error
    except GroxyError as error:
        words = f"{error.message} {error.detail}"
    assert "*** today" in words
    assert "open sesame" not in words
