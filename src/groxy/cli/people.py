"""Users and plans as people name them on a command line: by id, by address, by name."""

from groxy.core.errors import GroxyError
from groxy.core.grants import Rates
from groxy.store.database import Database
from groxy.store.plans import StoredPlan, find_plan, list_plans
from groxy.store.users import User, find_by_email, find_user, no_such_user


async def user_named(database: Database, named: str) -> User:
    """Return the user with this id or address; raise NOT_FOUND."""
    if "@" not in named:
        return await find_user(database, named)
    user = await find_by_email(database, named)
    if user is None:
        raise no_such_user(named)
    return user


async def plan_named(database: Database, named: str) -> StoredPlan:
    """Return the plan with this id or name; raise NOT_FOUND."""
    try:
        return await find_plan(database, named)
    except GroxyError:
        for plan in await list_plans(database):
            if plan.name == named:
                return plan
        raise


def rates_text(rates: Rates | None) -> str:
    """Return rates in a few words; empty for none."""
    if rates is None:
        return ""
    parts = (
        (rates.requests, "requests/min"),
        (rates.tokens, "tokens/min"),
        (rates.concurrency, "at once"),
    )
    return ", ".join(f"{amount} {unit}" for amount, unit in parts if amount)
