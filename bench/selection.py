"""What choosing an account costs: `Router.plan` with few and very many accounts.

In: nothing but the command line. Out: microseconds for each plan, as a table or JSON. No network,
no database. The accounts are spread over the three pools.

    python bench/selection.py --accounts 10 1000
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from asks import MODEL

from groxy import upstreams
from groxy.core.errors import ErrorKind
from groxy.routing.accounts import Account, Directory
from groxy.routing.catalog import Catalog
from groxy.routing.pools import Pool
from groxy.routing.router import Router, Wanted
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
    "after_a_change_us": "first plan after a change",
}


def _accounts(count: int) -> list[Account]:
    upstream = upstreams.discover()["xai"]
    pools = tuple(Pool)
    return [
        Account(
            id=f"account-{number}",
            name=f"account-{number}",
            upstream=upstream,
            pool=pools[number % len(pools)],
            credentials=Credentials(api_key="sk-bench"),
            transport=HttpTransport.create(connect_timeout_s=1.0),
            origin="bench",
            headers={},
            models=frozenset({MODEL}),
        )
        for number in range(count)
    ]


def _median_us(work: Callable[[], object], times: int) -> float:
    """Return what one call takes, in microseconds: the median of a few rounds."""
    rounds: list[float] = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            work()
        rounds.append((time.perf_counter() - began) / times * 1e6)
    return statistics.median(rounds)


def measure(count: int, times: int) -> dict[str, float]:
    """Return microseconds for a plan among `count` accounts."""
    directory = Directory()
    directory.replace(_accounts(count))
    router = Router(Catalog.load({}), directory, max_candidates=3)

    def plan() -> object:
        return router.plan(_WANTED)

    def plan_anew() -> object:
        directory.generation += 1
        return router.plan(_WANTED)

    plan()
    row = {"accounts": count, "all_well_us": _median_us(plan, times)}
    row["after_a_change_us"] = _median_us(plan_anew, _FRESH)
    until = directory.now() + _REST_S
    _rest(directory.accounts[::4], until)
    row["quarter_rests_us"] = _median_us(plan, times)
    # The first choice of the model measured: all its accounts are at their rate limit at once.
    _rest([account for account in directory.accounts if account.pool is Pool.BASIC], until)
    row["pool_rests_us"] = _median_us(plan, times)
    return row


def _rest(accounts: Sequence[Account], until: float) -> None:
    for account in accounts:
        account.rest_until, account.rest_reason = until, ErrorKind.UPSTREAM_LIMITED


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
