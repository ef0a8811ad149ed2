"""A long time under load while five accounts fail at random, in every way that is known.

20 seconds as a part of all tests; `make soak` takes SOAK_MINUTES. SOAK_SEED repeats a run, as far
as time allows. No answer may be wrong, no account stuck, no memory lost, no entry missing.
"""

import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.e2e.pools import (
    NO_CREDITS,
    WRONG_KEY,
    KeyedUpstream,
    Pool,
    Pools,
    key_is_blocked,
    key_is_good,
    key_is_unknown,
    key_is_wrong,
)
from tests.e2e.running import Gateway, config_toml, poll, running
from tests.e2e.scripted import TICKS, Behaviour, drops, fails, says, silent, waits
from tests.e2e.traffic import Traffic, echoes, echoes_and_breaks

_SECONDS = float(os.environ.get("SOAK_MINUTES", "0")) * 60 or 20.0
_SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1_000_000)
_RATE = 50.0
_ACCOUNTS = 5
_HEALED_S = 25.0
"""Two refreshes at the shortest interval that settings allow, and some."""
_MOST_GROWTH_MB = 12.0
"""Over the first minutes, while pools and caches fill."""
_MOST_SLOPE_MB = 1.0
"""A minute, once they are full."""
_SETTINGS = """
[logging]
level = "warning"
requests = false
[attempts]
first_event_timeout_s = 0.6
idle_timeout_s = 0.6
connect_timeout_s = 1.0
backoff_s = 0.02
backoff_max_s = 0.1
capacity_wait_s = 1.0
[cooling]
limited_s = 0.1
limited_max_s = 1.0
down_s = 0.2
down_max_s = 1.0
billing_s = 1.0
confirm_s = 0.5
asked_max_s = 2.0
[refresh]
every_s = 10
"""
_OVERLOADED = {"error": {"message": "Overloaded", "code": 503}}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(_SECONDS + 120)]


@dataclass(frozen=True)
class Mishap:
    """Something that befalls an account for a while."""

    name: str
    behaviour: Behaviour
    key: Callable[[], Behaviour] = key_is_good


MISHAPS = (
    Mishap("wrong key", fails(400, WRONG_KEY), key_is_wrong),
    Mishap("key blocked", fails(403, {"error": "Blocked"}), key_is_blocked),
    Mishap("rejected by mistake", fails(401)),
    Mishap("rejected, nobody says more", fails(401), key_is_unknown),
    Mishap("no credits", fails(403, NO_CREDITS)),
    Mishap("no credits in a 200", says(NO_CREDITS)),
    Mishap("limited", fails(429)),
    Mishap("limited for 1 s", fails(429, b"", {"Retry-After": "1"})),
    Mishap("limited for very long", fails(429, b"", {"Retry-After": "86400"})),
    Mishap("500", fails(500)),
    Mishap("503 for 1 s", fails(503, b"", {"Retry-After": "1"})),
    Mishap("HTML", fails(502, b"<html>", {"Content-Type": "text/html"})),
    Mishap("drops", drops),
    Mishap("silent", silent),
    Mishap("slow", waits(0.3, echoes())),
    Mishap("cut at once", echoes_and_breaks(0)),
    Mishap("cut before the answer", echoes_and_breaks(1)),
    Mishap("cut in the answer", echoes_and_breaks(4)),
    Mishap("garbage", echoes_and_breaks(1, garbage=b'{"choices": [{')),
    Mishap("garbage in the answer", echoes_and_breaks(3, garbage=b'{"choices": [{')),
    Mishap("an error in a 200", says(_OVERLOADED)),
    Mishap("nothing in a 200", says(b"")),
)


@dataclass
class Chaos:
    """Lets accounts of a pool fail at random, never for long; a context manager."""

    pool: Pool
    seed: int
    happened: dict[str, int] = field(default_factory=dict)
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Begin."""
        for place in range(len(self.pool.seats)):
            thread = threading.Thread(target=self._plague, args=(place,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let all be well."""
        self._ending.set()
        for thread in self._threads:
            thread.join(10)

    def _plague(self, place: int) -> None:
        draw = random.Random(self.seed * 100 + place)
        seat = self.pool.seats[place]
        while not self._ending.wait(draw.uniform(0.2, 2.0)):
            mishap = draw.choice(MISHAPS)
            self.happened[mishap.name] = self.happened.get(mishap.name, 0) + 1
            self.pool.key(place, mishap.key())
            seat.always(mishap.behaviour)
            self._ending.wait(draw.uniform(0.1, 2.0))
            seat.always(echoes())
            self.pool.key(place, key_is_good())


