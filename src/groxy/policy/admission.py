"""Admission: whether a request may pass now, by its caller's limits and money, and how that ends.

In: a caller, and what the request demands: tokens, and the most that it may be charged. Out: a
pass, which holds that much until the request has ended; or RATE_LIMITED, or NO_CREDITS with what
there is and what was needed. A caller without limits and without a purse costs nothing here.

Whoever gets a pass settles it exactly once, whatever happened. Must not know what a request is.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Protocol

import msgspec

from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import NO_CAPS, Caps
from groxy.ledger.bill import Charge
from groxy.observe import logs
from groxy.policy.keys import Caller
from groxy.policy.periods import ends_of, spends_of
from groxy.policy.stakes import StakeBook, Stakes
from groxy.state.gates import (
    NO_PIECE,
    Answer,
    Claim,
    Draw,
    Gate,
    Return,
    Room,
    Verdict,
)

_MOST_FILLS = 3
"""How often purses are filled for one claim: they may be lost again in between."""
_AGAIN_S = 1.0
_END_S = 1.0
_COUNT_AFTER_S = 0.1
"""How long it is waited for others that end too."""
_KNOWN_BALANCES = 100_000

Headers = list[tuple[bytes, bytes]]


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a request needs."""

    tokens: int = 0
    """What its prompt takes, by estimate."""
    ticks: int = 0
    """The most that it may be charged."""
    least_ticks: int = -1
    """What will do when there is less; negative: only all of it."""


