"""Films that are longer than an upstream makes at once: made in parts, the second onto the first.

In: what is asked for, or a film whose first part is there. Out: the call that begins it, or the
same film with its next part under way, at the account that has it. An upstream that can do this is
an `Extends`. xAI makes 15 s at once, and adds 2 to 10 s to 2 to 15 s; the result is one film
(docs.x.ai/developers/model-capabilities/video/extension, 2026).
"""

import asyncio
from typing import Protocol, runtime_checkable

import msgspec
from msgspec.structs import replace

from groxy.core.errors import ErrorKind, Fault, GroxyError
from groxy.core.media import FilmState, MediaCall, VideoRequest
from groxy.gateway.film_upstream import DoubtError, FilmUpstream, account_gone, unknown_outcome
from groxy.gateway.means import Means
from groxy.gateway.reel import POLLING, SUBMITTING, Filmed, Take
from groxy.jobs.worker import LeaseLostError
from groxy.routing.account import Account
from groxy.routing.candidate import target_of
from groxy.routing.router import Candidate
from groxy.upstreams._base import ModelFacts, Upstream

_FIRST_S = 10
"""Of a film in two parts, as grok2api cuts 16 s and 20 s."""
_SHORTEST_S, _LONGEST_S = 2, 10
"""Of what can be added."""
_LOOK_AGAIN_S = 0.5
_MOST_TRIES = 5
_PAUSE_S = 2.0
_MOST_PAUSE_S = 30.0
_request_decoder = msgspec.json.Decoder(VideoRequest)


@runtime_checkable
class Extends(Protocol):
    """An upstream that can make a film longer."""

    def video_extension_call(self, request: VideoRequest, url: str, model_sent: str) -> MediaCall:
        """Return the request that adds `request.duration_s` to the film at `url`."""
        ...


def first_call(
    upstream: Upstream, request: VideoRequest, model_sent: str, facts: ModelFacts
) -> tuple[MediaCall, int]:
    """Return the call that begins a film, and how many seconds of it that makes.

    Raises UNSUPPORTED for what the upstream cannot, in parts neither.
    """
    try:
        return upstream.video_call(request, model_sent, facts), request.duration_s
    except GroxyError as error:
        rest_s = request.duration_s - _FIRST_S
        is_too_long = error.kind is ErrorKind.UNSUPPORTED and error.param == "seconds"
        can_be_two = isinstance(upstream, Extends) and _SHORTEST_S <= rest_s <= _LONGEST_S
        if not is_too_long or not can_be_two:
            raise
    first = replace(request, duration_s=_FIRST_S)
    return upstream.video_call(first, model_sent, facts), _FIRST_S


class FilmParts:
    """Has further parts made."""

    def __init__(self, means: Means, upstream: FilmUpstream) -> None:
        self._means = means
        self._upstream = upstream

    async def extend(self, film: Filmed, state: FilmState) -> None:
        """Have the rest of a film made, whose part that is there `state` tells of."""
        account = self._means.directory.get(film.held.job.account_id)
        take = film.reel.take
        if account is None or take is None or not isinstance(account.upstream, Extends):
            raise account_gone()
        rest_s = film.reel.seconds - film.reel.made_s
        request = replace(_request_decoder.decode(await film.held.request()), duration_s=rest_s)
        url = _absolute(state.url, account)
        call = account.upstream.video_extension_call(request, url, take.model_sent)
        candidate = Candidate(account, take.model_sent, "videos", target_of(None))
        film.reel.part_s = rest_s
        with film.held.unbroken():
            await film.save(status=SUBMITTING, upstream_id="")
            upstream_id = await self._begun(film, candidate, call, take)
            try:
                await film.save(status=POLLING, upstream_id=upstream_id)
            except LeaseLostError:
                await self._upstream.cancel(account, upstream_id)
                raise

    async def _begun(self, film: Filmed, candidate: Candidate, call: MediaCall, take: Take) -> str:
        """Ask for the part; again, while it is certain that it was not taken on."""
        tries = 0
        while True:
            film.check_time(self._means.limits.deadlines.total_s)
            try:
                return await self._asked(candidate, call, take)
            except DoubtError as doubt:
                film.log_failure(self._means.log, candidate.account, doubt.error)
                raise unknown_outcome(doubt.error) from None
            except GroxyError as error:
                film.log_failure(self._means.log, candidate.account, error)
                tries += 1
                if error.facts.fault is Fault.CALLER or tries >= _MOST_TRIES:
                    raise
                await asyncio.sleep(min(error.retry_after_s or _PAUSE_S, _MOST_PAUSE_S))

    async def _asked(self, candidate: Candidate, call: MediaCall, take: Take) -> str:
        """Ask as soon as there is room at the account; its film is nowhere else."""
        account, directory = candidate.account, self._means.directory
        for _ in range(_MOST_TRIES):
            if directory.begin(account, candidate.model_sent, candidate.target.mode, 0):
                break
            await directory.room(_LOOK_AGAIN_S)
        else:
            message = "The account that makes this film is busy."
            raise GroxyError(ErrorKind.UPSTREAM_LIMITED, message)
        try:
            return await self._upstream.begin(candidate, call, take)
        except GroxyError as error:
            directory.note_failure(account, error, candidate.model_sent)
            raise
        finally:
            directory.end(account, 0)


def _absolute(url: str, account: Account) -> str:
    """Return where a film lies, for the upstream itself."""
    if "://" in url.partition("?")[0]:
        return url
    return f"{account.upstream.address(account.credentials)}/{url.lstrip('/')}"
