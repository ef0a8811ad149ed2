"""Alerts: tells the operator's webhook, once, that a user's balance has become low.

In: balances of the books, and where to tell. Out: a signed POST for each fall below the bound; the
next one only after the balance rose above it. It runs beside the requests and never holds one up;
what cannot be told is tried again later.
"""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from groxy.core.amounts import usd_text
from groxy.core.errors import GroxyError
from groxy.core.ids import new_id
from groxy.core.money import TICKS_PER_USD
from groxy.observe import logs
from groxy.settings import Settings
from groxy.store.alerts import AlertBook, Balance
from groxy.store.database import Database
from groxy.store.kept import KeptStore
from groxy.wire.http import HttpTransport, Outgoing, Transport
from groxy.wire.json import encode

SIGNATURE = "groxy-signature"
TRIES = 3
_CONNECT_TIMEOUT_S = 5.0
_TIMEOUT_S = 10.0
_PAUSE_S = 1.0
_AGAIN_MS = 600_000
"""When to try again what could not be told."""
_AT_ONCE = 8
_MOST = 200
"""Users told of in one round; the rest comes in the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """Where low balances are told, and from which one on."""

    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    bound_ticks: int = 0
    """For users without a bound of their own; 0 is none."""


def alert_rules_of(settings: Settings) -> AlertRules:
    """Return what settings say of low balances."""
    billing = settings.billing
    secret = billing.low_balance_secret
    return AlertRules(
        url=billing.low_balance_url.reveal(),
        secret="" if secret is None else secret.reveal(),
        bound_ticks=billing.low_balance_usd * TICKS_PER_USD,
    )


class InForce(Protocol):
    """Knows the settings in force."""

    @property
    def settings(self) -> Settings:
        """The settings."""
        ...


def alerts_of(database: Database, kept: KeptStore, live: InForce) -> "Alerts":
    """Return what tells of low balances, as the settings say at each moment."""
    transport = HttpTransport.create(connect_timeout_s=_CONNECT_TIMEOUT_S)
    return Alerts(AlertBook(database, kept), transport, lambda: alert_rules_of(live.settings))


class Alerts:
    """Tells of low balances."""

    def __init__(
        self,
        book: AlertBook,
        transport: Transport,
        rules: Callable[[], AlertRules],
        *,
        pause_s: float = _PAUSE_S,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._book = book
        self._transport = transport
        self._rules = rules
        self._pause_s = pause_s
        self._clock_ns = clock_ns
        self._log = logs.get_logger("alerts")

    async def look(self) -> None:
        """Tell of the balances that fell, and take note of those that rose."""
        rules = self._rules()
        if not rules.url:
            return
        now_ms = self._clock_ns() // 1_000_000
        fallen: list[Balance] = []
        for balance in await self._book.read(rules.bound_ticks):
            if not balance.is_low:
                await self._book.forget(balance.user_id)
            elif not balance.is_told and _is_due(balance, now_ms):
                fallen.append(balance)
        places = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._tell(rules, one, places) for one in fallen[:_MOST]))

    async def close(self) -> None:
        """Close what is open."""
        await self._transport.close()

    async def _tell(self, rules: AlertRules, balance: Balance, places: asyncio.Semaphore) -> None:
        async with places:
            try:
                if balance.begun_ms is not None:
                    await self._book.forget(balance.user_id)
                await self._book.begin(balance.user_id)
            except GroxyError:
                return  # another process tells it
            if await self._is_heard(rules, balance):
                await self._book.end(balance.user_id)
                return
            self._log.warning("low balance not told", user=balance.user_id, tries=TRIES)

    async def _is_heard(self, rules: AlertRules, balance: Balance) -> bool:
        """Post a message, up to three times; return whether somebody took it."""
        body = _message(balance, self._clock_ns())
        for number in range(TRIES):
            if number:
                await asyncio.sleep(self._pause_s * number)
            if await self._is_taken(self._signed(rules, body), balance):
                return True
        return False

    def _signed(self, rules: AlertRules, body: bytes) -> Outgoing:
        at_s = self._clock_ns() // 1_000_000_000
        headers = {
            "content-type": "application/json",
            SIGNATURE: signature_of(body, rules.secret, at_s),
        }
        return Outgoing(url=rules.url, headers=headers, body=body)

    async def _is_taken(self, outgoing: Outgoing, balance: Balance) -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reply = await self._transport.send(outgoing)
                reply.close()
        except TimeoutError:
            self._log.info("low balance not heard", user=balance.user_id, detail="no answer")
            return False
        except GroxyError as error:
            self._log.info("low balance not heard", user=balance.user_id, detail=error.kind.value)
            return False
        return 200 <= reply.status < 300


def signature_of(body: bytes, secret: str, at_s: int) -> str:
    """Return the signature of a message as Stripe writes them: `t=<unix seconds>,v1=<hex>`.

    It is HMAC-SHA256 of `<unix seconds>.<body>`.
    """
    digest = hmac.digest(secret.encode(), b"%d." % at_s + body, "sha256")
    return f"t={at_s},v1={digest.hex()}"


def _is_due(balance: Balance, now_ms: int) -> bool:
    return balance.begun_ms is None or balance.begun_ms < now_ms - _AGAIN_MS


def _message(balance: Balance, now_ns: int) -> bytes:
    bound = balance.bound_ticks or 0
    return encode(
        {
            "id": new_id("alert_"),
            "type": "balance.low",
            "created": now_ns // 1_000_000_000,
            "data": {
                "user_id": balance.user_id,
                "name": balance.name,
                "balance_usd": usd_text(balance.ticks),
                "below_usd": usd_text(bound),
            },
        }
    )