@dataclass
class Scales:
    """Weighs a process every second, from a thread of its own; a context manager."""

    pid: int
    samples: list[tuple[float, float]] = field(default_factory=list)
    """Minutes since the beginning, and megabytes."""
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._thread = threading.Thread(target=self._weigh, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ending.set()
        assert self._thread is not None
        self._thread.join(5)

    def _weigh(self) -> None:
        began = time.monotonic()
        while not self._ending.wait(1.0):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
            self.samples.append(((time.monotonic() - began) / 60, megabytes))

    @property
    def growth(self) -> float:
        """Megabytes from the first samples to the last ones."""
        weights = [megabytes for _, megabytes in self.samples]
        return statistics.median(weights[-5:]) - statistics.median(weights[2:7])

    @property
    def slope(self) -> float:
        """Megabytes a minute, over the second half."""
        late = self.samples[len(self.samples) // 2 :]
        return statistics.linear_regression(*zip(*late, strict=True)).slope


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(Gateway(folder=tmp_path, config=config_toml(extra=_SETTINGS))) as gateway:
        yield gateway


@pytest.fixture
def pool(gateway: Gateway) -> Iterator[Pool]:
    with KeyedUpstream() as upstream:
        pool = Pools(gateway, upstream).make(_ACCOUNTS, are_equal=True)
        for seat in pool.seats:
            seat.always(echoes())
        _load_tokenizer(pool)
        yield pool


def _load_tokenizer(pool: Pool) -> None:
    """Have the tokens of a broken answer counted: what that loads, once, weighs 32 MB."""
    pool.operator.configure(attempts={"max_attempts": 1})
    pool.seats[0].will(echoes_and_breaks(4))
    pool.operator.patch(f"/tokens/{pool.ids[0]}", {"priority": 1})
    assert pool.ask("One two three four", stream=True).error_in_stream
    pool.operator.patch(f"/tokens/{pool.ids[0]}", {"priority": 0})
    pool.operator.configure(attempts={"max_attempts": None})


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="weighs processes as Linux does")
def test_under_random_faults_no_answer_is_wrong_and_every_account_heals(gateway, pool):
    traffic = Traffic(gateways=[gateway], models=[pool.model], rate=_RATE, talks=200, seed=_SEED)
    with Scales(gateway.pid) as scales, traffic:
        with Chaos(pool, _SEED) as chaos:
            ends_at = time.monotonic() + _SECONDS
            while time.monotonic() < ends_at:
                time.sleep(0.5)
                assert traffic.faults == [], f"seed {_SEED}"
        _wait_until_healed(pool)
    print(_report(traffic, chaos, scales))  # noqa: T201 - what a run of ten minutes was for
    assert traffic.faults == [], f"seed {_SEED}"
    assert len(chaos.happened) > len(MISHAPS) / 3
    assert traffic.statuses[200] > len(traffic.answers) / 2
    assert scales.growth < _MOST_GROWTH_MB + _MOST_SLOPE_MB * _SECONDS / 60
    assert _SECONDS < 300 or scales.slope < _MOST_SLOPE_MB
    _check_nothing_is_left_open(pool)
    _check_books(pool, traffic)


def _wait_until_healed(pool: Pool) -> None:
    """All faults are over: see every account come back, under load, and then serve."""

    def stuck() -> list[Any]:
        tokens = [pool.token(place) for place in range(_ACCOUNTS)]
        return [
            (one["name"], one["status"], one["reason"], one["cooling"], one["note"])
            for one in tokens
            if one["status"] != "active" or one["cooling"]
        ]

    poll(lambda: not stuck(), within_s=_HEALED_S, what=f"(seed {_SEED}) healing of {stuck()}")
    for place in range(_ACCOUNTS):
        _see_it_serve(pool, place)


def _see_it_serve(pool: Pool, place: int) -> None:
    """Put an account before the others, who would serve as well, and see it do the work.

    A conversation of the load may stay where it is, so it is asked something new.
    """
    served = pool.token(place)["use_count"]
    pool.operator.patch(f"/tokens/{pool.ids[place]}", {"priority": 1 + place})
    what = f"(seed {_SEED}) an answer of {pool.names[place]}"
    pool.ask_until(lambda: pool.token(place)["use_count"] > served, what=what)


def _check_nothing_is_left_open(pool: Pool) -> None:
    tokens = [pool.token(place) for place in range(_ACCOUNTS)]
    assert [one["in_flight"] for one in tokens] == [0] * _ACCOUNTS
    assert pool.operator.gateway.metric("groxy_open_streams") == 0


def _check_books(pool: Pool, traffic: Traffic) -> None:
    """Check that each request is in the books once, and that what was answered is owed."""
    lines = {line["id"]: line for line in _lines(pool)}
    for reply in pool.asked:
        assert (lines.pop(reply.id)["outcome"] == "ok") is not reply.error_in_stream
    for answer in traffic.answers:
        assert answer.reply is not None
        line = lines.pop(answer.reply.id)
        assert (line["outcome"] == "ok") is answer.is_right
        assert line["cost_ticks"] == (TICKS if answer.is_right else 0)
    assert not lines, "the books tell of requests that nobody sent"


def _lines(pool: Pool) -> Sequence[Any]:
    found: list[Any] = []
    before = ""
    while True:
        page = pool.operator.get(f"/requests?model={pool.model}&limit=500&before={before}")
        found += page["requests"]
        if not page["next"]:
            return found
        before = page["next"]


def _report(traffic: Traffic, chaos: Chaos, scales: Scales) -> str:
    return (
        f"\nseed {_SEED}: {len(traffic.answers)} answers {dict(traffic.statuses)}, "
        f"{sum(chaos.happened.values())} mishaps, memory {scales.samples[0][1]:.0f} MB "
        f"{scales.growth:+.1f} MB, then {scales.slope:+.2f} MB a minute"
    )
