"""What choosing an account costs: `Router.plan` with few and very many accounts.

In: nothing but the command line. Out: microseconds for each plan, as a table or JSON. No network,
no database. The accounts are spread over the three pools. It is the time of the processor that
counts, so that neighbours on the same machine matter little.

    python bench/selection.py --accounts 10 1000
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from asks import MODEL

from groxy import upstreams
from groxy.core.errors import ErrorKind
from groxy.core.quota import QuotaWindow
from groxy.core.terms import Terms
from groxy.routing.account import Account
from groxy.routing.accounts import Directory
from groxy.routing.candidate import OFFICIAL
from groxy.routing.catalog import Catalog
from groxy.routing.pools import Pool
from groxy.routing.router import Router, Strategy, Wanted
from groxy.upstreams._base import Credentials
from groxy.wire.http import HttpTransport

_WANTED = Wanted(model=MODEL, carriers=("chat", "responses", "messages"))
_ROUNDS = 5
_FRESH = 20
_REST_S = 3600.0
_COLUMNS = {
    "all_well_us": "all are well",
    "quarter_rests_us": "a quarter rests",
    "pool_rests_us": "the first pool rests",
    "all_but_one_rest_us": "all but one rest",
    "bounds_us": "bounds",
    "full_us": "nine of ten at a bound",
    "windows_us": "windows",
    "weights_us": "weights",
    "random_us": "random",
    "after_a_change_us": "first plan after a change",
}


def _accounts(count: int, terms: Sequence[Terms], changes: dict[str, Any]) -> list[Account]:
    upstream = upstreams.discover()["xai"]
    pools = tuple(Pool)
    transport = HttpTransport.create(connect_timeout_s=1.0)
    return [
        Account(
            id=f"account-{number}",
            name=f"account-{number}",
            upstream=upstream,
            pool=pools[number % len(pools)],
            credentials=Credentials(api_key="sk-bench"),
            transport=transport,
            origin="bench",
            headers={},
            models=frozenset({MODEL}),
            terms=terms[number % len(terms)],
            **changes,
        )
        for number in range(count)
    ]


def _median_us(work: Callable[[], object], times: int) -> float:
    """Return what one call takes, in microseconds: the median of a few rounds."""
    rounds: list[float] = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for _ in range(times):
            work()
        rounds.append((time.thread_time() - began) / times * 1e6)
    return statistics.median(rounds)


class _Scene:
    """A router over accounts that are all alike, apart from their terms."""

    def __init__(
        self,
        count: int,
        *terms: Terms,
        strategy: Strategy = Strategy.QUOTA,
        **changes: Any,
    ) -> None:
        self.directory = Directory()
        self.directory.replace(_accounts(count, terms or (Terms(),), changes))
        self.router = Router(Catalog.load({}), self.directory, max_candidates=3, strategy=strategy)

    def plan(self) -> object:
        return self.router.plan(_WANTED)

    def plan_anew(self) -> object:
        self.directory.generation += 1
        return self.router.plan(_WANTED)

    def plan_us(self, times: int) -> float:
        """Return what a plan takes when all that can be remembered is."""
        self.plan()
        return _median_us(self.plan, times)

    def rest(self, accounts: Sequence[Account]) -> None:
        """Let accounts rest for longer than the measurement takes."""
        for account in accounts:
            account.rest_until = self.directory.now() + _REST_S
            account.rest_reason = ErrorKind.UPSTREAM_LIMITED


def measure(count: int, times: int) -> dict[str, float]:
    """Return microseconds for a plan among `count` accounts."""
    row: dict[str, float] = {"accounts": count}
    row |= _of_rests(count, times)
    row |= _of_bounds(count, times)
    weighty = [Terms(weight=weight) for weight in (1, 5, 100)]
    row["weights_us"] = _Scene(count, *weighty).plan_us(times)
    row["random_us"] = _Scene(count, *weighty, strategy=Strategy.RANDOM).plan_us(times)
    return row


def _of_rests(count: int, times: int) -> dict[str, float]:
    """Measure with more and more accounts that rest."""
    scene = _Scene(count)
    accounts = scene.directory.accounts
    row = {"all_well_us": scene.plan_us(times)}
    row["after_a_change_us"] = _median_us(scene.plan_anew, _FRESH)
    scene.rest(accounts[::4])
    row["quarter_rests_us"] = scene.plan_us(times)
    # The first choice of the model measured: all its accounts are at their rate limit at once.
    scene.rest([account for account in accounts if account.pool is Pool.BASIC])
    row["pool_rests_us"] = scene.plan_us(times)
    scene.rest(accounts)
    accounts[count // 2].rest_until = 0.0
    row["all_but_one_rest_us"] = scene.plan_us(times)
    return row


def _of_bounds(count: int, times: int) -> dict[str, float]:
    """Measure with bounds that have to be looked at."""
    bounds = Terms(rpm=1_000_000, tpm=1_000_000_000)
    scene = _Scene(count, bounds, most_in_flight=10)
    row = {"bounds_us": scene.plan_us(times)}
    for number, account in enumerate(scene.directory.accounts):
        account.in_flight = 3 if number % 10 == 0 else 10
    row["full_us"] = scene.plan_us(times)
    scene = _Scene(count)
    for account in scene.directory.accounts:
        account.windows[OFFICIAL] = QuotaWindow(remaining=300, total=400, window_s=7200)
        account.note_terms()
    row["windows_us"] = scene.plan_us(times)
    return row


def table(rows: Sequence[dict[str, float]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        f"| accounts | {' | '.join(_COLUMNS.values())} |",
        "|---:" * (1 + len(_COLUMNS)) + "|",
    ]
    for row in rows:
        times = " | ".join(f"{row[key]:,.1f} µs" for key in _COLUMNS)
        lines.append(f"| {row['accounts']:,} | {times} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description="The cost of choosing an account.")
    parser.add_argument("--accounts", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--times", type=int, default=2000, help="plans in a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(count, options.times) for count in options.accounts]
    if options.json:
        json.dump(rows, sys.stdout)
        print()
    else:
        print(table(rows))


if __name__ == "__main__":
    main()
