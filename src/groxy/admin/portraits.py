"""Accounts as operators see them.

In: accounts of the directory, and what the store counted of them. Out: `Token`s without secrets.
Times are unix milliseconds.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from groxy.admin.desk import Desk
from groxy.admin.selection import slices
from groxy.admin.token_answers import NO_QUOTA, Cooling, ModelRest, Quota, Token
from groxy.admin.token_shapes import MODES
from groxy.core.quota import QuotaWindow
from groxy.routing.account import Account, Status, Tally as OwnTally
from groxy.store.standings import Tally, tallies_of

_NO_TALLY = Tally(account_id="")
_AT_A_TIME = 200


async def tokens_of(desk: Desk, accounts: Sequence[Account]) -> list[Token]:
    """Return accounts as they are shown."""
    counted = await tallies_of(desk.database, [account.id for account in accounts])
    now = desk.directory.now()
    tokens: list[Token] = []
    async for part in slices(accounts, _AT_A_TIME):
        tokens += [token_of(one, counted.get(one.id, _NO_TALLY), now) for one in part]
    return tokens


async def token_alone(desk: Desk, account: Account) -> Token:
    """Return one account as it is shown."""
    return (await tokens_of(desk, [account]))[0]


def token_of(account: Account, counted: Tally, now: float) -> Token:
    """Return an account as it is shown; `counted` is what the store has of it."""
    terms, status = account.terms, account.status(now)
    return Token(
        token=account.hint,
        id=account.id,
        name=account.name,
        upstream=account.upstream.name,
        origin=account.origin,
        base_url=account.upstream.address(account.credentials),
        proxy=host_of(account.proxy_url),
        pool=account.pool.value,
        status=status.value,
        reason=_reason(account, status),
        since=_ms(account.standing_since) if account.standing is status else None,
        cooling=_cooling(account, status, now),
        quota=_quota(account, now),
        **_counts(account.tally, counted),
        tags=list(terms.tags),
        weight=terms.weight,
        priority=terms.priority,
        max_in_flight=terms.max_in_flight,
        models=list(terms.models),
        rpm=terms.rpm,
        tpm=terms.tpm,
        quotas=terms.quotas,
        in_flight=account.in_flight + account.elsewhere.in_flight,
        health=round(account.health, 3),
        latency_ms=round(account.first_event_s * 1000) or None,
        tokens_per_s=round(account.tokens_per_s, 1) or None,
        price_ratio=round(account.price_ratio, 3),
        checked_at=_ms(account.checked_at),
        note=account.note,
        listed_models=None if account.models is None else len(account.models),
    )


def _counts(here: OwnTally, counted: Tally) -> dict[str, Any]:
    """Return counts of the store and those that this process has not written yet."""
    return {
        "use_count": counted.uses + here.uses,
        "fail_count": counted.failures + here.failures,
        "token_count": counted.tokens + here.tokens,
        "cost_ticks": counted.cost_ticks + here.cost_ticks,
        "last_used_at": max(counted.last_used_ms, int(here.last_used * 1000)) or None,
        "last_failed_at": max(counted.last_failed_ms, int(here.last_failed * 1000)) or None,
        "last_error": here.last_error or counted.last_error,
    }


def host_of(proxy_url: str) -> str:
    """Return host and port of a proxy: its URL may have a password in it."""
    try:
        return urlsplit(proxy_url).netloc.rpartition("@")[2]
    except ValueError:  # an address that is none
        return ""


def _ms(at: float) -> int | None:
    return int(at * 1000) if at and isfinite(at) else None


def _reason(account: Account, status: Status) -> str:
    if account.standing_reason and account.standing is status:
        return account.standing_reason
    rests = status is Status.COOLING and account.rest_reason is not None
    return account.rest_reason.value if rests and account.rest_reason else ""


def _cooling(account: Account, status: Status, now: float) -> Cooling | None:
    models = [
        ModelRest(model=model, until=_ms(rest.until) or 0, reason=rest.reason.value)
        for model, rest in sorted(account.model_rests.items())
        if now < rest.until
    ]
    if status is Status.COOLING:
        until = _ms(account.rest_until) if now < account.rest_until else None
        return Cooling(until=until, reason=_reason(account, status), models=models)
    if models and status is Status.ACTIVE:
        return Cooling(until=None, reason="", models=models)
    return None


def _quota(account: Account, now: float) -> dict[str, Quota]:
    known = {mode: _window(window, now) for mode, window in sorted(account.windows.items())}
    return {mode: known.pop(mode, NO_QUOTA) for mode in MODES} | known


def _window(window: QuotaWindow, now: float) -> Quota:
    # Routing makes a window full again when it next looks at it; who asks in between sees that too.
    is_over = 0.0 < window.reset_at <= now
    return Quota(
        remaining=window.total if is_over else window.remaining,
        total=window.total,
        window_seconds=window.window_s or None,
        reset_at=None if is_over else _ms(window.reset_at),
        synced_at=_ms(window.synced_at),
        source=window.source.value,
    )
