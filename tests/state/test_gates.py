"""What every gate does, one process or many: the same tests on both kinds, and a naive model."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from groxy.state._redis_server import RedisServer
from groxy.state.gate_memory import MemoryGate
from groxy.state.gate_redis import RedisGate
from groxy.state.gates import MAX_TICKS, Answer, Claim, Draw, Return, Room, Scope, Verdict

KINDS = ["memory", pytest.param("redis", marks=pytest.mark.redis)]
USER = Draw(purse="user:1")
CAP = Draw(purse="spend:1:total", floor=-500)
GONE_S = 60.25
"""When everything that was counted is forgotten at the latest."""


class Clock:
    """Seconds that tests turn."""

    def __init__(self) -> None:
        self.ms = 1_000_000_000_000

    def __call__(self) -> float:
        return (self.ms + 0.25) / 1000  # no rounding takes it for the millisecond before

    def turn(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


@asynccontextmanager
async def opened(kind: str, count: int, clock: Clock, url: str = "") -> AsyncIterator[list[Any]]:
    """Gates of so many processes; of the kind that serves only one, the same one each time."""
    if kind == "memory":
        yield [MemoryGate(clock)] * count
        return
    servers = [RedisServer.connect(url) for _ in range(count)]
    yield [RedisGate(server, f"p{n}", clock=clock) for n, server in enumerate(servers)]
    for server in servers:
        await server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
async def gates(request, clock) -> AsyncIterator[list[Any]]:
    """Three processes' gates."""
    url = ""
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        server.ask("FLUSHALL")
        url = server.url
    async with opened(request.param, 3, clock, url) as made:
        yield made


@pytest.fixture
def gate(gates) -> Any:
    return gates[0]


def requests_of(limit: int, name: str = "key:1") -> Claim:
    return Claim(scopes=(Scope(name=name, requests=limit),))


def tokens_of(limit: int, tokens: int) -> Claim:
    return Claim(scopes=(Scope(name="key:1", tokens=limit),), tokens=tokens)


def back_of(claim: Claim, verdict: Verdict, **changes: Any) -> Return:
    """What gives a claim back."""
    given = {"scopes": claim.scopes, "draws": claim.draws, "held_ticks": verdict.held_ticks}
    return Return(**{**given, "piece": verdict.piece, **changes})


# ------------------------------------------------------------------------------------- windows


async def test_a_claim_without_limits_passes(gate):
    verdict = await gate.claim(Claim(scopes=(Scope(name="key:1"),), tokens=5))

    assert (verdict.answer, verdict.requests, verdict.tokens) == (Answer.GRANTED, None, None)


async def test_no_more_requests_pass_than_the_limit_wherever_they_come_from(gates):
    answers = [(await gate.claim(requests_of(5))).answer for gate in gates * 3]

    assert answers == [Answer.GRANTED] * 5 + [Answer.REQUESTS] * 4


@pytest.mark.parametrize("begin_ms", [0, 1, 100, 249, 250, 59_999])
async def test_a_request_counts_for_a_minute_wherever_that_begins(gate, clock, begin_ms):
    clock.ms += begin_ms
    await gate.claim(requests_of(1))
    clock.turn(60.0)
    at_its_end = await gate.claim(requests_of(1))
    clock.turn(0.25)
    after = await gate.claim(requests_of(1))

    assert (at_its_end.answer, after.answer) == (Answer.REQUESTS, Answer.GRANTED)


async def test_retry_after_is_when_there_is_room_again_and_not_before(gate, clock):
    for pause_s in (0.0, 7.3, 11.1):
        clock.turn(pause_s)
        await gate.claim(requests_of(3))
    refused = await gate.claim(requests_of(3))
    clock.turn(refused.retry_after_s - 0.001)
    early = await gate.claim(requests_of(3))
    clock.turn(0.001)
    in_time = await gate.claim(requests_of(3))

    assert 60.0 - 18.4 < refused.retry_after_s <= GONE_S - 18.4
    assert (early.answer, in_time.answer) == (Answer.REQUESTS, Answer.GRANTED)
    assert early.retry_after_s == 0.001


