"""Explaining a route: for each account whether it can serve a model, and what stands against it.

In: accounts and what is sought. Out: a `Verdict` on each. The same rules that choose accounts say
why they are not chosen; none is written twice. It must not send or change anything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from groxy.routing.account import Account, Status
from groxy.routing.candidate import (
    Sought,
    Target,
    candidates_among,
    faults_of,
    pools_of,
    target_of,
)
from groxy.routing.choice import stands_against


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of one account for one request."""

    account_id: str
    name: str
    upstream: str
    pool: str
    can: bool
    """It could serve now."""
    why_not: tuple[str, ...] = ()
    """Words for what stands against it, such as `wrong_pool`, `not_listed`, `cooling`, `rpm`."""
    dialect: str = ""
    """In which it would be asked; empty when it cannot be asked at all."""
    model_sent: str = ""
    score: float = 0.0
    """Among others that can: the less the better."""
    until: float | None = None
    """When what stands against it is over, in unix seconds; None when that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What becomes of a request, and what each account has to do with it."""

    model: str
    served: bool
    refusal: str
    """What the caller would be told; empty when it would be served."""
    order: tuple[str, ...]
    """The accounts that would be asked now, best first, by id."""
    verdicts: Iterable[Verdict]
    """One for each account, worked out as they are asked for: there may be very many."""


def verdicts_on(
    accounts: Iterable[Account], sought: Sought, now: float, kept: frozenset[str] | None
) -> Iterator[Verdict]:
    """Yield a verdict on each account; `kept` are those that the caller's wishes leave, if any."""
    target = target_of(sought.model)
    pools = pools_of(sought.model, sought.carriers)
    for account in accounts:
        faults = ["wrong_capability"] if not pools else []
        if pools and account.pool not in pools:
            faults.append("wrong_pool")
        faults += faults_of(account, sought)
        if not faults and kept is not None and account.id not in kept:
            faults.append("excluded_by_caller")
        yield _verdict(account, faults, sought, target, now)


def _verdict(
    account: Account, faults: list[str], sought: Sought, target: Target, now: float
) -> Verdict:
    candidate = next(candidates_among([account], sought, target), None)
    until = None
    if candidate is not None:
        against = stands_against(candidate, now)
        if against:
            faults = [*faults, against]
            free_at = account.free_at(candidate.model_sent, target.mode, now)
            until = free_at if now < free_at < float("inf") else None
    elif account.status(now) in (Status.DISABLED, Status.EXPIRED):
        faults = [*faults, account.status(now).value]
    return Verdict(
        account_id=account.id,
        name=account.name,
        upstream=account.upstream.name,
        pool=account.pool.value,
        can=not faults or faults == ["doubtful"],
        why_not=tuple(faults),
        dialect="" if candidate is None else candidate.dialect,
        model_sent="" if candidate is None else candidate.model_sent,
        score=account.badness(target.mode, now),
        until=until,
    )
