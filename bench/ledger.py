"""How long `groxy ledger verify` takes, with so many entries in the books.

In: the command line. Out: seconds, on standard output. The books are made up: each request of a
paying user is a charge and a cost, as the gateway enters them. SQLite in a temporary folder, or
the PostgreSQL at `--url`, whose database should be empty and is filled.

    python bench/ledger.py --entries 1000000
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from groxy.store.database import Database
from groxy.store.entries import AttemptEntry, RequestEntry, request_id_at
from groxy.store.ledger import COSTS, SALES, Entry, Kind, upstream_side, user_side
from groxy.store.verification import verify
from groxy.store.writers import entry_writer
from groxy.store.writing import Group

_USERS = 1_000
_GROUP = 500
_BEGAN_MS = 1_790_000_000_000
_GRANT = 10**13


def _request(number: int) -> tuple[RequestEntry, AttemptEntry, list[Entry]]:
    user, at_ms = f"usr_{number % _USERS}", _BEGAN_MS + number
    name = f"{request_id_at(at_ms)}{number:016x}"
    usage = (500, 100, 200, 50)
    request = RequestEntry(
        name,
        at_ms,
        f"key_{number % (_USERS * 3)}",
        "chat",
        number % 2 == 0,
        "grok-4.3",
        "grok-4.3",
        "grok-4.3",
        f"acc_{number % 20}",
        "ok",
        200,
        1,
        *usage,
        False,  # noqa: FBT003 - a column
        10_000_000,
        300_000,
        900_000,
        "chatcmpl-1",
        "",
        "",
        "stop",
        "chat",
        user_id=user,
        charge_ticks=11_500_000,
        held_ticks=100_000_000,
    )
    attempt = AttemptEntry(
        name,
        1,
        at_ms,
        "xai",
        request.account_id,
        "grok-4.3",
        "grok-4.3",
        "ok",
        200,
        *usage,
        False,  # noqa: FBT003 - a column
        10_000_000,
        "upstream",
        300_000,
        900_000,
        10_000_000,
    )
    cost = ("cost", COSTS, upstream_side(request.account_id), 10_000_000, "", request.key_id)
    charge = ("charge", user_side(user), SALES, 11_500_000, user, request.key_id)
    return (
        request,
        attempt,
        [
            Entry(f"{name}.1", at_ms, *cost, name, ""),
            Entry(f"{name}.0", at_ms, *charge, name, ""),
        ],
    )


async def _fill(database: Database, entries: int) -> None:
    writer = entry_writer(database)
    grants = [
        Entry(
            f"grant:{number}",
            _BEGAN_MS,
            Kind.GRANT.value,
            "gifts",
            user_side(f"usr_{number}"),
            _GRANT,
            f"usr_{number}",
            "",
            "",
            "",
        )
        for number in range(_USERS)
    ]
    await writer.submit(Group([], [], entries=grants))
    for start in range(0, entries // 2, _GROUP):
        made = [_request(number) for number in range(start, min(start + _GROUP, entries // 2))]
        lines = [line for _, _, both in made for line in both]
        await writer.submit(
            Group([one[0] for one in made], [one[1] for one in made], entries=lines)
        )
    await writer.close()


async def _measure(url: str, entries: int, folder: Path) -> int:
    database = await Database.open(url, folder)
    try:
        began = time.perf_counter()
        await _fill(database, entries)
        filled = time.perf_counter()
        verified = await verify(database)
        done = time.perf_counter()
    finally:
        await database.close()
    sys.stdout.write(
        f"{verified.entries} entries, {verified.requests} requests: filled in "
        f"{filled - began:.1f} s, verified in {done - filled:.1f} s, "
        f"{len(verified.findings)} findings\n"
    )
    return 1 if verified.findings else 0


def main() -> int:
    """Fill the books, verify them, say how long that took."""
    parser = argparse.ArgumentParser(description="Time `groxy ledger verify`.")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--url", default="sqlite+aiosqlite:///groxy.db")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(options.url, options.entries, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