async def test_retry_after_waits_for_as_many_tokens_as_are_claimed(gate, clock):
    for tokens in (10, 20, 60):
        await gate.claim(tokens_of(100, tokens))
        clock.turn(10.0)
    refused = [await gate.claim(tokens_of(100, tokens)) for tokens in (20, 40, 41)]
    clock.turn(refused[1].retry_after_s)

    waits = [verdict.retry_after_s for verdict in refused]
    assert waits == [GONE_S - 30, GONE_S - 20, GONE_S - 10]
    assert (await gate.claim(tokens_of(100, 41))).answer is Answer.TOKENS
    assert (await gate.claim(tokens_of(100, 40))).answer is Answer.GRANTED


async def test_a_limit_that_was_lowered_waits_until_enough_is_forgotten(gate, clock):
    for _ in range(4):
        await gate.claim(requests_of(10))
        clock.turn(5.0)
    refused = await gate.claim(requests_of(2))

    assert refused.retry_after_s == GONE_S - 10.0


async def test_of_several_scopes_that_with_the_longest_wait_refuses(gate, clock):
    await gate.claim(requests_of(1, "key:1"))
    clock.turn(30.0)
    await gate.claim(requests_of(1, "user:1"))
    both = (*requests_of(1, "key:1").scopes, *requests_of(1, "user:1").scopes)
    refused = await gate.claim(Claim(scopes=both))

    assert (refused.refused_by, refused.retry_after_s) == ("user:1", GONE_S)


async def test_more_tokens_than_the_limit_can_never_pass(gate):
    refused = await gate.claim(tokens_of(100, 101))

    assert (refused.answer, refused.retry_after_s) == (Answer.TOKENS, 0)
    assert refused.tokens == Room(limit=100, remaining=100, reset_s=0)


async def test_the_room_is_that_of_the_tightest_scope(gate, clock):
    scopes = (
        Scope(name="key:1", requests=10, tokens=100),
        Scope(name="user:1", requests=3, tokens=100_000),
        Scope(name="plan:1", requests=5),
    )
    verdict = await gate.claim(Claim(scopes=scopes, tokens=30))
    clock.turn(0.1)
    again = await gate.claim(Claim(scopes=scopes))

    assert verdict.requests == Room(limit=3, remaining=2, reset_s=GONE_S)
    assert verdict.tokens == Room(limit=100, remaining=70, reset_s=GONE_S)
    assert again.requests == Room(limit=3, remaining=1, reset_s=GONE_S - 0.1)
    assert again.tokens == Room(limit=100, remaining=70, reset_s=GONE_S - 0.1)


async def test_refused_claims_see_the_room_too(gate, clock):
    await gate.claim(requests_of(1))
    clock.turn(1.0)

    assert (await gate.claim(requests_of(1))).requests == Room(
        limit=1, remaining=0, reset_s=GONE_S - 1
    )


