"""What the last days would have cost at another price, and how bills differ from the list.

In: sums of the books (`store/price_checks.py`), a price, plans. Out: what operators read. It uses
the same arithmetic that charges; of many requests at once, so that a fraction of a tick a request
may be missing. Nothing is changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from groxy.admin.shapes import Told
from groxy.core.amounts import usd_text
from groxy.core.grants import PlanGrant
from groxy.core.money import Price, TokenPrice, cost_of
from groxy.core.usage import Usage
from groxy.ledger.prices import BY_LIST, PriceBook, charge_of
from groxy.store.plans import StoredPlan
from groxy.store.price_checks import Billed, Used

MAX_USERS = 200
"""How many users a preview names: those for whom it makes the greatest difference."""


class Effect(Told):
    """What somebody was charged, and would have been."""

    requests: int
    charged_usd: str = Field(description="As it is in the books.", examples=["12.5"])
    would_charge_usd: str = Field(examples=["13.75"])
    difference_usd: str = Field(description="Negative: less than before.", examples=["1.25"])


class PlanEffect(Effect):
    """Of all users of a plan."""

    plan_id: str = Field(description="Empty: users without a plan, and keys of nobody.")
    plan: str
    users: int


class UserEffect(Effect):
    """Of all keys of a user."""

    user_id: str = Field(description="Empty: keys of nobody.")
    plan_id: str
    keys: int


class Preview(Effect):
    """What a price would have changed."""

    model: str
    days: int
    keys: int = Field(description="Keys that used the model in these days.")
    list_usd: str | None = Field(
        description="What the new price asks for all of it, whoever pays. Null: it prices no "
        "tokens, and what pictures and films would have cost is not known."
    )
    cost_usd: str = Field(description="What it did cost.")
    plans: list[PlanEffect]
    users: list[UserEffect] = Field(description=f"At most {MAX_USERS}, most affected first.")


class DriftLine(Told):
    """One model."""

    model: str
    attempts: int = Field(description="Attempts that were billed, and that the list prices.")
    billed_usd: str
    list_usd: str = Field(description="What the list asks for the same attempts.")
    difference_usd: str = Field(description="Negative: the upstream bills less than the list.")
    percent: str | None = Field(description="Of the list.", examples=["-12.34"])
    unlisted: int = Field(description="Attempts that were billed while the list had no price.")
    unlisted_usd: str


class Drift(Told):
    """Bills against the list, the largest difference first."""

    days: int
    models: list[DriftLine]


@dataclass(slots=True)
class _Sum:
    """What is added up of some keys."""

    plan_id: str = ""
    requests: int = 0
    charged: int = 0
    would: int = 0
    keys: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)

    def add(self, row: Used, would: int) -> None:
        self.requests += row.requests
        self.charged += row.charge_ticks
        self.would += would
        self.keys.add(row.key_id)
        self.users.add(row.user_id)

    def told(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "charged_usd": usd_text(self.charged),
            "would_charge_usd": usd_text(self.would),
            "difference_usd": usd_text(self.would - self.charged),
        }


class Plans:
    """Which plan's terms hold for whom."""

    def __init__(self, plans: Iterable[StoredPlan]) -> None:
        self._by_id: Mapping[str, StoredPlan] = {plan.id: plan for plan in plans}
        self._default = next((plan for plan in self._by_id.values() if plan.is_default), None)

    def of(self, row: Used) -> StoredPlan | None:
        """Return the plan of a row's user; None for a key of nobody, which has none."""
        if not row.user_id:
            return None
        return self._by_id.get(row.plan_id) or self._default

    def name(self, plan_id: str) -> str:
        """Return a plan's name."""
        plan = self._by_id.get(plan_id)
        return plan.name if plan is not None else ""


