"""What is measured: each function here loads one subject and returns figures.

In: a started subject and the knobs of the run. Out: for each figure the median of the rounds, with
all rounds. A round in which any reply was not whole gives no figure but the reason. Must not know
one subject from another, apart from Groxy's starts.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asks import WHOLE, Ask
from load import ASKS
from machine import Meter
from probes import headers_of, probe_stream, probe_whole, stats_of
from processes import Program, ProgramError, plain_env
from subjects import Groxy, Subject

HERE = Path(__file__).resolve().parent
BIG_BODY_BYTES = 1 << 20
_LIMIT_S = 60.0
_SETTLE_S = 2.0
_SAMPLE_S = 0.2

_WRK_DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  local ms = function(point) return latency:percentile(point) / 1000 end
  io.write(string.format(
    '{"done": %d, "elapsed_s": %f, "total_ms": {"p50": %f, "p90": %f, "p99": %f, "max": %f}, ' ..
    '"flaws": {"status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}}\\n',
    summary.requests, summary.duration / 1e6, ms(50), ms(90), ms(99), latency.max / 1000,
    e.status, e.connect, e.read, e.write, e.timeout))
end
"""

Raw = dict[str, Any]
"""What a load printed, with CPU time, busy cores and memory added."""


@dataclass(slots=True)
class Figure:
    """One number of the report."""

    rounds: list[float] = field(default_factory=list)
    flaw: str = ""
    """Why there is no number."""

    @property
    def value(self) -> float | None:
        """The median of the rounds, or None when any of them failed."""
        return statistics.median(self.rounds) if self.rounds and not self.flaw else None


@dataclass(slots=True, kw_only=True)
class Round:
    """What one round gave."""

    values: dict[str, float]
    flaw: str
    raw: Raw


@dataclass(slots=True, kw_only=True)
class Bench:
    """The knobs of a run, and how it loads things."""

    python: str
    wrk: str
    """Path of wrk; empty when it is not installed."""
    work: Path
    cores: tuple[int, int]
    """The gateway's core; the one of load generator and upstream."""
    upstream: Program
    upstream_port: int
    seconds: float
    rounds: int
    starts: int
    slow_streams: int
    ramp_s: float
    slow_events: int
    soak_minutes: float
    raw: dict[str, list[Raw]] = field(default_factory=dict)

    def repeat(self, name: str, once: Callable[[float], Round]) -> dict[str, Figure]:
        """Warm up, run the rounds, and return their figures."""
        once(min(1.0, self.seconds))
        figures: dict[str, Figure] = {}
        for _ in range(self.rounds):
            done = once(self.seconds)
            self.raw.setdefault(name, []).append(done.raw)
            for key, value in done.values.items():
                figure = figures.setdefault(f"{name}.{key}", Figure())
                figure.rounds.append(value)
                figure.flaw = figure.flaw or done.flaw
        return figures

    def metered(
        self, subject: Subject, command: list[str], limit_s: float, *, sees_memory: bool = False
    ) -> Raw:
        """Run a load; return what it printed last, with the CPU time and memory it caused."""
        program = subject.program
        before_s, upstream_before_s = _cpu_s(program), self.upstream.cpu_s()
        meter = Meter.start(self.cores)
        printed, rss_mb = self._run(command, limit_s, program if sees_memory else None)
        cpu_s = _cpu_s(program) - before_s
        busy = meter.read(cpu_s + self.upstream.cpu_s() - upstream_before_s)
        return printed | {"cpu_s": cpu_s, "busy": busy, "rss_mb": rss_mb}

    def _run(
        self, command: list[str], limit_s: float, watched: Program | None
    ) -> tuple[Raw, float]:
        log = self.work / "load.out"
        log.unlink(missing_ok=True)
        load = Program.start("load", command, core=self.cores[1], env=plain_env(self.work), log=log)
        most_mb = 0.0
        try:
            while load.process.poll() is None:
                if time.perf_counter() > load.started + limit_s:
                    raise ProgramError(f"a load took longer than {limit_s:g} s", log)
                if watched is not None:
                    most_mb = max(most_mb, watched.rss_mb())
                time.sleep(_SAMPLE_S)
            if load.process.returncode:
                raise ProgramError(f"a load ended with {load.process.returncode}", log)
        finally:
            load.stop()
        printed: Raw = json.loads(log.read_text().strip().rpartition("\n")[2])
        return printed, most_mb


def _cpu_s(program: Program | None) -> float:
    return program.cpu_s() if program is not None else 0.0


