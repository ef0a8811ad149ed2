"""Money: integer ticks, never floats. One tick is 10^-10 US dollar, xAI's own billing unit."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal

from groxy.core.usage import Usage

TICKS_PER_USD = 10_000_000_000
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
    """Prices in ticks per million tokens. Reasoning is billed as output."""

    input: int
    cached_input: int
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs: the plain prices, and those of long prompts where the model has them.

    The long prices apply to all tokens of a request whose input reaches `long_from_tokens`.
    """

    base: TokenPrice
    long: TokenPrice | None = None
    long_from_tokens: int = 0

    def for_input(self, input_tokens: int) -> TokenPrice:
        """Return the prices that a request with so many input tokens pays."""
        if self.long is not None and input_tokens >= self.long_from_tokens:
            return self.long
        return self.base


def cost_of(usage: Usage, price: Price) -> int:
    """Return what `usage` costs at `price`, in ticks, rounded up to a whole tick."""
    rates = price.for_input(usage.input_tokens)
    total = (
        (usage.input_tokens - usage.cached_tokens) * rates.input
        + usage.cached_tokens * rates.cached_input
        + usage.output_tokens * rates.output
    )
    return -(-total // _TOKENS_PER_PRICE_UNIT)
