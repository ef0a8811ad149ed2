"""Pictures: made by whichever account can, brought home, priced and entered in the books.

In: what a caller asks for, as a value. Out: `Made`, or the error that the caller is told. Each
request is in the books exactly once, before its reply leaves, whatever happened to it. What was
refused costs nothing, unless the upstream billed it. Must not know a wire format.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, MadeImages
from groxy.gateway.means import Call, Means
from groxy.gateway.recording import Recording
from groxy.gateway.results import Picture, Results
from groxy.gateway.settling import settle
from groxy.gateway.tab import Tab, price_of_images
from groxy.gateway.turns import GOOD, Turns, send
from groxy.gateway.vigil import Client, Deadlines, Vigil
from groxy.ledger.costs import BY_CATALOG, BY_UPSTREAM, UNPRICED
from groxy.ledger.trail import Attempt, Trail
from groxy.policy.admission import Headers
from groxy.routing.model import Capability, Model
from groxy.routing.router import Candidate, Wanted

_CARRIERS = ("images",)
_MAX_LITE = 4
"""Of a lite model, mode "fast" in the catalog (grok2api, products of its image endpoint)."""
_MAKING = GOOD | {0}
"""Statuses of upstreams that make what they were asked for; 0 is of one that did not answer yet."""
_OVERHEAD_BYTES = 1024 * 1024
"""Of a reply beside its pictures."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be made of a request, once it was read."""

    request: ImageRequest
    keeps: bool = True
    """True to put the pictures on the shelf, so that there can be links to them."""
    is_stream: bool = False
    """How the reply goes to the caller, for the books."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What was made."""

    pictures: Sequence[Picture]
    refusals: Sequence[str]
    """For each picture asked for that is not there, why."""
    created: int
    """Unix seconds."""
    cost_ticks: int
    is_priced: bool
    """False where neither the upstream nor the catalog knows what it cost."""
    adjusted: Sequence[str]
    """What was changed for the upstream, for `x-groxy-adjusted`."""
    headers: Headers = []
    """What the reply tells of its caller's limits."""


class OnSilence(msgspec.Struct, frozen=True, kw_only=True):
    """What tells the caller that its pictures are on their way."""

    tell: Callable[[], Coroutine[None, None, None]]
    after_s: float
    """After so much silence, and again."""


Read = Callable[[], Coroutine[Any, Any, Order]]
"""Reads the request; what it raises is the answer, and in the books like any failure."""


class Maker:
    """Makes pictures."""

    def __init__(self, means: Means, results: Results) -> None:
        self.means = means
        self.results = results

    def begin(self, call: Call, *, reply_id: str = "") -> "Making":
        """Return the making of what one request asks for; `reply_id` is its reply's, if any."""
        trail = Trail(
            request_id=call.request_id,
            key_id=call.caller.key_id,
            dialect=call.dialect.name,
            app_title=call.app_title,
            app_url=call.app_url,
            reply_id=reply_id,
        )
        tab = Tab(self.means, call.caller, trail)
        return Making(self.means, self.results, tab, call.recording)