class Books(Protocol):
    """Reads balances."""

    async def read(self, names: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Return ticks and seq of balances, by name; those of keys' spending are begun if new."""
        ...

    async def recount(self, key_id: str) -> None:
        """Bring up to date what a key has spent, as its caps look at it."""
        ...


class Pass(msgspec.Struct):
    """A request that may pass. `settle` or `release` ends it, once."""

    admission: "Admission"
    caller: Caller
    stakes: Stakes
    claim: Claim = Claim()
    piece: int = NO_PIECE
    """Where its tokens are counted."""
    held_ticks: int = 0
    most_held_ticks: int = 0
    headers: Headers = msgspec.field(default_factory=list)
    """`x-ratelimit-*`, for the reply."""
    _is_over: bool = False

    @property
    def is_metered(self) -> bool:
        """True when somebody pays, or a cap counts."""
        return bool(self.stakes.draws)

    async def extend(self, ticks: int, *, least_ticks: int = 0) -> int:
        """Hold more, as much as there is but no less than `least_ticks`; return how much."""
        if not self.is_metered or ticks <= 0:
            return 0
        claim = Claim(draws=self.stakes.draws, ticks=ticks, least_ticks=max(least_ticks, 1))
        verdict = await self.admission.ask(claim)
        more = verdict.held_ticks if verdict.answer is Answer.GRANTED else 0
        self.held_ticks += more
        self.most_held_ticks = max(self.most_held_ticks, self.held_ticks)
        return more

    def charge(self, ticks: int) -> Charge:
        """Return what the caller pays: no more than what is held."""
        if not self.is_metered:
            return Charge()
        return Charge(
            ticks=min(ticks, self.held_ticks),
            user_id=self.caller.user_id,
            spends=self.stakes.spends,
            until_ms=self.stakes.until_ms,
        )

    async def settle(
        self, charge: Charge, tokens: int, balances: Mapping[str, tuple[int, int]] | None
    ) -> None:
        """End it: `charge` was entered, and `balances` is what the books say since.

        Without `balances` the entry waits for the database: as much stays held until it is there.
        """
        owed = charge.ticks if balances is None else 0
        await self._end(tokens - self.claim.tokens, owed, balances or {})
        if owed:
            self.admission.owe(self.stakes.draws, owed)
        if charge.ticks:
            self.admission.count_in(self.caller.key_id, charge.spends)

    async def release(self, tokens: int = 0) -> None:
        """End it: nothing was entered, and nothing is paid."""
        await self._end(tokens - self.claim.tokens, 0, {})

    async def _end(self, tokens: int, owed: int, balances: Mapping[str, tuple[int, int]]) -> None:
        stakes = self.stakes
        if self._is_over or not stakes.is_bound:
            return
        self._is_over = True
        back = Return(
            scopes=self.claim.scopes,
            tokens=tokens,
            piece=self.piece,
            draws=stakes.draws,
            held_ticks=self.held_ticks,
            owed_ticks=owed,
            filled={name: at for name, at in balances.items() if name in stakes.purses},
        )
        await self.admission.give_back(back)


class Admission:
    """Lets requests pass."""

    def __init__(self, gate: Gate, books: Books, *, now_ms: Callable[[], int]) -> None:
        self._gate = gate
        self._books = books
        self._now_ms = now_ms
        self._stakes = StakeBook()
        self._owed: list[tuple[tuple[Draw, ...], int]] = []
        """What stays held because its entries wait for the database."""
        self._balances: dict[str, int] = {}
        """What users had when it was heard of last, for limits that follow the balance."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._uncounted: set[str] = set()
        """Keys whose spending is about to be counted again."""
        self.caps_of: Callable[[str], Caps] = _no_caps
        """What the key with an id may spend by now; whoever knows the keys puts it here."""
        self._log = logs.get_logger("admission")

    def bounds(self, caller: Caller) -> bool:
        """Return whether anything limits a caller, so that it matters what a request takes."""
        return self._stakes.of(caller, self._now_ms()).is_bound

    async def admit(self, caller: Caller, demand: Demand) -> Pass:
        """Let a request pass; raise RATE_LIMITED or NO_CREDITS."""
        stakes = self._stakes.of(caller, self._now_ms())
        if not stakes.is_bound:
            return Pass(self, caller, stakes)
        follows_balance = caller.plan.grant.steps and caller.user_id
        claim = Claim(
            scopes=stakes.scopes(await self._percent(caller) if follows_balance else 100),
            tokens=demand.tokens,
            draws=stakes.draws,
            ticks=demand.ticks if stakes.draws else 0,
            least_ticks=demand.least_ticks,
        )
        verdict = await self.ask(claim)
        if verdict.answer is not Answer.GRANTED:
            raise _refusal(claim, verdict)
        return Pass(
            self,
            caller,
            stakes,
            claim,
            verdict.piece,
            held_ticks=verdict.held_ticks,
            most_held_ticks=verdict.held_ticks,
            headers=_rate_headers(verdict),
        )

    async def left(self, caller: Caller) -> int | None:
        """Return what a caller could hold now, in ticks; None for one that nothing bounds."""
        draws = self._stakes.of(caller, self._now_ms()).draws
        if not draws:
            return None
        lefts = []
        for draw in draws:
            known = await self._gate.available(draw.purse)
            if known is None:
                await self._gate.fill(await self._books.read([draw.purse]))
                known = await self._gate.available(draw.purse) or (0, 0)
            lefts.append(known[0] - known[1] - draw.floor)
        return max(min(lefts), 0)

    async def ask(self, claim: Claim) -> Verdict:
        """Return the gate's verdict, once it knows every purse."""
        for _ in range(_MOST_FILLS):
            verdict = await self._gate.claim(claim)
            if verdict.answer is not Answer.UNKNOWN:
                return verdict
            await self._gate.fill(await self._books.read(verdict.unknown))
        message = "Balances cannot be read right now. Try again."
        raise GroxyError(ErrorKind.STORE_DOWN, message, retry_after_s=_AGAIN_S)

    async def give_back(self, back: Return) -> None:
        """Give a claim back. A gate that is away learns of it with its next success."""
        for name, (ticks, _) in back.filled.items():
            self._note_balance(name, ticks)
        if self._gate.is_far:
            # What comes later from here is told later: nobody needs to wait for the answer.
            self._spawn(self._give_back(back))
        else:
            await self._give_back(back)

    async def _give_back(self, back: Return) -> None:
        try:
            await self._gate.give_back(back)
        except GroxyError as error:
            self._log.warning("a hold was not given back yet", detail=error.detail)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        # Kept in the set until it ends, so it is not lost.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Wait for what is under way, but not for books that do not answer."""
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_END_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def learn(self, balances: Mapping[str, tuple[int, int]]) -> None:
        """Take note of balances that were moved beside requests."""
        for name, (ticks, _) in balances.items():
            if name in self._balances:
                self._balances[name] = ticks
        await self._gate.fill(balances, only_known=True)

    def count_in(self, key_id: str, spends: Sequence[str]) -> None:
        """Have what was charged counted against caps that the key got while it was under way.

        `spends` is where it was counted. What nobody counted would stay free for as long as the cap
        is there: a key that runs away has much under way when it is capped.
        """
        caps = self.caps_of(key_id)
        if caps == NO_CAPS:
            return
        looked_at = {name for name, _, _ in spends_of(key_id, caps, self._now_ms())}
        if not looked_at <= set(spends) and key_id not in self._uncounted:
            self._uncounted.add(key_id)
            self._spawn(self._recount(key_id))

    async def _recount(self, key_id: str) -> None:
        await asyncio.sleep(_COUNT_AFTER_S)
        self._uncounted.discard(key_id)  # What ends from here on needs another look.
        try:
            await self._books.recount(key_id)
        except GroxyError as error:
            self._log.warning("a cap does not count all yet", key=key_id, detail=error.detail)

    # ------------------------------------------------------------------- while the database is away

    def owe(self, draws: tuple[Draw, ...], ticks: int) -> None:
        """Note what stays held until the books have it."""
        self._owed.append((draws, ticks))

    def books_are_whole(self) -> None:
        """Note that the database has everything now: what was owed need not be held any more."""
        if self._owed:
            self._spawn(self._pay_back())

    async def _pay_back(self) -> None:
        owed, self._owed = self._owed, []
        names = sorted({draw.purse for draws, _ in owed for draw in draws})
        while (balances := await self._read(names)) is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_AGAIN_S)
        for draws, ticks in owed:
            filled = {draw.purse: balances[draw.purse] for draw in draws}
            await self.give_back(Return(draws=draws, held_ticks=ticks, filled=filled))

    async def _read(self, names: Sequence[str]) -> Mapping[str, tuple[int, int]] | None:
        """Return balances; None while they cannot be read, which says nothing of the next time."""
        try:
            return await self._books.read(names)
        except GroxyError as error:
            self._log.warning("what was owed stays held", purses=len(names), detail=error.detail)
            return None

    # ------------------------------------------------------------------- limits by the balance

    async def _percent(self, caller: Caller) -> int:
        """Return by how much a user's rates are scaled, at their balance."""
        purse = f"user:{caller.user_id}"
        balance = self._balances.get(purse)
        if balance is None:
            balance = (await self._books.read([purse]))[purse][0]
            while len(self._balances) >= _KNOWN_BALANCES:
                del self._balances[next(iter(self._balances))]
            self._balances[purse] = balance
        reached = [step for step in caller.plan.grant.steps if step.from_ticks <= balance]
        return reached[-1].percent if reached else 100

    def _note_balance(self, name: str, ticks: int) -> None:
        if name in self._balances:
            self._balances[name] = ticks


