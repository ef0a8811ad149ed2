"""Lanes: many small worlds in one gateway.

A lane is a model that only its own accounts list, in the order in which they are asked (each is in
a larger pool than the one before). So every test has fresh accounts without a gateway of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.e2e.running import Gateway, account_toml, poll
from tests.e2e.scripted import Seat, Upstream

POOLS = ("basic", "super", "heavy", "heavy")


@dataclass(frozen=True)
class Lane:
    """One model and the seats of its accounts."""

    model: str
    seats: Sequence[Seat]

    def accounts_toml(self) -> str:
        return "".join(
            account_toml(f"{self.model}-{number}", seat, pool=pool)
            for number, (seat, pool) in enumerate(zip(self.seats, POOLS, strict=False), 1)
        )

    @property
    def calls(self) -> list[int]:
        """How many calls each seat got."""
        return [len(seat.calls) for seat in self.seats]


def make_lanes(upstream: Upstream, count: int, *, seats: int = 2, name: str = "lane") -> list[Lane]:
    return [
        Lane(
            model=(model := f"{name}-{number}"),
            seats=[upstream.seat(f"{model}-{at}", (model,)) for at in range(1, seats + 1)],
        )
        for number in range(1, count + 1)
    ]


def wait_for_lists(gateway: Gateway, lanes: Sequence[Lane]) -> None:
    """Return once the gateway knows the model lists of all accounts of these lanes."""
    wanted = {lane.model for lane in lanes}

    def are_known() -> bool:
        listed = gateway.get("/v1/models", gateway.auth).json["data"]
        is_listed = wanted <= {model["id"] for model in listed}
        return is_listed and all(seat.lists for lane in lanes for seat in lane.seats)

    poll(are_known, within_s=20, what="knowing all model lists")


class Deal:
    """Hands out lanes, each once."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._left: Iterator[Lane] = iter(lanes)

    def one(self) -> Lane:
        return next(self._left)
