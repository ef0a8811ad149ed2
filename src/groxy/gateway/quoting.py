"""Quotes: what a request would hold and cost at most, without sending it anywhere.

In: a body as one of the endpoints takes it, and who asks. Out: the same sums that the pipeline
holds and charges by, for it is the same tab that adds them up. Nothing is held, counted or entered.
"""

from collections.abc import Mapping
from typing import Any

from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_request_id
from groxy.core.money import Price, TokenPrice
from groxy.dialects._base import Dialect
from groxy.dialects.images import read_images
from groxy.dialects.videos import read_film
from groxy.gateway.estimate import Quote
from groxy.gateway.means import Means
from groxy.gateway.tab import Tab
from groxy.ledger.trail import Trail
from groxy.policy.admission import Demand
from groxy.policy.keys import Caller

IMAGES, EDITS, VIDEOS = "images", "edits", "videos"


class Quoter:
    """Says what requests would cost; `dialects` are those of text, by name."""

    def __init__(self, means: Means, dialects: Mapping[str, Dialect]) -> None:
        self._means = means
        self._dialects = dialects

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of what can be quoted."""
        return (*self._dialects, IMAGES, EDITS, VIDEOS)

    async def quote(self, caller: Caller, endpoint: str, body: bytes) -> dict[str, Any]:
        """Return a quote for the caller; raises what the request itself would, but for money."""
        trail = Trail(request_id=new_request_id(), key_id=caller.key_id, dialect=endpoint)
        tab = Tab(self._means, caller, trail)
        dialect = self._dialects.get(endpoint)
        if dialect is not None:
            asked = dialect.decode_request(body)
            quote = tab.quote(dialect, asked)
            quote.check()
            shown = {"model": asked.model, "price_version": quote.price_version}
            return shown | _of_text(quote) | await self._of_money(caller, quote.demand)
        model, demand = self._of_media(tab, endpoint, body)
        shown = {"model": model, "price_version": tab.version_of(model)}
        return shown | await self._of_money(caller, demand)

    def _of_media(self, tab: Tab, endpoint: str, body: bytes) -> tuple[str, Demand]:
        if endpoint in (IMAGES, EDITS):
            images = read_images(body, is_edit=endpoint == EDITS).request
            return images.model, tab.demand_of_images(images)
        if endpoint == VIDEOS:
            film = read_film(body).request
            return film.model, tab.demand_of_film(film)
        message = f"`endpoint` must be one of {', '.join(self.endpoints)}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="endpoint")

    async def _of_money(self, caller: Caller, demand: Demand) -> dict[str, Any]:
        left = await self._means.admission.left(caller)
        needed = demand.ticks if demand.least_ticks < 0 else demand.least_ticks
        return {
            "currency": "USD",
            "hold": usd_text(demand.ticks),
            "hold_ticks": demand.ticks,
            "least_hold": usd_text(needed),
            "available": None if left is None else usd_text(left),
            "would_pass": left is None or needed <= left,
        }


def _of_text(quote: Quote) -> dict[str, Any]:
    return {
        "prompt_tokens": quote.prompt_tokens,
        "max_prompt_tokens": quote.prompt_bound,
        "max_output_tokens": quote.output_tokens,
        "expected_cost": usd_text(quote.expected(quote.prompt_tokens, quote.output_tokens)),
        "prices": [_price(price) for price in quote.prices],
        "markup_percent": usd_text(quote.plan.markup_bp * 10**8),
    }


def _price(price: Price) -> dict[str, Any]:
    written = _rates(price.base)
    if price.long is not None:
        written["long"] = {"from_tokens": price.long_from_tokens, **_rates(price.long)}
    return written


def _rates(rates: TokenPrice) -> dict[str, Any]:
    """Return prices in US dollars per million tokens."""
    return {
        "input": usd_text(rates.input),
        "cached_input": usd_text(rates.cached_input),
        "output": usd_text(rates.output),
    }
