"""GET /v1/statistics/models: how models did in the last hours: uptime, latency, throughput.

In: histograms of attempts (`store.counts`). Out: figures for each model, without a word about
accounts or upstreams. A figure out of a histogram is within 9 % of the truth. Answers are kept for
half a minute, so that whoever asks often, without any key where the operator lets them, costs
nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from groxy.api.text import identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import Keyring
from groxy.store.counts import FAILED, FIRST, OK, SPEED, value_of
from groxy.store.database import Database
from groxy.store.usage import BucketRow, hours_of_models
from groxy.wire.asgi import Receive, Scope, Send, query_of, respond
from groxy.wire.json import encode

HOURS = (1, 3, 6, 12, 24, 48, 72, 168)
"""How many hours can be asked for: few choices, so that few answers have to be kept."""
_DEFAULT_HOURS = 24
_KEPT_S = 30.0
_HOUR_S = 3600
_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}


class Statistics:
    """Tells how models did."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        is_public: Callable[[], bool],
        is_known: Callable[[str], bool],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`is_known` says which models are told of: a caller's own words must not get in.

        `clock` counts unix nanoseconds.
        """
        self._database = database
        self._keyring = keyring
        self._is_public = is_public
        self._is_known = is_known
        self._clock = clock
        self._answers: dict[tuple[int, bool], tuple[float, bytes]] = {}
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; raise BAD_KEY for strangers where statistics are not public."""
        del receive
        if not self._is_public():
            identify(self._keyring, scope)
        hours, is_hourly = _asked(scope)
        await respond(send, 200, await self._answer(hours, is_hourly=is_hourly))

    async def _answer(self, hours: int, *, is_hourly: bool) -> bytes:
        async with self._lock:  # Of many who ask at once, one looks.
            now_s = self._clock() / 1e9
            kept = self._answers.get((hours, is_hourly))
            if kept is not None and 0 <= now_s - kept[0] < _KEPT_S:
                return kept[1]
            first_hour = int(now_s) // _HOUR_S - hours + 1
            told = {
                "object": "list",
                "hours": hours,
                "from": first_hour * _HOUR_S,
                "to": int(now_s),
                "data": await self._models(first_hour, hours, is_hourly=is_hourly),
            }
            answer = encode(told)
            self._answers[hours, is_hourly] = (now_s, answer)
            return answer

    async def _models(
        self, first_hour: int, hours: int, *, is_hourly: bool
    ) -> list[dict[str, Any]]:
        """Return the figures of each model.

        Hours that are told apart are read one by one: a week of them is 200,000 rows, and all of
        these at once would keep other requests waiting.
        """
        whole: dict[str, _Histograms] = {}
        series: dict[str, list[dict[str, Any]]] = {}
        step = 1 if is_hourly else hours
        for first in range(first_hour, first_hour + hours, step):
            rows = await hours_of_models(
                self._database, first_hour=first, last_hour=first + step - 1
            )
            part: dict[str, _Histograms] = {}
            for row in rows:
                if self._is_known(row.model):
                    whole.setdefault(row.model, _Histograms()).add(row)
                    part.setdefault(row.model, _Histograms()).add(row)
            for model, of_it in part.items():
                one = {"at": first * _HOUR_S, **of_it.told()}
                series.setdefault(model, []).append(one)
        return [
            {"model": model, **whole[model].told()}
            | ({"series": series[model]} if is_hourly else {})
            for model in sorted(whole)
        ]


@dataclass(slots=True)
class _Histograms:
    """How many attempts fell into each bucket, by measure."""

    measures: dict[str, dict[int, int]] = field(default_factory=dict)

    def add(self, row: BucketRow) -> None:
        buckets = self.measures.setdefault(row.measure, {})
        buckets[row.bucket] = buckets.get(row.bucket, 0) + row.attempts

    def of(self, measure: str) -> Mapping[int, int]:
        return self.measures.get(measure, {})

    def told(self) -> dict[str, Any]:
        good, bad = sum(self.of(OK).values()), sum(self.of(FAILED).values())
        first, speed = self.of(FIRST), self.of(SPEED)
        return {
            "requests": good + bad,
            "uptime": round(good / (good + bad), 6) if good + bad else None,
            "first_event_ms": {
                f"p{percent}": _rounded(percentile(first, percent), 0) for percent in (50, 90, 99)
            },
            "tokens_per_s": {"p50": _rounded(percentile(speed, 50), 1)},
        }


def percentile(buckets: Mapping[int, int], percent: int) -> float | None:
    """Return the value below which so many of 100 are; None of nothing."""
    rank = -(-sum(buckets.values()) * percent // 100)  # the nearest rank, rounded up
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank > 0:
            return value_of(bucket)
    return None


def _rounded(value: float | None, digits: int) -> float | int | None:
    if value is None:
        return None
    return round(value, digits) if digits else round(value)


def _asked(scope: Scope) -> tuple[int, bool]:
    """Return how many hours are asked for, and whether each by itself; raise BAD_REQUEST."""
    query = query_of(scope)
    hours = query.get("hours", str(_DEFAULT_HOURS))
    if hours not in map(str, HOURS):
        message = f"`hours` must be one of {', '.join(map(str, HOURS))}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="hours")
    series = _FLAGS.get(query.get("series", "").lower())
    if series is None:
        raise GroxyError(ErrorKind.BAD_REQUEST, "`series` must be true or false.", param="series")
    return int(hours), series
