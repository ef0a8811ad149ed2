"""GET /v1/activity: the last 30 days of the caller's usage, in OpenRouter's shape.

In: a key or a session. Out: one row for each day and model, of all keys of the user; of one key
alone, where it belongs to nobody. Facts: OpenRouterTeam/docs, November 2026. Amounts are exact
numbers: none was ever a float.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from groxy.api.owners import Registry
from groxy.api.replies import respond_unstored
from groxy.api.text import identify
from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.sessions import presented_session
from groxy.store.usage import MAX_ROWS, UsageFilter, UsageRow, sum_usage
from groxy.wire.asgi import Receive, Scope, Send, query_of
from groxy.wire.json import encode

DAYS = 30
_PROVIDER = "Groxy"


class Activity:
    """Tells callers of their own usage."""

    def __init__(self, registry: Registry, *, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` counts unix nanoseconds."""
        self._registry = registry
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        registry = self._registry
        if presented_session(scope, registry.app_url()) is not None:
            user_id, key_id = (await registry.session(scope)).user.id, ""
        else:
            caller = identify(registry.keyring, scope)
            user_id, key_id = caller.user_id, caller.key_id
        first, last = _days_of(scope, datetime.fromtimestamp(self._clock() / 1e9, UTC).date())
        wanted = UsageFilter(
            first_day=number_of(first),
            last_day=number_of(last),
            user_id=user_id,
            key_id=None if user_id else key_id,
        )
        page = await sum_usage(registry.database, wanted, ("day", "model"), limit=MAX_ROWS)
        told = [written(row, is_charged=bool(user_id)) for row in reversed(page.rows)]
        await respond_unstored(send, encode({"data": [one for one in told if one["model"]]}))


def number_of(day: date) -> int:
    """Return a day as sums of days name it, such as 20261125."""
    return day.year * 10_000 + day.month * 100 + day.day


def day_text(number: int) -> str:
    """Return a day such as 20261125 as people write it: 2026-11-25."""
    return f"{number // 10_000:04}-{number // 100 % 100:02}-{number % 100:02}"


def written(row: UsageRow, *, is_charged: bool) -> dict[str, Any]:
    """Return a day's usage of a model as OpenRouter tells of it.

    `usage` is what was charged; of a key that belongs to nobody, what it cost.
    """
    day, model = row.group
    ticks = row.sums.charge_ticks if is_charged else row.sums.cost_ticks
    return {
        "date": day_text(int(day)),
        "model": model,
        "model_permaslug": model,
        "endpoint_id": model,
        "provider_name": _PROVIDER,
        "usage": msgspec.Raw(usd_text(ticks).encode()),
        "byok_usage_inference": 0,
        "requests": row.sums.requests,
        "prompt_tokens": row.sums.input_tokens,
        "completion_tokens": row.sums.output_tokens,
        "reasoning_tokens": row.sums.reasoning_tokens,
    }


def _days_of(scope: Scope, today: date) -> tuple[date, date]:
    """Return the first and the last day asked for; raise BAD_REQUEST that names `date`."""
    oldest = today - timedelta(days=DAYS - 1)
    query = query_of(scope)
    asked = query.get("date")
    if asked is None:
        return oldest, today
    try:
        day = datetime.strptime(asked, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        day = date.min
    if not oldest <= day <= today or day.isoformat() != asked:
        message = f"`date` must be one of the last {DAYS} days (UTC), as in {today.isoformat()}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="date")
    return day, day