def start(bench: Bench, subject: Subject) -> dict[str, Figure]:
    """Time from exec to ready, and memory after it. The subject is running already."""
    program = subject.program
    if program is None:
        return {}
    time.sleep(_SETTLE_S)
    figures = {"start.rss_mb": Figure([program.rss_mb()])}
    if not isinstance(subject, Groxy):
        return figures | {"start.ready_s": Figure([subject.start_s])}
    firsts, again = Figure([]), Figure([])
    for _ in range(bench.starts):
        for figure, forgets in ((firsts, True), (again, False)):
            subject.stop()
            if forgets:
                subject.forget()
            subject.start()
            figure.rounds.append(subject.start_s)
    return figures | {"start.first_ready_s": firsts, "start.ready_s": again}


def whole(bench: Bench, subject: Subject, connections: int) -> dict[str, Figure]:
    """Whole replies as fast as they come: requests/s, latency, the gateway's CPU time."""
    probe_whole(subject)

    def once(seconds: float) -> Round:
        before = stats_of(bench.upstream_port)["whole"]
        raw = _whole_load(bench, subject, connections, seconds)
        done, elapsed_s, flaws = raw["done"], raw["elapsed_s"], raw["flaws"]
        if stats_of(bench.upstream_port)["whole"] - before < done:
            flaws["replies that the upstream never gave"] = done
        total_ms: dict[str, float] = raw["total_ms"]
        values = {
            "rps": done / elapsed_s,
            "p50_ms": total_ms.get("p50", 0.0),
            "p99_ms": total_ms.get("p99", 0.0),
        }
        if subject.program is not None and done:
            values["cpu_us"] = raw["cpu_s"] / done * 1e6
        return Round(values=values, flaw=_flaw_of(raw), raw=raw)

    return bench.repeat(f"whole{connections}", once)


def _whole_load(bench: Bench, subject: Subject, connections: int, seconds: float) -> Raw:
    limit_s = seconds + _LIMIT_S
    if not bench.wrk:
        command = [bench.python, str(HERE / "load.py"), "whole", subject.url]
        command += [*_header_flags(subject), "--connections", str(connections)]
        return bench.metered(subject, [*command, "--seconds", str(seconds)], limit_s)
    script = bench.work / "wrk.lua"
    script.write_text(_wrk_script(subject))
    command = [bench.wrk, "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s"]
    command += ["--timeout", "20s", "-s", str(script), subject.url]
    return bench.metered(subject, command, limit_s)


def _wrk_script(subject: Subject) -> str:
    headers = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
        for name, value in headers_of(subject).items()
    )
    body = json.dumps(WHOLE.body().decode())
    return f'wrk.method = "POST"\nwrk.body = {body}\n{headers}\n{_WRK_DONE}'


def added(bench: Bench, subject: Subject, ask_name: str, size: int = 0) -> dict[str, Figure]:
    """Latency that the subject adds, one request at a time, by turns with the upstream alone."""
    ask = ASKS[ask_name]
    expected = probe_stream(subject, ask) if ask.events else 0
    probe_whole(subject)
    command = [bench.python, str(HERE / "load.py"), "paired", subject.url]
    command += [*_header_flags(subject), "--ask", ask_name, "--size", str(size)]
    command += ["--direct", f"http://127.0.0.1:{bench.upstream_port}/v1/chat/completions"]
    command += ["--expect-events", str(expected)]

    def once(seconds: float) -> Round:
        raw = bench.metered(subject, [*command, "--seconds", str(seconds)], seconds + _LIMIT_S)
        ms: dict[str, dict[str, float]] = raw["ms"]
        values = {
            f"{way}_{point}_ms": ms[way].get(point, 0.0)
            for way in ("added", "gateway", "direct")
            for point in ("p50", "p99")
        }
        return Round(values=values, flaw=_flaw_of(raw), raw=raw)

    return bench.repeat(f"added-{ask_name}{'-big' if size else ''}", once)


def streams(bench: Bench, subject: Subject, ask_name: str, connections: int) -> dict[str, Figure]:
    """Streams as fast as they come: events/s, time to the first, the gateway's CPU time."""
    ask = ASKS[ask_name]
    expected = probe_stream(subject, ask)
    command = [bench.python, str(HERE / "load.py"), "streams", subject.url]
    command += [*_header_flags(subject), "--ask", ask_name, "--connections", str(connections)]
    command += ["--expect-events", str(expected)]

    def once(seconds: float) -> Round:
        raw = bench.metered(subject, [*command, "--seconds", str(seconds)], seconds + _LIMIT_S)
        # Only what the upstream made counts, whatever the gateway made of it.
        events = raw["done"] * ask.events
        first_ms: dict[str, float] = raw["first_ms"]
        values = {
            "events_s": events / raw["elapsed_s"],
            "first_p50_ms": first_ms.get("p50", 0.0),
            "first_p99_ms": first_ms.get("p99", 0.0),
        }
        cpu_s = raw["cpu_s"]
        if subject.program is not None and events and cpu_s:
            values["cpu_s_per_1000"] = cpu_s / events * 1000
            values["events_per_core_s"] = events / cpu_s
        return Round(values=values, flaw=_flaw_of(raw), raw=raw)

    return bench.repeat(f"streams-{ask_name}", once)


