"""The bars that Groxy sets itself, and what a figure would be on the machine they were set on.

In: a figure, and how fast this machine is. Out: whether the bar is met, as measured and scaled.
The figure as measured is the judgement; the scaled one is an estimate that stands beside it.
"""

from dataclasses import dataclass
from enum import Enum

REFERENCE_BARE_RPS = 11_000
"""What a relay like `relay.py` did on the machine that the bars were set on.

Requests/s at 64 connections, the relay on one core. Source: this project's own measurement when it
chose the parts that Groxy is built from, and its bars with them; that skeleton did 8,700 on
Starlette, and 843 with httpx in place of aiohttp.
"""


class Scale(Enum):
    """How a figure follows the speed of a machine."""

    NONE = "none"
    """Not by the yardstick: memory, and whatever the bare relay has no part in."""
    RATE = "rate"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One promise."""

    limit: float
    is_floor: bool
    """True when figures must not be below it; else they must not be above."""
    scale: Scale = Scale.NONE

    @property
    def text(self) -> str:
        """How the table shows it."""
        if not self.limit:
            return "0"
        return f"{'≥' if self.is_floor else '≤'} {self.limit:,g}"

    def is_met(self, value: float) -> bool:
        """Return whether a figure keeps the promise."""
        return value >= self.limit if self.is_floor else value <= self.limit

    def scaled(self, value: float, speed: float) -> float | None:
        """Return what `value` would be on the reference machine; None when nothing says that.

        `speed` is how fast this machine is beside it, see `Yardstick`.
        """
        match self.scale:
            case Scale.NONE:
                return None
            case Scale.RATE:
                return value / speed
            case Scale.TIME:
                return value * speed


def at_most(limit: float, scale: Scale = Scale.NONE) -> Bar:
    """Return a bar for figures that should be small."""
    return Bar(limit=limit, is_floor=False, scale=scale)


def at_least(limit: float, scale: Scale = Scale.NONE) -> Bar:
    """Return a bar for figures that should be large."""
    return Bar(limit=limit, is_floor=True, scale=scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """How fast this machine is, as far as the bare relay tells."""

    bare_rps: float
    is_sure: bool
    """False when the bare relay could not show all of its speed."""

    @property
    def speed(self) -> float:
        """This machine's speed, the reference machine being 1."""
        return self.bare_rps / REFERENCE_BARE_RPS

    def judge(self, bar: Bar, value: float, digits: int) -> str:
        """Return the scaled judgement of a figure; empty when the bar knows no scale.

        A machine that seems slower than it is makes scaled figures too good, never too bad: then a
        "no" holds and a "yes" does not.
        """
        scaled = bar.scaled(value, self.speed)
        if scaled is None:
            return ""
        is_met = bar.is_met(scaled)
        said = verdict(is_met=is_met) if self.is_sure or not is_met else "unsure"
        return f"{said} ({scaled:,.{digits}f})"


def verdict(*, is_met: bool) -> str:
    """Return how the table says it."""
    return "yes" if is_met else "**no**"
