"""A tab: the prices, limits and money of one request, from before its first attempt to its end.

In: who asks, what for, and later what it cost. Out: leave to go on (or the error that says why
not), what a stream may use up, what the caller pays, and that nothing stays held. The prices are
those of the moment when the request came, whatever they become meanwhile. A tab is closed exactly
once: `settle` when the books have the request, `release` when they do not.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import PlanGrant
from groxy.core.media import ImageRequest, VideoRequest
from groxy.core.money import MediaPrice
from groxy.dialects._base import Asked, Dialect
from groxy.gateway.budget import Budget
from groxy.gateway.estimate import Quote, quote_of
from groxy.gateway.means import Means
from groxy.ledger.bill import Charge
from groxy.ledger.prices import charge_of
from groxy.ledger.trail import Trail
from groxy.policy.admission import Demand, Headers, Pass
from groxy.policy.keys import Caller
from groxy.policy.models import require_model

_USUAL_RESOLUTION = "1k"
_USUAL_QUALITY = "medium"
"""What xAI makes for who names nothing (docs.x.ai, release notes of 1.19, 2026-08)."""


class Tab:
    """See the module."""

    def __init__(self, means: Means, caller: Caller, trail: Trail) -> None:
        self._means = means
        self._caller = caller
        self.trail = trail
        self._quote: Quote | None = None
        self._pass: Pass | None = None
        self.tariff = means.prices.tariff(trail.at_ms)
        """The prices that hold for it."""
        self.adjusted: list[str] = []
        """What was changed in the request, so that it can be paid."""

    @property
    def headers(self) -> Headers:
        """What the reply tells of the caller's limits."""
        return self._pass.headers if self._pass is not None else []

    @property
    def expects_output(self) -> bool:
        """False for what has none by its nature, such as embeddings."""
        return self._quote is None or self._quote.output_tokens > 0

    # ------------------------------------------------------------------------------- the beginning

    def check_models(self, names: Sequence[str]) -> None:
        """Raise FORBIDDEN when the caller may not use one of them, as asked or as it stands for."""
        if not (self._caller.grant.models or self._caller.plan.grant.models):
            return
        for name in names:
            require_model(self._caller, self._means.router.names_of(name), spelled=name)

    def quote(self, dialect: Dialect, asked: Asked) -> Quote:
        """Return what a request for text may take and cost; raise FORBIDDEN for its model."""
        self.check_models((asked.model, *asked.fallbacks))
        return quote_of(
            self._means, dialect, asked, tariff=self.tariff, plan=self._caller.plan.grant
        )

    async def open_for_text(self, dialect: Dialect, asked: Asked) -> Asked:
        """Let a request for text pass; return it as it can be paid.

        Raises FORBIDDEN, RATE_LIMITED, NO_CREDITS, and BAD_REQUEST for a `max_cost` that is too
        little.
        """
        if asked.max_cost_ticks is None and not self._means.admission.bounds(self._caller):
            self.check_models((asked.model, *asked.fallbacks))
            self.trail.price_version = self.version_of(asked.model)
            return asked
        quote = self._quote = self.quote(dialect, asked)
        quote.check()
        await self._open(quote.demand, quote.price_version)
        return self._bounded(dialect, asked, quote)

    async def open_for_images(self, request: ImageRequest) -> None:
        """Let a request for pictures pass; raises as `open_for_text` does."""
        await self._open(self.demand_of_images(request), self.version_of(request.model))

    async def open_for_film(self, request: VideoRequest) -> None:
        """Let an order of a film pass; raises as `open_for_text` does."""
        await self._open(self.demand_of_film(request), self.version_of(request.model))

    async def _open(self, demand: Demand, price_version: str) -> None:
        self.trail.price_version = price_version
        self._pass = await self._means.admission.admit(self._caller, demand)
        self.trail.held_ticks = self._pass.held_ticks

    def demand_of_images(self, request: ImageRequest) -> Demand:
        """Return what pictures may cost: the dearest that the request may mean."""
        price = self.media_price(self._named(request.model))
        ticks = price_of_images(price, request, request.count, is_bound=True) or 0
        return self._demand(ticks, request.max_cost_ticks)

    def demand_of_film(self, request: VideoRequest) -> Demand:
        """Return what a film costs."""
        price = self.media_price(self._named(request.model))
        return self._demand(price_of_film(price, request), request.max_cost_ticks)

    def _demand(self, cost_ticks: int, max_ticks: int | None) -> Demand:
        ticks = self.charge_of(cost_ticks, cost_ticks)
        if max_ticks is not None and ticks > max_ticks:
            message = f"This costs up to {usd_text(ticks)} USD, which is more than `max_cost`."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="max_cost")
        return Demand(ticks=ticks)

    def _named(self, model: str) -> str:
        """Return what a model's name stands for; raise FORBIDDEN."""
        self.check_models([model])
        return self._means.router.base_name(model)

    def version_of(self, model: str) -> str:
        """Return the version of a model's price; empty where there is none."""
        priced = self.tariff.of(self._means.router.base_name(model))
        return priced.version if priced is not None else ""

    def media_price(self, model: str) -> MediaPrice | None:
        """Return what pictures and films of a model cost."""
        priced = self.tariff.of(model)
        return priced.media if priced is not None else None

    def _bounded(self, dialect: Dialect, asked: Asked, quote: Quote) -> Asked:
        """Return a request whose whole reply cannot cost more than is held; a stream can be cut."""
        held = self._pass.held_ticks if self._pass is not None and self._pass.is_metered else None
        if held is None:
            held = quote.max_ticks
        if held is None or not quote.prices:
            return asked
        tokens = min(quote.affordable(held), quote.output_tokens) // quote.choices
        is_whole = not self.trail.is_stream
        if quote.is_bounded and tokens * quote.choices >= quote.output_tokens:
            return asked
        if is_whole or held < quote.ticks():
            self.adjusted.append(f"output limited to {max(tokens, 1)} tokens")
            return dialect.bounded(asked, max(tokens, 1))
        return asked

    def budget(self) -> Budget | None:
        """Return what one stream may use up; None for what it likes."""
        if self._pass is None or self._quote is None:
            return None
        if not self._pass.is_metered and self._quote.max_ticks is None:
            return None
        return Budget(self._pass, self._quote, self._means.counter)

    # -------------------------------------------------------------------------------------- the end

    def charge_of(self, cost_ticks: int, list_ticks: int) -> int:
        """Return what the caller pays for what costs so much."""
        return charge_of(cost_ticks, list_ticks or None, self._caller.plan.grant)

    async def charge(self, *, is_owed: bool) -> Charge:
        """Return what the caller pays for what the trail says; never more than there is."""
        admitted, last = self._pass, self.trail.last
        if admitted is None or not admitted.is_metered or last is None or not is_owed:
            return Charge(user_id=self._caller.user_id)
        ticks = self.charge_of(last.cost_ticks, last.list_ticks)
        if ticks > admitted.held_ticks:
            # While nobody can tell what is left, what is held is charged, and not nothing.
            with suppress(GroxyError):
                await admitted.extend(ticks - admitted.held_ticks)
        self.trail.held_ticks = admitted.most_held_ticks
        return admitted.charge(ticks)

    @property
    def hold(self) -> Charge:
        """What is held now, as a job sets it aside."""
        admitted = self._pass
        if admitted is None or not admitted.is_metered:
            return Charge(user_id=self._caller.user_id)
        return admitted.charge(admitted.held_ticks)

    @property
    def plan(self) -> PlanGrant:
        """The caller's plan as it is now."""
        return self._caller.plan.grant

    async def settle(
        self, charge: Charge, balances: Mapping[str, tuple[int, int]] | None, *, is_owed: bool
    ) -> None:
        """Close it: the books have the request."""
        if self._pass is not None:
            await self._pass.settle(charge, self._tokens(is_owed=is_owed), balances)

    async def release(self) -> None:
        """Close it: the books do not have the request, and nothing is paid."""
        if self._pass is not None:
            await self._pass.release()

    def _tokens(self, *, is_owed: bool) -> int:
        last = self.trail.last
        return last.usage.total_tokens if last is not None and is_owed else 0


def price_of_images(
    price: MediaPrice | None, request: ImageRequest, count: int, *, is_bound: bool = False
) -> int | None:
    """Return what so many pictures of a request cost, in ticks; None where that is not known.

    With `is_bound` what the request leaves open is the dearest.
    """
    if price is None:
        return None
    resolution, quality = request.resolution, request.quality
    if not is_bound:
        resolution, quality = resolution or _USUAL_RESOLUTION, quality or _USUAL_QUALITY
    each = price.for_image(resolution=resolution, quality=quality)
    if each is None:
        return None
    return each * count + price.per_input_image * len(request.images)


def price_of_film(price: MediaPrice | None, request: VideoRequest) -> int:
    """Return what a film costs at most, in ticks."""
    each = price.for_second(resolution=request.resolution) if price is not None else None
    if price is None or each is None:
        return 0
    return each * request.duration_s + price.per_input_image * len(request.images)
