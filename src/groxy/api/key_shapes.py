"""Keys as their owners write and read them: OpenRouter's shape, and a few fields of ours.

In: bodies. Out: grants, and keys as JSON. Facts: OpenRouterTeam/docs, openapi.yaml, August 2026.
OpenRouter caps a key's spending once, for a day, a week, a month or in all; ours may have several
caps, set by the operator: then that is shown which leaves least. Amounts are written exactly:
no float is made of any.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from groxy.core.amounts import read_usd, usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, Rates
from groxy.core.moments import moment_text, read_moment
from groxy.policy.bounds import read_count
from groxy.policy.grants import MAX_CONCURRENCY, MAX_RATE, checked_key_grant
from groxy.policy.outlays import Outlay
from groxy.store.keys import StoredKey

_PERIODS = {"daily": "day", "weekly": "week", "monthly": "month", None: "total"}
_RESETS = {period: reset for reset, period in _PERIODS.items()}
_RATES = {"rpm": "requests", "tpm": "tokens", "concurrency": "concurrency"}
"""Fields of ours, and what they are called in a grant."""
_NULL = b"null"
Reset = Literal["daily", "weekly", "monthly"]


class _Bounds(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    limit: Raw | UnsetType = UNSET
    limit_reset: Reset | UnsetType | None = UNSET
    include_byok_in_limit: bool | UnsetType = UNSET
    """There are no keys of others here, so it means nothing; OpenRouter's clients send it."""
    expires_at: str | UnsetType | None = UNSET
    models: list[str] | UnsetType = UNSET
    endpoints: list[str] | UnsetType = UNSET
    ips: list[str] | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    rpm: Raw | UnsetType = UNSET
    tpm: Raw | UnsetType = UNSET
    concurrency: Raw | UnsetType = UNSET


class NewKey(_Bounds, forbid_unknown_fields=True, kw_only=True):
    """A key to be made."""

    name: str
    is_provisioning: bool = False


class KeyChange(_Bounds, forbid_unknown_fields=True, kw_only=True):
    """Changes of a key."""

    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class Rotation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How a key gets another secret."""

    grace_s: Raw | UnsetType = UNSET


def read_grant(given: NewKey | KeyChange, before: KeyGrant, plan_rates: Rates) -> KeyGrant:
    """Return the grant that the one before becomes with what was sent.

    `plan_rates` are the plan's for each key: the owner may ask for less, and not for more.
    """
    changes: dict[str, Any] = {}
    for name in ("models", "endpoints", "ips", "tags"):
        texts = getattr(given, name)
        if texts is not UNSET:
            changes[name] = tuple(texts)
    if given.limit is not UNSET or given.limit_reset is not UNSET:
        changes["caps"] = _caps(given, before.caps)
    if any(getattr(given, name) is not UNSET for name in _RATES):
        changes["rates"] = _rates(given, before.rates, plan_rates)
    return checked_key_grant(msgspec.structs.replace(before, **changes))


def read_expiry(text: str | None, now_ms: int) -> int | None:
    """Return when a key expires, in unix milliseconds; raise BAD_REQUEST for what is over."""
    if text is None:
        return None
    at_ms = read_moment(text, "expires_at")
    if at_ms <= now_ms:
        message = "`expires_at` must be in the future."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="expires_at")
    return at_ms


def _caps(given: NewKey | KeyChange, before: Caps) -> Caps:
    shown = _shown_period(before, before)
    ticks = None if shown is None else getattr(before, shown)
    period = shown or "total"
    if given.limit_reset is not UNSET:
        period = _PERIODS[given.limit_reset]
    if given.limit is not UNSET:
        amount = bytes(given.limit)
        ticks = None if amount == _NULL else read_usd(amount, "limit")
    return Caps() if ticks is None else Caps(**{period: ticks})


def _rates(given: NewKey | KeyChange, before: Rates, plan_rates: Rates) -> Rates:
    wanted: dict[str, int] = {}
    for name, place in _RATES.items():
        sent = getattr(given, name)
        count = getattr(before, place)
        if sent is not UNSET:
            text = bytes(sent)
            bound = MAX_CONCURRENCY if name == "concurrency" else MAX_RATE
            count = 0 if text == _NULL else read_count(text, name, most=bound)
            most = getattr(plan_rates, place)
            if most and count > most:
                message = f"`{name}` may be {most} at most: your plan says so."
                raise GroxyError(ErrorKind.FORBIDDEN, message, param=name, code="above_plan")
        wanted[place] = count
    if not any(wanted.values()):
        return Rates()  # Those of the plan count.
    # A key with rates of its own has none of the plan's: what is left out must not be boundless.
    return Rates(**{place: count or getattr(plan_rates, place) for place, count in wanted.items()})


def told_key(key: StoredKey, outlay: Outlay) -> dict[str, Any]:
    """Return a key as its owner sees it."""
    grant, spent = key.grant, outlay.spent
    period = _shown_period(grant.caps, outlay.left)
    cap, left = (
        (None, None)
        if period is None
        else (_number(getattr(grant.caps, period)), _number(getattr(outlay.left, period)))
    )
    return {
        "hash": key.id,
        "name": key.name,
        "label": f"sk-grok-...{key.hint}",
        "disabled": key.rests_since_ms is not None,
        "limit": cap,
        "limit_remaining": left,
        "limit_reset": None if period is None else _RESETS[period],
        "include_byok_in_limit": False,
        "usage": _number(spent.total),
        "usage_daily": _number(spent.day),
        "usage_weekly": _number(spent.week),
        "usage_monthly": _number(spent.month),
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
        "created_at": moment_text(key.created_ms),
        "updated_at": None,
        "expires_at": None if key.expires_ms is None else moment_text(key.expires_ms),
        "models": grant.models,
        "endpoints": grant.endpoints,
        "ips": grant.ips,
        **{name: getattr(grant.rates, place) or None for name, place in _RATES.items()},
        "tags": grant.tags,
        "is_provisioning": grant.is_provisioning,
    }


def _shown_period(caps: Caps, left: Caps) -> str | None:
    """Return the period of the cap that leaves least; None where there is no cap."""
    there = [period for period in _RESETS if getattr(caps, period) is not None]
    return min(there, key=lambda period: getattr(left, period), default=None)


def _number(ticks: int) -> Raw:
    """Return US dollars as a number of JSON, exactly."""
    return Raw(usd_text(ticks).encode())