def preview_of(
    rows: Sequence[Used], price: Price | None, plans: Plans, *, model: str, days: int
) -> Preview:
    """Return what `price` would have changed for what was used."""
    whole, by_plan, by_user = _Sum(), dict[str, _Sum](), dict[str, _Sum]()
    listed = 0
    for row in rows:
        plan = plans.of(row)
        plan_id = plan.id if plan is not None else ""
        asked = None if price is None else _list_ticks(row, price)
        listed += asked or 0
        would = _charge(row, asked, plan.grant if plan is not None else PlanGrant())
        whole.add(row, would)
        by_plan.setdefault(plan_id, _Sum(plan_id)).add(row, would)
        by_user.setdefault(row.user_id, _Sum(plan_id)).add(row, would)
    return Preview(
        model=model,
        days=days,
        keys=len(whole.keys),
        list_usd=None if price is None else usd_text(listed),
        cost_usd=usd_text(sum(row.cost_ticks for row in rows)),
        plans=[
            PlanEffect(
                plan_id=name, plan=plans.name(name), users=len(one.users - {""}), **one.told()
            )
            for name, one in _most_affected(by_plan)
        ],
        users=[
            UserEffect(user_id=name, plan_id=one.plan_id, keys=len(one.keys), **one.told())
            for name, one in _most_affected(by_user)[:MAX_USERS]
        ],
        **whole.told(),
    )


def _most_affected(sums: Mapping[str, _Sum]) -> list[tuple[str, _Sum]]:
    return sorted(sums.items(), key=lambda item: (-abs(item[1].would - item[1].charged), item[0]))


def _list_ticks(row: Used, price: Price) -> int:
    """Return what a price asks for the requests of a row, which are all long or all short."""
    rates: TokenPrice = price.base
    if row.is_long and price.long is not None:
        rates = price.long
    usage = Usage(
        input_tokens=row.input_tokens,
        cached_tokens=row.cached_tokens,
        output_tokens=row.output_tokens,
        reasoning_tokens=row.reasoning_tokens,
    )
    return cost_of(usage, Price(base=rates)) + price.per_request * row.requests


def _charge(row: Used, list_ticks: int | None, plan: PlanGrant) -> int:
    """Return what would have been charged. Where a bill decides, the list changes nothing."""
    is_by_bill = row.is_billed and plan.basis != BY_LIST
    is_free = not row.user_id and not row.charge_ticks  # a key of nobody without a cap
    if list_ticks is None or is_by_bill or is_free:
        return row.charge_ticks
    return charge_of(list_ticks, list_ticks, plan)


def drift_of(rows: Sequence[Billed], book: PriceBook, days: int) -> Drift:
    """Return how bills differ from the list, by the model that the list has the price of."""
    sums: dict[str, list[int]] = {}
    for row in rows:
        known = sums.setdefault(book.names_of(row.model)[0], [0] * len(row[1:]))
        for place, value in enumerate(row[1:]):
            known[place] += value
    lines = [_drift_line(Billed(model, *values)) for model, values in sums.items()]
    lines.sort(key=lambda one: (-abs(one[0]), one[1].model))
    return Drift(days=days, models=[line for _, line in lines])


def _drift_line(one: Billed) -> tuple[int, DriftLine]:
    difference = one.billed_ticks - one.list_ticks
    line = DriftLine(
        model=one.model,
        attempts=one.attempts,
        billed_usd=usd_text(one.billed_ticks),
        list_usd=usd_text(one.list_ticks),
        difference_usd=usd_text(difference),
        percent=_percent(difference, one.list_ticks),
        unlisted=one.unlisted,
        unlisted_usd=usd_text(one.unlisted_ticks),
    )
    return difference, line


def _percent(part: int, whole: int) -> str | None:
    """Return how many percent that is, to two digits, without a float."""
    if whole <= 0:
        return None
    hundredths = (abs(part) * 20_000 + whole) // (2 * whole)
    sign = "-" if part < 0 and hundredths else ""
    return f"{sign}{hundredths // 100}.{hundredths % 100:02d}"
