"""Plans: list, make, show, change, delete, choose the default one.

In: requests of operators. Out: plans. What a plan does to a request is policy's business.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from groxy.admin.access import Actor
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.grant_shapes import (
    PLAN_FIELDS,
    PlanChangeGiven,
    PlanGiven,
    RatesTold,
    StepTold,
    told_rates,
    told_steps,
)
from groxy.admin.shapes import Success, Told
from groxy.core.grants import PlanGrant
from groxy.store.plans import (
    StoredPlan,
    create_plan,
    delete_plan,
    find_plan,
    list_plans,
    update_plan,
)


class PlanTold(Told):
    """A plan."""

    id: str = Field(examples=["plan_0123456789abcdef01234567"])
    name: str
    is_default: bool = Field(description="True: users without a plan of their own have it.")
    user_rates: RatesTold
    key_rates: RatesTold
    rates: RatesTold
    models: list[str]
    markup_bp: int = Field(description="In hundredths of a percent.", examples=[2000])
    basis: str = Field(examples=["bill"])
    steps: list[StepTold]
    created_at: int


class PlanList(Told):
    """Every plan, oldest first."""

    plans: list[PlanTold]


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints below /plans."""
    routes = APIRouter(tags=["plans"])
    _look(routes, desk)
    _change(routes, desk, auditor)
    _settle(routes, desk, auditor)
    return routes


def _look(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/plans", summary="List plans")
    async def get_plans() -> PlanList:
        return PlanList(plans=[_plan_told(plan) for plan in await list_plans(desk.database)])

    @routes.get("/plans/{plan_id}", summary="Show one plan")
    async def get_plan(plan_id: str) -> PlanTold:
        return _plan_told(await find_plan(desk.database, plan_id))


def _change(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.post("/plans", summary="Make a plan")
    async def add_plan(given: PlanGiven, actor: Actor) -> PlanTold:
        plan = await create_plan(
            desk.database,
            name=given.name,
            grant=given.read(PlanGrant()),
            is_default=given.is_default,
        )
        await desk.reload()
        await auditor.note(actor, "plan.add", plan.id, after=_audited(plan))
        return _plan_told(plan)

    @routes.patch("/plans/{plan_id}", summary="Change a plan")
    async def change_plan(plan_id: str, given: PlanChangeGiven, actor: Actor) -> PlanTold:
        """What is left out stays as it is; lists and rates are replaced as a whole."""
        sent = given.model_fields_set
        changes: dict[str, object] = {"name": given.name} if "name" in sent else {}
        if sent & PLAN_FIELDS:
            changes["grant"] = given.read
        if not changes:
            return _plan_told(await find_plan(desk.database, plan_id))
        before, plan = await update_plan(desk.database, plan_id, changes)
        await desk.reload()
        await auditor.note(
            actor, "plan.change", plan.id, before=_audited(before), after=_audited(plan)
        )
        return _plan_told(plan)


def _settle(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.post("/plans/{plan_id}/default", summary="Make a plan the default one")
    async def make_default(plan_id: str, actor: Actor) -> PlanTold:
        before = [one.id for one in await list_plans(desk.database) if one.is_default]
        _, plan = await update_plan(desk.database, plan_id, {"is_default": True})
        await desk.reload()
        await auditor.note(
            actor, "plan.default", plan.id, before={"default": before}, after={"default": plan.id}
        )
        return _plan_told(plan)

    @routes.delete("/plans/{plan_id}", summary="Delete a plan that no user has")
    async def remove_plan(plan_id: str, actor: Actor) -> Success:
        before = await find_plan(desk.database, plan_id)
        await delete_plan(desk.database, before.id)
        await desk.reload()
        await auditor.note(actor, "plan.delete", before.id, before=_audited(before))
        return Success()


def _plan_told(plan: StoredPlan) -> PlanTold:
    grant = plan.grant
    return PlanTold(
        id=plan.id,
        name=plan.name,
        is_default=plan.is_default,
        user_rates=told_rates(grant.user_rates),
        key_rates=told_rates(grant.key_rates),
        rates=told_rates(grant.rates),
        models=list(grant.models),
        markup_bp=grant.markup_bp,
        basis=grant.basis,
        steps=told_steps(grant.steps),
        created_at=plan.created_ms,
    )


def _audited(plan: StoredPlan) -> Mapping[str, Any]:
    return _plan_told(plan).model_dump(exclude={"id"})
