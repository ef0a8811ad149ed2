"""What is one process' own: it drops what is idle."""

import pytest

from groxy.state import gate_memory
from groxy.state.gate_memory import MemoryGate, amount_of, clamped, given_of, piece_ms_of
from groxy.state.gates import MAX_TICKS, Answer, Claim, Draw, Return, Scope


class Clock:
    """Seconds that tests turn."""

    s = 1_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock) -> MemoryGate:
    return MemoryGate(clock)


async def test_idle_scopes_are_dropped(gate, clock):
    for number in range(1_000):
        await gate.claim(Claim(scopes=(Scope(name=f"key:{number}", requests=1),)))
    clock.s += 61
    for number in range(1_000, 1_600):
        await gate.claim(Claim(scopes=(Scope(name=f"key:{number}", requests=1),)))

    assert len(gate._counts) == 600


async def test_scopes_with_requests_under_way_stay(gate, clock):
    claim = Claim(scopes=(Scope(name="key:1", requests=5, concurrency=1),))
    await gate.claim(claim)
    for number in range(20):
        clock.s += 61
        await gate.claim(Claim(scopes=(Scope(name=f"other:{number}", requests=1),)))

    verdict = await gate.claim(claim)
    assert (verdict.answer, len(gate._counts)) == (Answer.CONCURRENCY, 2)
    assert verdict.requests.remaining == 5


async def test_idle_purses_beyond_the_bound_are_dropped_oldest_first(gate, monkeypatch):
    monkeypatch.setattr(gate_memory, "MAX_IDLE_PURSES", 10)
    for number in range(10):
        await gate.fill({f"user:{number}": (100, 1)})
    await gate.claim(Claim(draws=(Draw(purse="user:0"),)))
    await gate.claim(Claim(draws=(Draw(purse="user:1"),), ticks=7))
    await gate.fill({"user:10": (100, 1)})
    known = [n for n in range(11) if await gate.available(f"user:{n}") is not None]

    assert known == [0, 1, 4, 5, 6, 7, 8, 9, 10]


async def test_purses_with_holds_are_never_dropped(gate, monkeypatch):
    monkeypatch.setattr(gate_memory, "MAX_IDLE_PURSES", 3)
    for number in range(6):
        name = f"user:{number}"
        await gate.fill({name: (100, 1)})
        await gate.claim(Claim(draws=(Draw(purse=name),), ticks=7))
    for number in range(6, 20):
        await gate.fill({f"user:{number}": (100, 1)})

    assert [await gate.available(f"user:{n}") for n in range(6)] == [(100, 7)] * 6
    assert len(gate._purses) <= 2 * 6 + 1  # as many again as are held


async def test_no_more_is_taken_off_than_was_counted(gate):
    scope = Scope(name="key:1", tokens=10, concurrency=1)
    await gate.claim(Claim(scopes=(Scope(name="key:1", tokens=10),), tokens=5))
    for _ in range(2):
        await gate.give_back(Return(scopes=(scope,), tokens=-50))
    await gate.claim(Claim(scopes=(scope,), tokens=10))

    assert (await gate.claim(Claim(scopes=(scope,)))).answer is Answer.CONCURRENCY


async def test_a_process_alone_need_not_say_that_it_lives(gate):
    await gate.heartbeat()
    await gate.leave()


def test_windows_are_cut_into_whole_milliseconds():
    assert [piece_ms_of(window_s) for window_s in (60.0, 2.4, 0.24)] == [250, 10, 1]
    for window_s in (0.0, 0.1, 1.0, -60.0):
        with pytest.raises(ValueError, match="window_s"):
            piece_ms_of(window_s)


def test_amounts_are_bounded():
    back = Return(held_ticks=10, owed_ticks=4)

    assert [clamped(-(2**70)), clamped(5), clamped(2**70)] == [-MAX_TICKS, 5, MAX_TICKS]
    assert [amount_of(-5), amount_of(5), amount_of(2**70)] == [0, 5, MAX_TICKS]
    assert (given_of(back), given_of(Return(held_ticks=1, owed_ticks=4))) == (6, 0)
