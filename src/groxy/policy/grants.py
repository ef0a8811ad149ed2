"""Grants as people write them: checked, and in plain form, before they are stored.

In: a grant that somebody composed, from a command or from JSON. Out: the same, or BAD_REQUEST that
names the field at fault. Every way in which a grant is written goes through here. It must not
decide who may write one.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import (
    ENDPOINTS,
    Caps,
    KeyGrant,
    PlanGrant,
    Rates,
    Step,
    UserGrant,
)
from groxy.core.money import TICKS_PER_USD
from groxy.policy.access import read_network

MAX_RATE = 1_000_000_000
MAX_CONCURRENCY = 1_000_000
MAX_TICKS = 100_000_000 * TICKS_PER_USD
"""As `core.amounts` takes amounts."""
MAX_MODELS = 100
MAX_MODEL_CHARS = 128
MAX_IPS = 100
MAX_TAGS = 20
MAX_TAG_CHARS = 64
MAX_NOTE_CHARS = 2_000
MAX_STEPS = 20
_LEAST_MARKUP_BP = -10_000
_MOST_MARKUP_BP = 100_000
_MOST_PERCENT = 100_000


def checked_key_grant(grant: KeyGrant) -> KeyGrant:
    """Return the grant of a key; raise BAD_REQUEST."""
    for name in grant.endpoints:
        if name not in ENDPOINTS:
            message = f"`endpoints` may name {', '.join(ENDPOINTS)}; `{name[:64]}` is none of them."
            raise _bad("endpoints", message)
    if len(grant.ips) > MAX_IPS:
        raise _bad("ips", f"`ips` may have {MAX_IPS} entries at most.")
    _check_flag(grant.is_provisioning, "is_provisioning")
    return replace(
        grant,
        models=_checked_models(grant.models),
        endpoints=tuple(dict.fromkeys(grant.endpoints)),
        ips=tuple(dict.fromkeys(read_network(text, "ips") for text in grant.ips)),
        caps=_checked_caps(grant.caps),
        rates=_checked_rates(grant.rates, "rates"),
        tags=_checked_words(grant.tags, "tags", MAX_TAGS, MAX_TAG_CHARS),
    )


def checked_user_grant(grant: UserGrant) -> UserGrant:
    """Return the grant of a user; raise BAD_REQUEST."""
    if grant.rates is not None:
        _checked_rates(grant.rates, "rates")
    _check_number(grant.overdraft, "overdraft", most=MAX_TICKS)
    if grant.alert_below is not None:
        _check_number(grant.alert_below, "alert_below", most=MAX_TICKS)
    if len(grant.note) > MAX_NOTE_CHARS:
        raise _bad("note", f"`note` may have {MAX_NOTE_CHARS} characters at most.")
    return grant


def checked_plan_grant(grant: PlanGrant) -> PlanGrant:
    """Return the grant of a plan; raise BAD_REQUEST."""
    for name in ("user_rates", "key_rates", "rates"):
        _checked_rates(getattr(grant, name), name)
    _check_number(grant.markup_bp, "markup_bp", least=_LEAST_MARKUP_BP, most=_MOST_MARKUP_BP)
    if grant.basis not in ("bill", "list"):
        raise _bad("basis", "`basis` must be `bill` or `list`.")
    return replace(grant, models=_checked_models(grant.models), steps=_checked_steps(grant.steps))


def _checked_models(models: Sequence[str]) -> tuple[str, ...]:
    return _checked_words(models, "models", MAX_MODELS, MAX_MODEL_CHARS)


def _checked_words(words: Sequence[str], param: str, most: int, most_chars: int) -> tuple[str, ...]:
    if len(words) > most:
        raise _bad(param, f"`{param}` may have {most} entries at most.")
    for word in words:
        if not 0 < len(word) <= most_chars or not word.isprintable() or word != word.strip():
            message = (
                f"Each of `{param}` must have 1 to {most_chars} printable characters, and no "
                "space around them."
            )
            raise _bad(param, message)
    return tuple(dict.fromkeys(words))


def _checked_rates(rates: Rates, param: str) -> Rates:
    _check_number(rates.requests, f"{param}.requests", most=MAX_RATE)
    _check_number(rates.tokens, f"{param}.tokens", most=MAX_RATE)
    _check_number(rates.concurrency, f"{param}.concurrency", most=MAX_CONCURRENCY)
    return rates


def _checked_caps(caps: Caps) -> Caps:
    for name in ("day", "week", "month", "total"):
        value = getattr(caps, name)
        if value is not None:
            _check_number(value, f"caps.{name}", most=MAX_TICKS)
    return caps


def _checked_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps, lowest first."""
    if len(steps) > MAX_STEPS:
        raise _bad("steps", f"`steps` may have {MAX_STEPS} entries at most.")
    for step in steps:
        _check_number(step.from_ticks, "steps.from", most=MAX_TICKS)
        _check_number(step.percent, "steps.percent", least=1, most=_MOST_PERCENT)
    if len({step.from_ticks for step in steps}) < len(steps):
        raise _bad("steps", "`steps` must each begin at another balance.")
    return tuple(sorted(steps, key=lambda step: step.from_ticks))


def _check_number(value: object, param: str, *, least: int = 0, most: int) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not least <= value <= most:  # type: ignore[operator]  # is_whole says so
        raise _bad(param, f"`{param}` must be a whole number from {least} to {most}.")


def _check_flag(value: object, param: str) -> None:
    if not isinstance(value, bool):
        raise _bad(param, f"`{param}` must be true or false.")


def _bad(param: str, message: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
