"""The load generator: what wrk cannot do, and whole replies where wrk is not installed.

In: a URL, headers and the kind of load. Out: one JSON object on standard output. Every load ends
by itself: it starts nothing after `--seconds` and gives up `GRACE_S` later. Each reply is checked;
what was not 200, was broken off or lacks events is counted by its flaw.

    python bench/load.py streams http://127.0.0.1:8000/v1/chat/completions -H 'Authorization: …'
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop
from asks import BURST, FIRST, PACED, SINGLE, USAGE_EACH, WHOLE, Ask
from pairs import Target, compare, percentiles_ms
from replies import EVENT, ReplyReader, flaw_of_stream, flaw_of_whole

GRACE_S = 30.0
ASKS = {
    "whole": WHOLE,
    "burst": BURST,
    "single": SINGLE,
    "paced": PACED,
    "usage-each": USAGE_EACH,
    "first": FIRST,
}


@dataclass(slots=True)
class Tally:
    """What came of a load. Times are in seconds."""

    total_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    flaws: Counter[str] = field(default_factory=Counter)
    last_end: float = 0.0
    open_now: int = 0
    open_most: int = 0


class Caller(asyncio.Protocol):
    """One connection: asks, reads the reply, and asks again while `goes_on()`."""

    __slots__ = (
        "_began",
        "_first",
        "_goes_on",
        "_is_asking",
        "_left",
        "_reader",
        "_tally",
        "_target",
        "_transport",
    )

    def __init__(
        self,
        target: Target,
        tally: Tally,
        goes_on: Callable[[], bool],
        left: asyncio.Future[None],
    ) -> None:
        self._target = target
        self._tally = tally
        self._goes_on = goes_on
        self._left = left
        self._reader = ReplyReader()
        self._is_asking = False
        self._began = self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take a piece of the reply."""
        if not self._is_asking:
            return
        is_complete = self._reader.feed(data)
        if not self._first and EVENT in data:
            self._first = time.perf_counter()
            self._tally.open_now += 1
            self._tally.open_most = max(self._tally.open_most, self._tally.open_now)
        if is_complete:
            self._end("")
            if self._goes_on():
                self._ask()
            else:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a reply that was broken off."""
        if self._is_asking:
            is_whole = exc is None and self._reader.ends_with_connection
            self._end("" if is_whole else "connection lost")
        if not self._left.done():
            self._left.set_result(None)

    def give_up(self) -> None:
        """Count a reply that did not end in time."""
        if self._is_asking:
            self._end("not done in time")
            self._transport.abort()

    def _ask(self) -> None:
        self._reader.start()
        self._is_asking = True
        self._first = 0.0
        self._began = time.perf_counter()
        self._transport.write(self._target.request)

    def _end(self, flaw: str) -> None:
        now = time.perf_counter()
        tally, reader = self._tally, self._reader
        self._is_asking = False
        if self._first:
            tally.open_now -= 1
        if not flaw and self._target.events:
            flaw = flaw_of_stream(reader, self._target.events)
        elif not flaw:
            flaw = flaw_of_whole(reader)
        if flaw:
            tally.flaws[flaw] += 1
            return
        tally.total_s.append(now - self._began)
        if self._first:
            tally.first_s.append(self._first - self._began)
        tally.last_end = now


async def closed_loop(
    target: Target, *, connections: int, seconds: float, spread_s: float = 0.0
) -> dict[str, object]:
    """Keep `connections` requests open for `seconds`, the first ones opened over `spread_s`."""
    tally = Tally()
    began = time.perf_counter()
    ends_at = began + seconds
    await _run_callers(
        target,
        tally,
        lambda: time.perf_counter() < ends_at,
        starts_s=[spread_s * number / connections for number in range(connections)],
        limit_s=seconds + GRACE_S,
    )
    elapsed_s = max(tally.last_end - began, 1e-9)
    return _summary(tally, elapsed_s)


async def ramp(target: Target, *, streams: int, ramp_s: float, limit_s: float) -> dict[str, object]:
    """Open `streams` streams over `ramp_s` seconds, one connection each, and see them through."""
    tally = Tally()
    began = time.perf_counter()
    starts_s = [ramp_s * number / streams for number in range(streams)]
    await _run_callers(target, tally, lambda: False, starts_s=starts_s, limit_s=limit_s)
    elapsed_s = max(tally.last_end - began, 1e-9)
    return _summary(tally, elapsed_s) | {"asked": streams, "open_most": tally.open_most}


async def _run_callers(
    target: Target,
    tally: Tally,
    goes_on: Callable[[], bool],
    *,
    starts_s: list[float],
    limit_s: float,
) -> None:
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []

    async def call(start_s: float) -> None:
        await asyncio.sleep(start_s)
        left = loop.create_future()
        caller = Caller(target, tally, goes_on, left)
        try:
            await loop.create_connection(lambda: caller, target.host, target.port)
        except OSError:
            tally.flaws["no connection"] += 1
            return
        callers.append(caller)
        await left

    running = [asyncio.create_task(call(start_s)) for start_s in starts_s]
    _, late = await asyncio.wait(running, timeout=limit_s)
    for caller in callers:
        caller.give_up()
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _summary(tally: Tally, elapsed_s: float) -> dict[str, object]:
    return {
        "done": len(tally.total_s),
        "elapsed_s": elapsed_s,
        "total_ms": percentiles_ms(tally.total_s),
        "first_ms": percentiles_ms(tally.first_s),
        "flaws": dict(tally.flaws),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Load for gateways; prints JSON.")
    parser.add_argument(
        "kind",
        choices=["whole", "streams", "slow", "paired"],
        help="whole, streams: closed loop; slow: many slow streams; paired: against --direct",
    )
    parser.add_argument("url")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("--ask", choices=list(ASKS), default="whole", help="form of the replies")
    parser.add_argument("--size", type=int, default=0, help="bytes of the request's body")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--expect-events", type=int, default=0, help="events of a good stream")
    parser.add_argument("--direct", default="", help="paired: the URL to compare with")
    parser.add_argument("--direct-header", action="append", default=[])
    parser.add_argument("--streams", type=int, default=2000, help="slow: how many")
    parser.add_argument("--ramp-s", type=float, default=5.0, help="slow: opened over so long")
    parser.add_argument("--stream-events", type=int, default=15, help="slow: one a second")
    return parser


def _run(options: argparse.Namespace) -> dict[str, object]:
    ask: Ask = ASKS[options.ask]
    if options.kind == "slow":
        ask = Ask(events=options.stream_events, gap_us=1_000_000)
    body = ask.body(size=options.size)
    # The upstream ends every stream with one more event: usage.
    sent_events = ask.events + 1 if ask.events else 0
    target = Target.of(options.url, options.header, body, options.expect_events or sent_events)
    if options.kind == "paired":
        upstream = Target.of(options.direct, options.direct_header, body, sent_events)
        return compare(target, upstream, seconds=options.seconds)
    if options.kind == "slow":
        return uvloop.run(
            ramp(
                target,
                streams=options.streams,
                ramp_s=options.ramp_s,
                limit_s=options.ramp_s + options.stream_events + GRACE_S,
            )
        )
    # Slow streams begin one by one and out of step: else their events would come in herds.
    spread_s = (ask.events + 1) * ask.gap_us / 1e6
    return uvloop.run(
        closed_loop(
            target, connections=options.connections, seconds=options.seconds, spread_s=spread_s
        )
    )


def main() -> None:
    """Read the command line, run the load, print what came of it."""
    json.dump(_run(_parser().parse_args()), sys.stdout)
    print()


if __name__ == "__main__":
    main()
