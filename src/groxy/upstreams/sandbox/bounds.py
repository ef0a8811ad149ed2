"""A number for a JSON Schema: within minimum, maximum and their exclusive forms, on multipleOf.

In: the words of a schema. Out: a number, one where that is allowed, or `NoNumberError`. Counts in
fractions, so that a step of 0.1 is not off by a hair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil, floor
from typing import Any

_LARGEST = 2**63 - 1
"""JSON writers refuse larger whole numbers."""


class NoNumberError(ValueError):
    """No number fits."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a number may lie; None where there is no bound."""

    low: Fraction | None
    high: Fraction | None
    above: Fraction | None
    below: Fraction | None
    step: Fraction | None

    @classmethod
    def of(cls, schema: Mapping[str, Any], *, whole: bool) -> "Bounds":
        """Read the words of a schema; a true exclusiveMinimum is the fourth draft's way."""
        low, high = as_fraction(schema.get("minimum")), as_fraction(schema.get("maximum"))
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        step = as_fraction(schema.get("multipleOf"))
        if step is not None and step <= 0:
            step = None
        if whole:
            step = Fraction(1) if step is None else Fraction(step.numerator)
        return cls(
            low,
            high,
            low if above is True else as_fraction(above),
            high if below is True else as_fraction(below),
            step,
        )

    def allow(self, value: Fraction) -> bool:
        """True when `value` fits."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.step is None or (value / self.step).denominator == 1)
        )


def number_for(schema: Mapping[str, Any], *, whole: bool, nth: int = 0) -> int | float:
    """Return a number that fits; another one for each `nth`."""
    bounds = Bounds.of(schema, whole=whole)
    value = _between(bounds, nth) if bounds.step is None else _on_step(bounds, bounds.step, nth)
    if bounds.allow(value):
        if value.denominator == 1 and abs(value) <= _LARGEST:
            return int(value)
        if not whole and bounds.allow(Fraction(Decimal(repr(float(value))))):
            return float(value)
    raise NoNumberError("a number has bounds that leave no room")


def as_fraction(value: object) -> Fraction | None:
    """Return a JSON number as it was written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return Fraction(Decimal(repr(value)))
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _on_step(bounds: Bounds, step: Fraction, nth: int) -> Fraction:
    """Return the nth multiple of `step`: from the plainest up, and from there down when full."""
    lows = [ceil(bounds.low / step)] if bounds.low is not None else []
    lows += [floor(bounds.above / step) + 1] if bounds.above is not None else []
    highs = [floor(bounds.high / step)] if bounds.high is not None else []
    highs += [ceil(bounds.below / step) - 1] if bounds.below is not None else []
    first = max([*lows, min([*highs, ceil(1 / step)])])
    room = min(highs) - first if highs else nth
    return (first + nth if nth <= room else first - (nth - room)) * step


def _between(bounds: Bounds, nth: int) -> Fraction:
    """Return the nth number where any fraction will do."""
    low = max((end for end in (bounds.low, bounds.above) if end is not None), default=None)
    high = min((end for end in (bounds.high, bounds.below) if end is not None), default=None)
    plain = [Fraction(1), Fraction(0)]
    if low is not None:
        plain += [low, (low + high) / 2 if high is not None else low + 1]
    if high is not None:
        plain += [high, high - 1]
    first = next((value for value in plain if bounds.allow(value)), plain[-1])
    if not nth or high is None:
        return first + nth
    if low is None:
        return first - nth
    return first + (high - first if first < high else low - first) / (nth + 1)
