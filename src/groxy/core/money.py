"""Money: integer ticks, never floats. One tick is 10^-10 US dollar, xAI's own billing unit.

In: usage and prices. Out: ticks. Must not know where a price is from, nor who pays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal

from groxy.core.usage import Usage

TICKS_PER_USD = 10_000_000_000
MAX_COST_TICKS = 2**53 - 1
"""Nothing costs more (900,000 US dollars): counts that come to more are nonsense, and computers
that know numbers as doubles, such as Redis and JavaScript, tell no larger ones apart."""
_TOKENS_PER_PRICE_UNIT = 1_000_000
_ROUNDING_UP = Context(rounding=ROUND_CEILING)


def ticks_from_usd(amount: Decimal) -> int:
    """Return `amount` dollars in ticks, rounded up so that a fraction is never given away."""
    ticks = _ROUNDING_UP.multiply(amount, Decimal(TICKS_PER_USD))
    return int(ticks.to_integral_value(rounding=ROUND_CEILING))


def usd_from_ticks(ticks: int) -> Decimal:
    """Return `ticks` in dollars, exactly."""
    return Decimal(ticks) / TICKS_PER_USD


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """Prices in ticks per million tokens."""

    input: int
    cached_input: int
    output: int
    reasoning: int | None = None
    """Of output that is reasoning; None: as other output."""

    @property
    def dearest_input(self) -> int:
        """What a token of input costs at most."""
        return max(self.input, self.cached_input)

    @property
    def dearest_output(self) -> int:
        """What a token of output costs at most."""
        return self.output if self.reasoning is None else max(self.output, self.reasoning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs: the plain prices, and those of long prompts where the model has them.

    The long prices apply to all tokens of a request whose input reaches `long_from_tokens`.
    """

    base: TokenPrice
    long: TokenPrice | None = None
    long_from_tokens: int = 0
    per_request: int = 0
    """Ticks, whatever the request uses."""
    per_tool_call: int = 0
    """Ticks, for each call of a tool that the upstream runs itself, such as its search."""

    def for_input(self, input_tokens: int) -> TokenPrice:
        """Return the prices that a request with so many input tokens pays."""
        if self.long is not None and input_tokens >= self.long_from_tokens:
            return self.long
        return self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPrice:
    """Prices of pictures and film, in ticks. What a table does not name costs its dearest row."""

    per_image: Mapping[str, int]
    """By `resolution/quality`, such as `1k/low`, or under `any`."""
    per_second: Mapping[str, int]
    """By resolution, such as `720p`, or under `any`."""
    per_input_image: int = 0

    def for_image(self, *, resolution: str = "", quality: str = "") -> int | None:
        """Return what one picture costs, or None for a model that makes no pictures."""
        return _fitting(self.per_image, f"{resolution}/{quality}")

    def for_second(self, *, resolution: str = "") -> int | None:
        """Return what one second of film costs, or None for a model that makes no film."""
        return _fitting(self.per_second, resolution)


def _fitting(prices: Mapping[str, int], key: str) -> int | None:
    return prices.get(key, prices.get("any", max(prices.values(), default=None)))


def cost_of(usage: Usage, price: Price) -> int:
    """Return what `usage` costs at `price`, in ticks, rounded up to a whole tick.

    Impossible counts are read as the nearest possible ones: a part is never more than its whole.
    At most `MAX_COST_TICKS`.
    """
    taken, made = max(usage.input_tokens, 0), max(usage.output_tokens, 0)
    cached = min(max(usage.cached_tokens, 0), taken)
    rates = price.for_input(taken)
    tokens = (taken - cached) * rates.input + cached * rates.cached_input + made * rates.output
    if rates.reasoning is not None:
        reasoning = min(max(usage.reasoning_tokens, 0), made)
        tokens += reasoning * (rates.reasoning - rates.output)
    beside = price.per_request + max(usage.tool_calls, 0) * price.per_tool_call
    return min(-(-tokens // _TOKENS_PER_PRICE_UNIT) + beside, MAX_COST_TICKS)