async def test_a_saturated_scope_passes_all_but_a_hundredth_and_never_more(gates, clock):
    limit, passed = 60, []
    turns = itertools.cycle(gates)
    for _ in range(8 * 60_000 // 130):
        clock.ms += 130
        if (await next(turns).claim(requests_of(limit))).answer is Answer.GRANTED:
            passed.append(clock.ms)
    windows = [sum(at <= other < at + 60_000 for other in passed) for at in passed]
    rate = (len(passed) - limit) / (passed[-limit] - passed[0])

    assert max(windows) == limit
    assert rate >= 0.99 * limit / 60_000


# ------------------------------------------------------------------------------ tokens corrected


async def test_tokens_that_were_not_used_are_free_at_once(gate):
    claim = tokens_of(100, 90)
    verdict = await gate.claim(claim)
    await gate.give_back(back_of(claim, verdict, tokens=-60))

    assert (await gate.claim(tokens_of(100, 70))).answer is Answer.GRANTED
    assert (await gate.claim(tokens_of(100, 1))).answer is Answer.TOKENS


async def test_less_is_taken_off_where_it_was_counted(gate, clock):
    first = await gate.claim(tokens_of(100, 50))
    clock.turn(30.0)
    await gate.claim(tokens_of(100, 50))
    await gate.give_back(back_of(tokens_of(100, 50), first, tokens=-40))
    clock.turn(GONE_S - 30.0)

    assert (await gate.claim(tokens_of(100, 51))).answer is Answer.TOKENS
    assert (await gate.claim(tokens_of(100, 50))).answer is Answer.GRANTED


async def test_less_of_a_minute_that_is_over_frees_nothing_now(gate, clock):
    first = await gate.claim(tokens_of(100, 50))
    clock.turn(GONE_S)
    await gate.claim(tokens_of(100, 50))
    await gate.give_back(back_of(tokens_of(100, 50), first, tokens=-40))

    assert (await gate.claim(tokens_of(100, 51))).answer is Answer.TOKENS


async def test_less_of_a_minute_that_ends_with_that_very_operation_frees_nothing(gate, clock):
    first = await gate.claim(tokens_of(100, 50))
    clock.turn(30.0)
    await gate.claim(tokens_of(100, 50))
    clock.turn(GONE_S - 30.0)
    await gate.give_back(back_of(tokens_of(100, 50), first, tokens=-40))

    assert (await gate.claim(tokens_of(100, 51))).answer is Answer.TOKENS
    assert (await gate.claim(tokens_of(100, 50))).answer is Answer.GRANTED


async def test_more_is_counted_when_it_became_known(gate, clock):
    first = await gate.claim(tokens_of(100, 50))
    clock.turn(70.0)
    await gate.give_back(back_of(tokens_of(100, 50), first, tokens=70))
    refused = await gate.claim(tokens_of(100, 31))

    assert (refused.answer, refused.retry_after_s) == (Answer.TOKENS, GONE_S)


async def test_less_without_a_piece_is_taken_off_the_oldest(gate, clock):
    for _ in range(2):
        await gate.claim(tokens_of(100, 50))
        clock.turn(30.0)
    await gate.give_back(Return(scopes=tokens_of(100, 0).scopes, tokens=-70))
    clock.turn(0.25)

    assert (await gate.claim(tokens_of(100, 71))).answer is Answer.TOKENS
    assert (await gate.claim(tokens_of(100, 70))).answer is Answer.GRANTED


# ------------------------------------------------------------------------------------- at once


async def test_no_more_are_under_way_than_may_be(gates):
    claim = Claim(scopes=(Scope(name="key:1", concurrency=2),))
    verdicts = [await gate.claim(claim) for gate in gates]
    await gates[1].give_back(back_of(claim, verdicts[1]))
    again = await gates[2].claim(claim)

    assert [one.answer for one in verdicts] == [Answer.GRANTED] * 2 + [Answer.CONCURRENCY]
    assert (verdicts[2].retry_after_s, again.answer) == (1.0, Answer.GRANTED)


async def test_places_outlast_the_minute(gate, clock):
    claim = Claim(scopes=(Scope(name="key:1", concurrency=1),))
    await gate.claim(claim)
    for number in range(8):
        clock.turn(9.0)
        await gate.claim(requests_of(1, f"other:{number}"))

    assert (await gate.claim(claim)).answer is Answer.CONCURRENCY


# -------------------------------------------------------------------------------------- purses


async def test_an_unknown_purse_refuses_until_it_is_filled(gate):
    claim = Claim(draws=(USER, CAP), ticks=100)
    refused = await gate.claim(claim)
    await gate.fill({USER.purse: (100, 1)})
    half = await gate.claim(claim)
    await gate.fill({CAP.purse: (-400, 1)})
    granted = await gate.claim(claim)

    assert (refused.answer, refused.refused_by) == (Answer.UNKNOWN, USER.purse)
    assert refused.unknown == (USER.purse, CAP.purse)
    assert (half.answer, half.unknown) == (Answer.UNKNOWN, (CAP.purse,))
    assert (granted.answer, granted.held_ticks, granted.available) == (Answer.GRANTED, 100, 0)
    assert await gate.available(USER.purse) == (100, 100)


async def test_parallel_claims_admit_exactly_what_a_purse_covers(gates):
    await gates[0].fill({USER.purse: (1_009, 1)})
    claims = (gate.claim(Claim(draws=(USER,), ticks=100)) for gate in gates * 20)
    answers = [verdict.answer for verdict in await asyncio.gather(*claims)]

    assert answers.count(Answer.GRANTED) == 10
    assert answers.count(Answer.PURSE) == 50
    assert await gates[1].available(USER.purse) == (1_009, 1_000)


async def test_a_refusing_purse_says_what_it_has_above_its_floor(gate):
    await gate.fill({USER.purse: (1_000, 1), CAP.purse: (-450, 1)})
    refused = await gate.claim(Claim(draws=(USER, CAP), ticks=51))

    assert (refused.answer, refused.refused_by) == (Answer.PURSE, CAP.purse)
    assert (refused.available, refused.held_ticks) == (50, 0)


async def test_as_much_as_there_is_may_do(gate):
    await gate.fill({USER.purse: (1_000, 1), CAP.purse: (-450, 1)})
    least = Claim(draws=(USER, CAP), ticks=200, least_ticks=51)
    refused = await gate.claim(least)
    granted = await gate.claim(Claim(draws=(USER, CAP), ticks=200, least_ticks=50))

    assert refused.answer is Answer.PURSE
    assert (granted.answer, granted.held_ticks, granted.available) == (Answer.GRANTED, 50, 0)
    assert await gate.available(USER.purse) == (1_000, 50)


async def test_a_claim_of_nothing_needs_a_purse_that_is_not_below_its_floor(gate):
    await gate.fill({USER.purse: (0, 1), "user:2": (-1, 1)})

    assert (await gate.claim(Claim(draws=(USER,)))).answer is Answer.GRANTED
    assert (await gate.claim(Claim(draws=(Draw(purse="user:2"),)))).answer is Answer.PURSE


async def test_a_refused_claim_changes_nothing(gate, clock):
    scopes = (
        Scope(name="key:1", requests=9, tokens=90, concurrency=9),
        Scope(name="user:1", concurrency=1),
    )
    await gate.fill({USER.purse: (100, 1), CAP.purse: (-450, 1)})
    by_purse = await gate.claim(Claim(scopes=scopes, tokens=9, draws=(USER, CAP), ticks=51))
    unknown = await gate.claim(Claim(scopes=scopes, tokens=9, draws=(USER, Draw(purse="x"))))
    await gate.claim(Claim(scopes=scopes[1:]))
    by_scope = await gate.claim(Claim(scopes=scopes, tokens=9, draws=(USER,), ticks=1))
    left = await gate.claim(Claim(scopes=scopes[:1]))

    answers = [by_purse.answer, unknown.answer, by_scope.answer]
    assert answers == [Answer.PURSE, Answer.UNKNOWN, Answer.CONCURRENCY]
    assert left.requests == Room(limit=9, remaining=8, reset_s=GONE_S)
    assert left.tokens == Room(limit=90, remaining=90, reset_s=0)
    assert await gate.available(USER.purse) == (100, 0)


async def test_a_hold_can_be_extended_while_there_is_enough(gate):
    await gate.fill({USER.purse: (100, 1), CAP.purse: (-430, 1)})
    await gate.claim(Claim(draws=(USER, CAP), ticks=50))

    assert await gate.extend((USER, CAP), 20)
    assert not await gate.extend((USER, CAP), 1)
    assert not await gate.extend((USER, Draw(purse="x")), 0)
    assert await gate.available(USER.purse) == (100, 70)


async def test_a_claim_that_is_given_back_tells_what_the_books_say_since(gates):
    claim = Claim(draws=(USER,), ticks=80)
    await gates[0].fill({USER.purse: (100, 1)})
    verdict = await gates[1].claim(claim)
    await gates[1].give_back(back_of(claim, verdict, filled={USER.purse: (70, 2)}))

    assert await gates[2].available(USER.purse) == (70, 0)


async def test_what_is_owed_stays_held_until_it_is_in_the_books(gate):
    claim = Claim(draws=(USER,), ticks=80)
    await gate.fill({USER.purse: (100, 1)})
    verdict = await gate.claim(claim)
    await gate.give_back(back_of(claim, verdict, owed_ticks=30))
    owed = await gate.available(USER.purse)
    entered = Return(draws=(USER,), held_ticks=30, filled={USER.purse: (70, 2)})
    await gate.give_back(entered)

    assert (owed, await gate.available(USER.purse)) == ((100, 30), (70, 0))


async def test_of_two_fills_the_higher_seq_counts(gates):
    first, second, _ = gates
    await first.fill({USER.purse: (100, 5)})
    await second.fill({USER.purse: (50, 4)})
    await second.give_back(Return(filled={USER.purse: (60, 3)}))
    older = await first.available(USER.purse)
    await second.fill({USER.purse: (90, 6)}, only_known=True)

    assert (older, await first.available(USER.purse)) == ((100, 0), (90, 0))


@pytest.mark.parametrize("how", ["fill", "give back"])
async def test_a_purse_that_nobody_asked_for_stays_unknown_but_not_its_seq(gates, how):
    first, second, _ = gates
    told = {USER.purse: (70, 6)}
    if how == "fill":
        await first.fill(told, only_known=True)
    else:
        await first.give_back(Return(filled=told))
    known = [await first.available(USER.purse)]
    await second.fill({USER.purse: (100, 5)})  # it was read before the move that was told
    known.append(await first.available(USER.purse))
    await second.fill({USER.purse: (70, 6)})
    known.append(await first.available(USER.purse))

    assert known == [None, None, (70, 0)]


async def test_a_purse_counts_for_no_more_than_can_be_computed(gate):
    whole = Draw(purse=USER.purse, floor=-(10**30))
    await gate.fill({USER.purse: (10**30, 1)})
    verdict = await gate.claim(Claim(draws=(whole,), ticks=10**30))

    assert (verdict.answer, verdict.held_ticks, verdict.available) == (
        Answer.GRANTED,
        MAX_TICKS,
        0,
    )
    assert await gate.available(USER.purse) == (MAX_TICKS, MAX_TICKS)
    assert not await gate.extend((whole,), 1)


async def test_large_sums_are_exact_to_the_tick(gate):
    await gate.fill({USER.purse: (MAX_TICKS, 1)})
    await gate.claim(Claim(draws=(USER,), ticks=MAX_TICKS - 1))

    assert not await gate.extend((USER,), 2)
    assert await gate.extend((USER,), 1)


async def test_negative_amounts_claim_nothing(gate):
    await gate.fill({USER.purse: (100, 1)})
    scope = Scope(name="key:1", tokens=10)
    await gate.claim(Claim(scopes=(scope,), tokens=-5, draws=(USER,), ticks=-50))
    await gate.extend((USER,), -50)
    await gate.give_back(Return(draws=(USER,), held_ticks=-50))

    assert await gate.available(USER.purse) == (100, 0)
    assert (await gate.claim(Claim(scopes=(scope,), tokens=10))).answer is Answer.GRANTED
    assert (await gate.claim(Claim(scopes=(scope,), tokens=1))).answer is Answer.TOKENS


# --------------------------------------------------------------------------------- a naive model


class Model:
    """The specification, without a thought for speed."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.counts: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        self.places: dict[str, int] = defaultdict(int)
        self.ticks: dict[str, int] = {}
        self.seq: dict[str, int] = {}
        self.held: dict[str, int] = defaultdict(int)

    @property
    def piece(self) -> int:
        return self.clock.ms // 250

    def total(self, name: str, what: str, at: int) -> int:
        return sum(n for piece, n in self.counts[name, what].items() if piece > at - 241)

    def add(self, name: str, what: str, amount: int) -> None:
        counts = self.counts[name, what]
        counts[self.piece] = counts.get(self.piece, 0) + amount

    def wait(self, name: str, what: str, amount: int, limit: int) -> float:
        at = next(
            n for n in itertools.count(self.piece) if self.total(name, what, n) + amount <= limit
        )
        return (at * 250 - self.clock.ms) / 1000 if at > self.piece else 0.0

    def refusals(self, claim: Claim) -> list[tuple[Answer, str, float]]:
        never = [s for s in claim.scopes if 0 < s.tokens < claim.tokens]
        if never:
            return [(Answer.TOKENS, never[0].name, 0.0)]
        found = []
        for scope in claim.scopes:
            if scope.requests and (wait := self.wait(scope.name, "r", 1, scope.requests)):
                found.append((Answer.REQUESTS, scope.name, wait))
            if scope.tokens and claim.tokens:
                wait = self.wait(scope.name, "t", claim.tokens, scope.tokens)
                if wait:
                    found.append((Answer.TOKENS, scope.name, wait))
            if scope.concurrency and self.places[scope.name] >= scope.concurrency:
                found.append((Answer.CONCURRENCY, scope.name, 1.0))
        return found

    def room(self, claim: Claim, what: str) -> Room | None:
        rooms = []
        for scope in claim.scopes:
            limit = scope.requests if what == "r" else scope.tokens
            if limit:
                left = max(0, limit - self.total(scope.name, what, self.piece))
                ends = (max(self.counts[scope.name, what], default=0) + 241) * 250 - self.clock.ms
                used = self.total(scope.name, what, self.piece) > 0
                rooms.append(Room(limit=limit, remaining=left, reset_s=ends / 1000 if used else 0))
        return min(rooms, key=lambda room: room.remaining / room.limit, default=None)

    def claim(self, claim: Claim) -> Verdict:
        refusals = self.refusals(claim)
        unknown = tuple(draw.purse for draw in claim.draws if draw.purse not in self.ticks)
        fate: dict[str, Any] = {"answer": Answer.GRANTED}
        if refusals:
            answer, name, wait = max(refusals, key=lambda refusal: refusal[2])
            fate = {"answer": answer, "refused_by": name, "retry_after_s": wait}
        elif unknown:
            fate = {"answer": Answer.UNKNOWN, "refused_by": unknown[0], "unknown": unknown}
        else:
            fate |= self.draw(claim)
        if fate["answer"] is Answer.GRANTED:
            for scope in claim.scopes:
                self.add(scope.name, "r", 1 if scope.requests else 0)
                if claim.tokens and scope.tokens:
                    self.add(scope.name, "t", claim.tokens)
                self.places[scope.name] += 1 if scope.concurrency else 0
            for draw in claim.draws:
                self.held[draw.purse] += fate["held_ticks"]
        requests, tokens = self.room(claim, "r"), self.room(claim, "t")
        return Verdict(**fate, requests=requests, tokens=tokens, piece=self.piece)

    def draw(self, claim: Claim) -> dict[str, Any]:
        if not claim.draws:
            return {"held_ticks": claim.ticks}
        rooms = {d.purse: self.ticks[d.purse] - self.held[d.purse] - d.floor for d in claim.draws}
        tightest = min(rooms, key=lambda purse: rooms[purse])
        room = rooms[tightest]
        enough = claim.ticks if claim.least_ticks < 0 else min(claim.ticks, claim.least_ticks)
        if room < enough:
            return {"answer": Answer.PURSE, "refused_by": tightest, "available": room}
        held = min(room, claim.ticks)
        return {"held_ticks": held, "available": room - held}

    def give_back(self, back: Return) -> None:
        for scope in back.scopes:
            self.places[scope.name] -= 1 if scope.concurrency else 0
            if scope.tokens and back.tokens > 0:
                self.add(scope.name, "t", back.tokens)
            if scope.tokens and back.tokens < 0 and back.piece > self.piece - 241:
                self.counts[scope.name, "t"][back.piece] += back.tokens
        for draw in back.draws:
            self.held[draw.purse] -= back.held_ticks - back.owed_ticks
        self.fill(back.filled, only_known=True)

    def fill(self, purses: Any, *, only_known: bool) -> None:
        for name, (ticks, seq) in purses.items():
            if seq < self.seq.get(name, -1) or (name in self.ticks and seq == self.seq[name]):
                continue
            self.seq[name] = seq
            if name in self.ticks or not only_known:
                self.ticks[name] = ticks


SCOPES = {
    "key:1": Scope(name="key:1", requests=3, tokens=50, concurrency=3),
    "key:2": Scope(name="key:2", tokens=60),
    "user:1": Scope(name="user:1", requests=4, concurrency=2),
    "plan:1": Scope(name="plan:1", requests=5, tokens=100),
}
DRAWS = (Draw(purse="user:1"), Draw(purse="spend:1", floor=-100), Draw(purse="spend:2", floor=-30))
CLAIMS = st.builds(
    Claim,
    scopes=st.lists(st.sampled_from(list(SCOPES.values())), unique=True, max_size=3).map(tuple),
    tokens=st.integers(0, 70),
    draws=st.lists(st.sampled_from(DRAWS), unique=True, max_size=2).map(tuple),
    ticks=st.integers(0, 60),
    least_ticks=st.integers(-1, 30),
)
STEPS = st.one_of(
    st.tuples(st.just("claim"), CLAIMS),
    st.tuples(st.just("claim"), CLAIMS),
    st.tuples(st.just("back"), st.integers(0, 9), st.integers(0, 90), st.integers(0, 60)),
    st.tuples(st.just("turn"), st.sampled_from([1, 100, 250, 3_000, 9_000])),
    st.tuples(
        st.just("fill"),
        st.sampled_from([draw.purse for draw in DRAWS]),
        st.tuples(st.integers(-100, 150), st.integers(0, 9)),
        st.booleans(),
    ),
    st.tuples(st.just("extend"), st.sampled_from(DRAWS), st.integers(0, 40)),
)


async def live(steps: list[Any], kind: str, url: str) -> None:
    """Take the steps with gates and with the model, and compare all that they say."""
    clock = Clock()
    model = Model(clock)
    under_way: list[tuple[Claim, Verdict, Any]] = []
    async with opened(kind, 2, clock, url) as gates:
        for number, step in enumerate(steps):
            gate = gates[number % 2]
            await asyncio.gather(*(one.fill({}) for one in gates))  # both live
            match step:
                case ("claim", claim):
                    verdict = await gate.claim(claim)
                    assert verdict == model.claim(claim)
                    if verdict.answer is Answer.GRANTED:
                        under_way.append((claim, verdict, gate))
                case ("back", which, used, owed) if under_way:
                    claim, verdict, owner = under_way.pop(which % len(under_way))
                    back = back_of(
                        claim,
                        verdict,
                        tokens=used - claim.tokens,
                        owed_ticks=min(owed, verdict.held_ticks),
                        filled={"user:1": (used, owed % 10)},
                    )
                    await owner.give_back(back)
                    model.give_back(back)
                case ("turn", ms):
                    clock.ms += ms
                case ("fill", purse, told, only_known):
                    await gate.fill({purse: told}, only_known=only_known)
                    model.fill({purse: told}, only_known=only_known)
                case ("extend", draw, ticks):
                    known = model.ticks.get(draw.purse)
                    room = -1 if known is None else known - model.held[draw.purse] - draw.floor
                    is_held = room >= ticks and known is not None
                    assert await gate.extend((draw,), ticks) == is_held
                    model.held[draw.purse] += ticks if is_held else 0
                case _:
                    assert step[0] == "back"  # nothing is under way
        for draw in DRAWS:
            known = model.ticks.get(draw.purse)
            expected = None if known is None else (known, model.held[draw.purse])
            assert await gates[0].available(draw.purse) == expected


@given(steps=st.lists(STEPS, max_size=60))
@settings(max_examples=150, deadline=None)
def test_one_process_does_what_the_model_does(steps):
    asyncio.run(live(steps, "memory", ""))


@pytest.mark.redis
@given(steps=st.lists(STEPS, max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_two_processes_together_do_what_the_model_does(redis, steps):
    redis.ask("FLUSHALL")
    asyncio.run(live(steps, "redis", redis.url))
