"""A film on its way: what is known of it beside its request, and its lines for the books.

In: the state of a job as JSON. Out: `Reel`, and the trail of the request that ordered the film, as
if it had been one request all along: it may have lived in several processes. No secrets in here,
and no words of the caller: the state of a job is not sealed.
"""

import time
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import PlanGrant
from groxy.core.media import FilmState
from groxy.core.money import MediaPrice
from groxy.dialects.videos import Form
from groxy.jobs.worker import Held, now_ms
from groxy.ledger.bill import NO_CHARGE, Charge
from groxy.ledger.costs import BY_CATALOG, BY_UPSTREAM, UNPRICED
from groxy.ledger.prices import charge_of
from groxy.ledger.trail import Attempt, Route, Trail
from groxy.observe.logs import Logger
from groxy.routing.account import Account
from groxy.store.jobs import Job

DIALECT = "videos"
KIND = "video"
"""Of jobs."""
QUEUED, SUBMITTING, POLLING, FETCHING = "queued", "submitting", "polling", "fetching"
STORED, COMPLETED, FAILING, FAILED = "stored", "completed", "failing", "failed"
CANCELLED = "cancelled"
"""The states of a job; `filming` has a picture of them."""
MAX_PROGRESS = 99
"""Of a film that is not on the shelf yet."""
_USUAL_RESOLUTION = "720p"