class Making:
    """One request on its way."""

    def __init__(
        self, means: Means, results: Results, tab: Tab, recording: Recording | None = None
    ) -> None:
        self._means = means
        self._results = results
        self._tab = tab
        self._trail = tab.trail
        self._recording = recording
        self._adjusted: tuple[str, ...] = ()

    @property
    def attempts(self) -> int:
        """How many accounts were asked so far."""
        return len(self._trail.attempts)

    async def make(
        self, read: Read, client: Client, *, on_silence: OnSilence | None = None
    ) -> Made:
        """Make what the request asks for. A client that leaves ends it.

        Raises what its caller is to be told: REFUSED with the reason when no picture was let
        through, BAD_REQUEST and others that name the field at fault.
        """
        made: Made | None = None
        error: GroxyError | None = GroxyError(
            ErrorKind.INTERNAL,
            "The gateway made a mistake. Quote the request id when you report it.",
        )
        try:
            # Nothing is spent on what could not be entered in the books.
            self._means.journal.require_open()
            made = await self._run(read, client, on_silence)
            error = None
        except GroxyError as failure:
            error = failure
        except asyncio.CancelledError:  # the gateway stops, and has waited long enough
            message = "The gateway was stopped before the pictures were made. Try again."
            error = GroxyError(ErrorKind.INTERNAL, message)
        finally:
            error = await settle(self._means, self._tab, error, recording=self._recording)
        if error is not None:
            raise error
        assert made is not None  # noqa: S101 - without an error there is something
        return made

    async def _run(self, read: Read, client: Client, on_silence: OnSilence | None) -> Made:
        """Read the request, have it served, and bring home what was made."""
        deadlines = self._means.limits.deadlines
        tell = None
        if on_silence is not None:
            deadlines, tell = _breaking(deadlines, on_silence.after_s), on_silence.tell
        async with Vigil(client, deadlines, tell) as vigil:
            order = await vigil.attempt(read())
            request = order.request
            self._trail.model_asked = request.model
            self._trail.is_stream = order.is_stream

            async def ask(candidate: Candidate, attempt: Attempt) -> MadeImages:
                wish = _with_quality(request, candidate.target.model)
                try:
                    return await self._ask(wish, candidate, attempt)
                except asyncio.CancelledError:
                    if vigil.has_client_left:
                        self._note_left(wish, candidate, attempt)
                    raise

            _check(request, self._means.router.model(request.model))
            await self._tab.open_for_images(request)
            wanted = Wanted(model=request.model, carriers=_CARRIERS)
            turns = Turns(self._means, self._trail, vigil)
            candidate, made = await turns.serve(wanted, ask)
            pictures, reasons = await vigil.attempt(
                self._results.collect(
                    made.images[: request.count],
                    candidate.account,
                    owner=self._trail.key_id,
                    keeps=order.keeps,
                )
            )
            await vigil.sending()  # So that nothing that is being told is cut off.
        return self._made(request, pictures, reasons)

    async def _ask(
        self, request: ImageRequest, candidate: Candidate, attempt: Attempt
    ) -> MadeImages:
        """Ask one candidate; raise REFUSED when it lets no picture through."""
        upstream = candidate.account.upstream
        _check_makes(request, upstream.makes)
        call = upstream.image_call(request, candidate.model_sent, candidate.target.facts)
        self._adjusted = call.adjusted
        # Base64 takes four bytes for three.
        limit = request.count * self._results.max_image_bytes * 4 // 3 + _OVERHEAD_BYTES
        body = await send(candidate, call, attempt, limit=limit)
        made = upstream.read_images(body)
        attempt.first_event = time.perf_counter()
        attempt.model_served = candidate.model_sent
        delivered = [one for one in made.images if not one.refused][: request.count]
        attempt.list_ticks = self._price(request, candidate, len(delivered))
        attempt.cost_ticks, attempt.cost_source = _cost(made, attempt.list_ticks)
        if not delivered:
            reason = next((one.refused for one in made.images if one.refused), "")
            raise GroxyError(ErrorKind.REFUSED, _refusal(reason), param="prompt")
        return made

    def _price(self, request: ImageRequest, candidate: Candidate, count: int) -> int:
        """Return what so many pictures of a candidate cost by the price list, in ticks."""
        model = candidate.target.model
        price = self._tab.media_price(model.id if model is not None else request.model)
        return (price_of_images(price, request, count) or 0) if count else 0

    def _note_left(self, request: ImageRequest, candidate: Candidate, attempt: Attempt) -> None:
        """Note what an upstream that was asked makes, and bills, though nobody waits any more.

        Else pictures could be ordered at the operator's expense, as many as anybody likes.
        """
        if not attempt.was_sent or attempt.status not in _MAKING:
            return
        attempt.list_ticks = self._price(request, candidate, request.count)
        if attempt.list_ticks:
            attempt.cost_ticks, attempt.cost_source = attempt.list_ticks, BY_CATALOG

    def _made(self, request: ImageRequest, pictures: list[Picture], reasons: list[str]) -> Made:
        missing = request.count - len(pictures)
        fewer = ["The upstream made fewer pictures than it was asked for."]
        last = self._trail.last
        return Made(
            pictures=pictures,
            refusals=(reasons + fewer * missing)[:missing],
            created=self._trail.at_ms // 1000,
            cost_ticks=self._tab.charge_of(last.cost_ticks, last.list_ticks) if last else 0,
            is_priced=last is not None and last.cost_source != UNPRICED,
            adjusted=self._adjusted,
            headers=self._tab.headers,
        )


def _with_quality(request: ImageRequest, model: Model | None) -> ImageRequest:
    """Return a request that names the quality which its model stands for, unless it names one."""
    if model is None or not model.quality or request.quality:
        return request
    return replace(request, quality=model.quality)


def _breaking(deadlines: Deadlines, after_s: float) -> Deadlines:
    """Return deadlines that let silence be broken after so many seconds."""
    return Deadlines(
        first_event_s=deadlines.first_event_s,
        idle_s=deadlines.idle_s,
        total_s=deadlines.total_s,
        keepalive_s=after_s,
    )


def _check(request: ImageRequest, model: Model | str | None) -> None:
    """Raise for what a model of the catalog does not make, before anybody is asked."""
    if not isinstance(model, Model):
        return
    if model.mode == "fast" and request.count > _MAX_LITE:
        message = f"`{model.id}` makes {_MAX_LITE} pictures at most. Ask for fewer."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="n")
    if model.capability is Capability.IMAGE_EDIT and not request.is_edit:
        message = f"The model `{model.id}` changes pictures. Send one with the request."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="model")


def _check_makes(request: ImageRequest, makes: frozenset[str]) -> None:
    if ("edits" if request.is_edit else "images") not in makes:
        what = "changes" if request.is_edit else "makes"
        message = f"No account here {what} pictures with the model `{request.model[:128]}`."
        param = "image" if request.is_edit else "model"
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param=param)


def _cost(made: MadeImages, list_ticks: int) -> tuple[int, str]:
    """Return what pictures cost in ticks, and where that is from: the bill, else the price list."""
    if made.cost_ticks is not None:
        return made.cost_ticks, BY_UPSTREAM
    return (list_ticks, BY_CATALOG) if list_ticks else (0, UNPRICED)


def _refusal(reason: str) -> str:
    said = f" It says: {reason}" if reason else ""
    return f"The upstream refused to make this picture.{said} Change the prompt."