def _no_caps(key_id: str) -> Caps:
    del key_id
    return NO_CAPS


_WHOSE = {"key": "this key", "user": "your user", "plan": "your plan"}


def _refusal(claim: Claim, verdict: Verdict) -> GroxyError:
    if verdict.answer is Answer.PURSE:
        return _too_dear(claim, verdict)
    error = _too_many(claim, verdict)
    error.headers = tuple(_rate_headers(verdict))
    return error


def _too_many(claim: Claim, verdict: Verdict) -> GroxyError:
    kind = verdict.refused_by.partition(":")[0]
    scope = next(one for one in claim.scopes if one.name == verdict.refused_by)
    retry_after_s: float | None = verdict.retry_after_s
    again = f"Try again in {max(verdict.retry_after_s, 0.01):.2f} s."
    match verdict.answer:
        case Answer.CONCURRENCY:
            what = f"{scope.concurrency} requests at the same time"
            again = "Wait for one of them to end."
        case Answer.TOKENS if claim.tokens > scope.tokens:
            message = (
                f"The request has about {claim.tokens} tokens, and {_WHOSE[kind]} may send "
                f"{scope.tokens} a minute. Make it shorter."
            )
            return GroxyError(ErrorKind.TOO_LARGE, message, code="tokens_above_limit")
        case Answer.TOKENS:
            what = f"{scope.tokens} tokens a minute"
        case _:
            what = f"{scope.requests} requests a minute"
    message = f"The limit of {_WHOSE[kind]} is reached: {what}. {again}"
    return GroxyError(ErrorKind.RATE_LIMITED, message, retry_after_s=retry_after_s)


def _too_dear(claim: Claim, verdict: Verdict) -> GroxyError:
    needed = usd_text(claim.ticks)
    left = usd_text(max(verdict.available, 0))
    if verdict.refused_by.startswith("user:"):
        message = (
            f"The balance is {left} USD, and this request may cost up to {needed} USD. Add "
            "credits, or ask for less: fewer tokens, pictures or seconds."
        )
        return GroxyError(ErrorKind.NO_CREDITS, message)
    ends = ends_of(verdict.refused_by)
    again = "" if ends is None else f" until {ends:%Y-%m-%d %H:%M} UTC"
    message = (
        f"This key may spend {left} USD more{again}, and this request may cost up to {needed} USD. "
        "Raise the key's cap, or ask for less: fewer tokens, pictures or seconds."
    )
    return GroxyError(ErrorKind.NO_CREDITS, message, code="key_cap_reached")


def _rate_headers(verdict: Verdict) -> Headers:
    headers: Headers = []
    for word, room in ((b"requests", verdict.requests), (b"tokens", verdict.tokens)):
        if room is not None:
            headers += _room_headers(word, room)
    return headers


def _room_headers(word: bytes, room: Room) -> Headers:
    """Return what OpenAI's clients read (platform.openai.com, rate limits, 2026)."""
    return [
        (b"x-ratelimit-limit-" + word, b"%d" % room.limit),
        (b"x-ratelimit-remaining-" + word, b"%d" % max(room.remaining, 0)),
        (b"x-ratelimit-reset-" + word, b"%.3fs" % room.reset_s),
    ]
