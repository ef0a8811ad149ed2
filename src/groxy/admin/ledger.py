"""GET /admin/api/ledger and /ledger/verify: what the books add up to, and whether they do.

In: nothing. Out: sums of all sides in US dollars, as text, with the margin; the findings of a
verification. Both read all entries: some seconds for a million.
"""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from groxy.admin.desk import Desk
from groxy.core.amounts import usd_text
from groxy.store.ledger import COSTS, SALES, sides_of
from groxy.store.verification import verify


class Sums(BaseModel):
    """What the books add up to, in US dollars."""

    sides: dict[str, str] = Field(
        description="What each side got less what it gave; their sum is 0. `users` is what all "
        "users have."
    )
    sales: str = Field(description="What callers were charged.")
    costs: str = Field(description="What upstreams cost.")
    margin: str = Field(description="Sales less costs.")


class FindingShown(BaseModel):
    """Something that does not add up."""

    rule: str = Field(description="The sentence that should hold.")
    count: int
    examples: list[str]


class VerifiedShown(BaseModel):
    """What a verification came to."""

    is_right: bool
    entries: int
    requests: int
    balances: int
    findings: list[FindingShown]


def router(desk: Desk) -> APIRouter:
    """Return the endpoints."""
    api = APIRouter(tags=["ledger"])

    @api.get("/ledger", summary="What the books add up to")
    async def sums() -> Sums:
        sides = await sides_of(desk.database)
        sales, costs = sides.get(SALES, 0), -sides.get(COSTS, 0)
        return Sums(
            sides={name: usd_text(ticks) for name, ticks in sides.items()},
            sales=usd_text(sales),
            costs=usd_text(costs),
            margin=usd_text(sales - costs),
        )

    @api.get("/ledger/verify", summary="Prove that the books add up")
    async def verified() -> VerifiedShown:
        found = await verify(desk.database)
        return VerifiedShown(
            is_right=not found.findings,
            entries=found.entries,
            requests=found.requests,
            balances=found.balances,
            findings=[
                FindingShown(rule=one.rule, count=one.count, examples=list(one.examples))
                for one in found.findings
            ],
        )

    return api
