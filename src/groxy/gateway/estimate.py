"""Estimates: what a request for text may take and cost at most, before anybody is asked.

In: a decoded request, the prices that hold for it, its caller's plan. Out: a `Quote`. The same
quote is held before the first attempt, answered by `/v1/quote`, and says when a stream has to end,
so that none of them can differ. Must not talk to anyone.

The prompt is counted with a margin, for Grok's vocabulary is not public and xAI puts a text of its
own before it. Output is what the caller allows, for each choice; who names nothing gets the
setting's `default_output_tokens`, and a purse that has less for as many as it can pay.
"""

from typing import cast

import msgspec
from msgspec.structs import force_setattr

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import PlanGrant
from groxy.core.money import Price, cost_of
from groxy.core.tokens import TokenCounter, input_tokens
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, CallersEnd, Dialect
from groxy.gateway.means import Means
from groxy.ledger.prices import Tariff, charge_of, upper_bound
from groxy.policy.admission import Demand

_MARGIN_PERCENT = 15
"""By how much Grok's own count of a prompt may be above ours."""
_HIDDEN_TOKENS = 1_000
"""Of the text that xAI puts before prompts: 680 tokens were seen at grok-4 (xai.md, 2026-11)."""
_CALLS_PER_TOOL = 10
"""How often each tool that the upstream runs itself may be called, for the bound."""
_LEAST_OUTPUT = 256
"""A reply that was not bounded by its caller gets at least so much, or is refused."""
_MOST_OUTPUT = 1_000_000
_SAMPLED_FROM = 100_000
"""Characters from which on a text is sampled."""
_SAMPLE, _SAMPLES = 8_000, 5


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may take and cost at most."""

    prompt_tokens: int
    """By estimate."""
    prompt_bound: int
    """The most that they are."""
    output_tokens: int
    """The most of all choices together."""
    choices: int
    is_bounded: bool
    """True when the caller named the bound of the output."""
    tool_calls: int
    prices: tuple[Price, ...]
    """Of the model, and of those that may take its place; () when no price is known."""
    price_version: str
    plan: PlanGrant
    max_ticks: int | None = None
    """What the caller is willing to pay at most."""
    most_ticks: int = -1
    """The most that the request may be charged, with all its output; worked out here."""

    def __post_init__(self) -> None:
        """Work out what is asked for again and again."""
        force_setattr(self, "most_ticks", self._ticks(self.output_tokens))

    def ticks(self, output_tokens: int | None = None) -> int:
        """Return the most that the request may be charged, with so much output."""
        return self.most_ticks if output_tokens is None else self._ticks(output_tokens)

    def _ticks(self, output: int) -> int:
        cost = 0
        for price in self.prices:
            bound = upper_bound(
                price,
                input_tokens=self.prompt_bound,
                output_tokens=output,
                tool_calls=self.tool_calls,
            )
            cost = max(cost, bound)
        return charge_of(cost, cost, self.plan)

    def expected(self, input_tokens: int, output_tokens: int) -> int:
        """Return what so many tokens would be charged at the price of the model asked for."""
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        cost = cost_of(usage, self.prices[0]) if self.prices else 0
        return charge_of(cost, cost, self.plan)

    def affordable(self, ticks: int) -> int:
        """Return how many output tokens, of all choices together, `ticks` pay for.

        Those of the quote if they pay for all of it, without a look whether there could be more.
        """
        if ticks == self.ticks():
            return self.output_tokens
        low, high = 0, _MOST_OUTPUT
        if self.ticks(high) <= ticks:
            return high
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.ticks(middle) <= ticks else (low, middle - 1)
        return low

    @property
    def demand(self) -> Demand:
        """What the request needs to pass."""
        ticks, least = self.ticks(), -1
        if not self.prices:
            # Nobody knows what it costs, but it may be billed: who has nothing left is refused.
            return Demand(tokens=self.prompt_tokens, ticks=charge_of(1, 1, self.plan))
        if not self.is_bounded:
            least = self.ticks(min(_LEAST_OUTPUT * self.choices, self.output_tokens))
        if self.max_ticks is not None and ticks > self.max_ticks:
            ticks, least = self.max_ticks, min(least, self.max_ticks)
        return Demand(tokens=self.prompt_tokens, ticks=ticks, least_ticks=least)

    def check(self) -> None:
        """Raise BAD_REQUEST when `max_cost` does not even pay for the prompt."""
        if self.max_ticks is not None and self.prices and self.ticks(1) > self.max_ticks:
            message = "`max_cost` is less than the prompt alone may cost. Allow more, or send less."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="max_cost")


def quote_of(
    means: Means, dialect: Dialect, asked: Asked, *, tariff: Tariff, plan: PlanGrant
) -> Quote:
    """Return what a request may take and cost at most, whichever of its models serves it."""
    prompt = _prompt_tokens(dialect, asked, means.counter)
    bound = dialect.bound_of(asked)
    output = means.limits.default_output_tokens if bound.max_tokens is None else bound.max_tokens
    models = [means.router.base_name(name) for name in (asked.model, *asked.fallbacks)]
    priced = [one for one in map(tariff.of, models) if one is not None]
    return Quote(
        prompt_tokens=prompt,
        prompt_bound=prompt + prompt * _MARGIN_PERCENT // 100 + _HIDDEN_TOKENS,
        output_tokens=min(output, _MOST_OUTPUT) * bound.choices,
        choices=bound.choices,
        is_bounded=bound.max_tokens is not None,
        tool_calls=bound.server_tools * _CALLS_PER_TOOL,
        prices=tuple(one.price for one in priced if one.price is not None),
        price_version=priced[0].version if priced else "",
        plan=plan,
        max_ticks=asked.max_cost_ticks,
    )


class _Sampling:
    """Counts long texts by samples: a megabyte would take ten milliseconds."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    def count(self, text: str) -> int:
        """Return how many tokens a text takes, roughly."""
        if len(text) <= _SAMPLED_FROM:
            return self._counter.count(text)
        step = (len(text) - _SAMPLE) // (_SAMPLES - 1)
        samples = [text[at * step : at * step + _SAMPLE] for at in range(_SAMPLES)]
        counted = sum(map(self._counter.count, samples))
        return counted * len(text) // (_SAMPLE * _SAMPLES)


def _prompt_tokens(dialect: Dialect, asked: Asked, counter: TokenCounter) -> int:
    counter = _Sampling(counter)
    if dialect.carriers != (dialect.name,):
        try:
            return input_tokens(cast("CallersEnd", dialect).canonical(asked), counter)
        except GroxyError:
            pass  # What only this dialect can say is relayed, and its text is counted.
    return max(counter.count(dialect.prompt_text(asked)), 1)