def slow(bench: Bench, subject: Subject) -> dict[str, Figure]:
    """Very many slow streams at once: time to the first event, drops, memory at the peak."""
    ask = Ask(events=bench.slow_events)
    expected = probe_stream(subject, ask)
    command = [bench.python, str(HERE / "load.py"), "slow", subject.url]
    command += [*_header_flags(subject), "--streams", str(bench.slow_streams)]
    command += ["--ramp-s", str(bench.ramp_s), "--stream-events", str(bench.slow_events)]
    command += ["--expect-events", str(expected)]
    limit_s = bench.ramp_s + bench.slow_events + 2 * _LIMIT_S
    raw = bench.metered(subject, command, limit_s, sees_memory=True)
    bench.raw["slow"] = [raw]
    first_ms: dict[str, float] = raw["first_ms"]
    # Drops are a figure of their own here, so they do not take the others away.
    values = {
        "dropped": float(sum(raw["flaws"].values())),
        "open_most": float(raw["open_most"]),
        "first_p50_ms": first_ms.get("p50", 0.0),
        "first_p99_ms": first_ms.get("p99", 0.0),
    }
    if subject.program is not None:
        values["rss_mb"] = raw["rss_mb"]
    return {f"slow.{key}": Figure([value]) for key, value in values.items()}


def soak(bench: Bench, subject: Subject) -> dict[str, Figure]:
    """Memory over a long time under mixed load, one reading a minute."""
    program = subject.program
    if program is None:
        return {}
    expected = probe_stream(subject, ASKS["paced"])
    script = [bench.python, str(HERE / "load.py")]
    calm = [*_header_flags(subject), "--expect-events", str(expected)]
    loads = (
        [*script, "streams", subject.url, *calm, "--ask", "paced", "--connections", "50"],
        [*script, "whole", subject.url, *_header_flags(subject), "--connections", "4"],
    )
    readings: list[float] = []
    flaws: dict[str, int] = {}
    for _ in range(max(round(bench.soak_minutes), 2)):
        # Whole replies are short: each is a row in the database, and an hour has many of them.
        for command, seconds in zip(loads, (52, 5), strict=True):
            raw = bench.metered(subject, [*command, "--seconds", str(seconds)], 60 + _LIMIT_S)
            for flaw, number in raw["flaws"].items():
                flaws[flaw] = flaws.get(flaw, 0) + number
        readings.append(program.rss_mb())
    bench.raw["soak"] = [{"rss_mb": readings}]
    tenth = max(len(readings) // 10, 1)
    first, last = statistics.median(readings[:tenth]), statistics.median(readings[-tenth:])
    values = {"first_mb": first, "last_mb": last, "growth": last / first - 1}
    flaw = _named(flaws)
    return {f"soak.{key}": Figure([value], flaw) for key, value in values.items()}


def _header_flags(subject: Subject) -> list[str]:
    return [flag for line in subject.headers for flag in ("-H", line)]


def _flaw_of(raw: Raw) -> str:
    """Return what was wrong with the replies of a load; empty when nothing was."""
    if not raw["done"] and not any(raw["flaws"].values()):
        return "no reply at all"
    return _named(raw["flaws"])


def _named(flaws: dict[str, int]) -> str:
    return ", ".join(f"{number} × {name}" for name, number in flaws.items() if number)


FIGURES = {
    "start": "start",
    "latency": "added-whole",
    "rps1": "whole1",
    "rps64": "whole64",
    "first": "added-first",
    "body": "added-whole-big",
    "burst": "streams-burst",
    "single": "streams-single",
    "paced": "streams-paced",
    "usage": "streams-usage-each",
    "slow": "slow",
    "soak": "soak",
}
"""What the figures of a measure begin with."""
MEASURES: dict[str, Callable[[Bench, Subject], dict[str, Figure]]] = {
    "start": start,
    "latency": lambda bench, subject: added(bench, subject, "whole"),
    "rps1": lambda bench, subject: whole(bench, subject, 1),
    "rps64": lambda bench, subject: whole(bench, subject, 64),
    "first": lambda bench, subject: added(bench, subject, "first"),
    "body": lambda bench, subject: added(bench, subject, "whole", BIG_BODY_BYTES),
    "burst": lambda bench, subject: streams(bench, subject, "burst", 32),
    "single": lambda bench, subject: streams(bench, subject, "single", 32),
    "paced": lambda bench, subject: streams(bench, subject, "paced", 100),
    "usage": lambda bench, subject: streams(bench, subject, "usage-each", 32),
    "slow": slow,
    "soak": soak,
}
