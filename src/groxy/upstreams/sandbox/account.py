"""What the sandbox tells of the account that asks: its key as xAI tells it, and as OpenRouter does.

In: a key and the `Turn` that it meets. Out: replies as values for JSON (xAI's OpenAPI document,
2026-08; openapi/openapi.yaml of github.com/OpenRouterTeam/docs, 2026-08), and the headers that tell
of rate limits. Deterministic but for times of resets. A key is never shown in full.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from groxy.upstreams._base import ANTHROPIC_RATES, OPENAI_RATES, PLAIN_RATES, RateStyle
from groxy.upstreams.sandbox.faults import Limits, Script
from groxy.upstreams.sandbox.keys import Credits, Turn

_SHOWN = 4
_LEAST_HIDDEN = 8
_NO_LIMIT = Credits(left=Decimal(0), limit=Decimal(20))

encode_account = msgspec.json.Encoder(decimal_format="number").encode
"""Dollars are numbers on the wire, and are written digit by digit."""


def redacted(key: str) -> str:
    """Return a key as xAI shows it: its last four characters, and none of a short one."""
    end = key[-_SHOWN:] if len(key) >= _SHOWN + _LEAST_HIDDEN else "dbox"
    return f"xai-...{end}"


def key_of_xai(key: str, turn: Turn) -> dict[str, Any]:
    """Return the reply to GET /api-key."""
    blocked = turn.script.blocked
    return {
        "redacted_api_key": redacted(key),
        "name": "sandbox",
        "user_id": "sandbox",
        "team_id": "sandbox",
        "api_key_id": "sandbox",
        "create_time": "2026-01-01T00:00:00Z",
        "modify_time": "2026-01-01T00:00:00Z",
        "modified_by": "sandbox",
        "acls": [
            *(f"api-key:model:{model}" for model in turn.script.models or ("*",)),
            "api-key:endpoint:*",
        ],
        "team_blocked": blocked == "team",
        "api_key_blocked": blocked == "key",
        "api_key_disabled": blocked == "disabled",
    }


def key_of_openrouter(turn: Turn, script: Script) -> dict[str, Any]:
    """Return the reply to GET /key; without credits, none of its limit remains."""
    credit = turn.script.credits
    if script.no_credits:
        credit = credit or _NO_LIMIT
        credit = Credits(left=Decimal(0), limit=credit.limit, reset=credit.reset)
    usage = max(Decimal(0), credit.limit - credit.left) if credit else Decimal(0)
    return {
        "data": {
            "label": "sandbox",
            "limit": credit.limit if credit else None,
            "limit_remaining": credit.left if credit else None,
            "limit_reset": (credit.reset or None) if credit else None,
            "usage": usage,
            "usage_daily": usage,
            "usage_weekly": usage,
            "usage_monthly": usage,
            "byok_usage": 0,
            "is_free_tier": False,
            "is_management_key": False,
            "include_byok_in_limit": False,
            "expires_at": None,
        }
    }


_STYLES = {"anthropic": ANTHROPIC_RATES, "openrouter": PLAIN_RATES}


def limit_headers(
    shape: str, requests: Limits | None, tokens: Limits | None, clock: Callable[[], float]
) -> dict[str, str]:
    """Return the headers that tell of limits, the way that servers of this shape write them.

    `clock` gives unix seconds: Anthropic and OpenRouter tell when, and not in how long.
    """
    style = _STYLES.get(shape, OPENAI_RATES)
    headers: dict[str, str] = {}
    for names, limits in ((style.requests, requests), (style.tokens, tokens)):
        if names is not None and limits is not None:
            headers[names.limit] = str(limits[0])
            headers[names.remaining] = str(limits[1])
            headers[names.reset] = _reset(style, limits[2], clock)
    return headers


def _reset(style: RateStyle, reset_s: float, clock: Callable[[], float]) -> str:
    if style is ANTHROPIC_RATES:
        at = datetime.fromtimestamp(clock() + reset_s, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if style is PLAIN_RATES:
        return str(round((clock() + reset_s) * 1000))
    # As Go writes durations: whole milliseconds below a second, `6m0s` above.
    if reset_s < 1:
        return f"{round(reset_s * 1000)}ms"
    minutes, rest = divmod(round(reset_s, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