class Take(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One account that was asked for the film."""

    upstream: str
    account_id: str
    model_sent: str
    at_ms: int
    taken_ms: int = 0
    """When it took the job on; 0 if it did not."""
    ended_ms: int = 0
    outcome: str = ""
    status: int = 0
    cost_ticks: int = 0
    cost_source: str = UNPRICED


class Reel(msgspec.Struct, kw_only=True, omit_defaults=True):
    """See the module."""

    model: str
    seconds: int
    size: str = ""
    resolution: str = ""
    references: int = 0
    form: Form = "openai"
    prefer_tags: tuple[str, ...] = ()
    app_title: str = ""
    app_url: str = ""
    second_ticks: int | None = None
    """The list's price of a second, when the film was ordered; None where it has none."""
    input_ticks: int = 0
    """The same for each reference."""
    part_s: int = 0
    """Seconds of the part that is being made; of most films all of them."""
    price_version: str = ""
    hold: Charge = NO_CHARGE
    """What the books have set aside for it, and of whom."""
    plan: PlanGrant = PlanGrant()
    """Of its caller, when it was ordered: what is charged follows from it."""
    made_s: int = 0
    """Seconds that are made already, of a film that is made in parts; once it is cancelled, also
    those that the upstream goes on making."""
    billed_ticks: int = 0
    """What the upstream billed for that."""
    unbilled_s: int = 0
    """Seconds of them that it gave no bill for."""
    is_excused: bool = False
    """True for a film that was given up by the gateway, not by its caller."""
    takes: list[Take] = []
    route: Route | None = None
    error_kind: str = ""
    error_code: str = ""

    @property
    def take(self) -> Take | None:
        """The newest one."""
        return self.takes[-1] if self.takes else None

    def note_price(self, price: MediaPrice | None) -> None:
        """Note what the price list asks for a film like this."""
        if price is not None:
            resolution = self.resolution or _USUAL_RESOLUTION
            self.second_ticks = price.for_second(resolution=resolution)
            self.input_ticks = price.per_input_image

    def progress(self, state: FilmState) -> int:
        """Return how far the whole film is, in percent, when the part that is made is so far."""
        done_s = self.made_s + self.part_s * state.progress / 100
        return min(max(int(100 * done_s / self.seconds), 1), MAX_PROGRESS)

    def note_made(self, state: FilmState, seconds: int) -> None:
        """Note that so many seconds more are made, and what the upstream billed for them."""
        self.made_s += seconds
        if state.cost_ticks is None:
            self.unbilled_s += seconds
        else:
            self.billed_ticks += state.cost_ticks

    def note_unstopped(self) -> None:
        """Note that an upstream makes the part that was begun, though nobody wants it any more."""
        self.made_s += self.part_s
        self.unbilled_s += self.part_s

    def cost(self) -> tuple[int, str]:
        """Return what the film cost in ticks, and where that is from."""
        if not self.unbilled_s and self.made_s:
            return self.billed_ticks, BY_UPSTREAM
        if self.second_ticks is None or not self.made_s:
            return self.billed_ticks, UNPRICED
        # The first part has the references; what was billed later is the upstream's own matter.
        inputs = 0 if self.billed_ticks else self.input_ticks * self.references
        return self.billed_ticks + self.second_ticks * self.unbilled_s + inputs, BY_CATALOG

    def list_ticks(self) -> int:
        """Return what the price list asks for what is made."""
        if self.second_ticks is None or not self.made_s:
            return 0
        return self.second_ticks * self.made_s + self.input_ticks * self.references

    def charge(self, cost_ticks: int) -> Charge:
        """Return what its caller pays for it; never more than what was set aside."""
        ticks = charge_of(cost_ticks, self.list_ticks() or None, self.plan)
        return msgspec.structs.replace(self.hold, ticks=min(ticks, self.hold.ticks))

    def shown_ticks(self, cost_ticks: int) -> int:
        """Return what its caller is told that it cost."""
        if self.hold.ticks:
            return self.charge(cost_ticks).ticks
        return charge_of(cost_ticks, self.list_ticks() or None, self.plan)

    def begin_take(self, *, upstream: str, account_id: str, model_sent: str, at_ms: int) -> Take:
        """Note that an account is being asked."""
        take = Take(upstream=upstream, account_id=account_id, model_sent=model_sent, at_ms=at_ms)
        self.takes.append(take)
        return take

    def end_take(self, outcome: str, at_ms: int) -> None:
        """Note how the newest take ended, unless that is known already."""
        take = self.take
        if take is not None and not take.outcome:
            take.outcome, take.ended_ms = outcome, at_ms


_decoder = msgspec.json.Decoder(Reel)


def read_reel(state: str) -> Reel:
    """Return what the state of a job says."""
    return _decoder.decode(state)


def write_reel(reel: Reel) -> str:
    """Return it as the state of a job."""
    return msgspec.json.encode(reel).decode()


def trail_of(job: Job, reel: Reel) -> Trail:
    """Return the request that ordered a film, with its attempts, as it ends now."""
    at_ms, now = now_ms(), time.perf_counter()

    def moment(then_ms: int) -> float:
        return now - (at_ms - then_ms) / 1000

    trail = Trail(
        request_id=job.request_id,
        key_id=job.owner,
        dialect=DIALECT,
        at_ms=job.created_ms,
        began=moment(job.created_ms),
        model_asked=reel.model,
        reply_id=job.id,
        app_title=reel.app_title,
        app_url=reel.app_url,
        upstream_dialect=DIALECT if reel.takes else "",
        route=reel.route,
        price_version=reel.price_version,
        held_ticks=reel.hold.ticks,
    )
    for number, take in enumerate(reel.takes, start=1):
        trail.attempts.append(
            Attempt(
                number=number,
                upstream=take.upstream,
                account_id=take.account_id,
                model_sent=take.model_sent,
                at_ms=take.at_ms,
                began=moment(take.at_ms),
                first_event=moment(take.taken_ms) if take.taken_ms else 0.0,
                ended=moment(take.ended_ms or at_ms),
                outcome=take.outcome or ErrorKind.INTERNAL.value,
                status=take.status,
                model_served=take.model_sent if take.taken_ms else "",
                cost_ticks=take.cost_ticks,
                cost_source=take.cost_source,
                list_ticks=reel.list_ticks() if number == len(reel.takes) else 0,
            )
        )
    return trail


class Filmed:
    """A film job that is held here, with what its state says."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.reel = read_reel(held.job.state)
        self.is_deleted = False

    @property
    def age_s(self) -> float:
        """How long ago it was ordered."""
        return (now_ms() - self.held.job.created_ms) / 1000

    @property
    def idle_s(self) -> float:
        """How long ago it last changed."""
        return (now_ms() - self.held.job.updated_ms) / 1000

    async def save(self, *, request: bytes | None = None, **changes: Any) -> None:
        """Save the job with what is known of it now; see `Held.save`."""
        await self.held.save(request=request, state=write_reel(self.reel), **changes)

    def check_time(self, most_s: float) -> None:
        """Raise UPSTREAM_TIMEOUT when it has taken longer than that."""
        if self.age_s > most_s:
            message = "The film took longer than this gateway allows. Ask for it again."
            raise GroxyError(ErrorKind.UPSTREAM_TIMEOUT, message)

    def log_failure(self, log: Logger, account: Account | None, error: GroxyError) -> None:
        """Log that asking an account for it, or about it, failed."""
        log.info(
            "film attempt failed",
            job=self.held.job.id,
            account=account.id if account is not None else "",
            outcome=error.kind.value,
            detail=error.detail,
        )
