"""The report: one table of subjects and measures with the bars, and everything raw as JSON.

In: figures by subject, facts about the machine. Out: Markdown, and the place in the documentation
filled. Must not measure or round anything that goes into the JSON.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measures import Figure, Raw
from selection import table as selection_table

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_NOISY_CORES = 0.15
_FULL_CORE = 0.95
_UPSTREAM_RPS = 20_000
JUDGED = "groxy"

Figures = Mapping[str, Mapping[str, Figure]]
"""By subject, then by figure."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    key: str
    label: str
    digits: int
    bar: str = ""
    is_met: Callable[[float], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One subject."""

    name: str
    title: str
    version: str
    problem: str
    """Why it has no figures, or lacks some; empty when all is well."""


def _at_most(limit: float) -> Callable[[float], bool]:
    return lambda value: value <= limit


def _at_least(limit: float) -> Callable[[float], bool]:
    return lambda value: value >= limit


ROWS = (
    Row("whole1.rps", "requests/s, 1 connection", 0),
    Row("whole1.p50_ms", "· latency p50, ms", 3),
    Row("whole1.p99_ms", "· latency p99, ms", 3),
    Row("whole64.rps", "requests/s, 64 connections", 0, "≥ 5,000", _at_least(5_000)),
    Row("whole64.p50_ms", "· latency p50, ms", 2),
    Row("whole64.p99_ms", "· latency p99, ms", 2),
    Row("whole64.cpu_us", "· CPU a request, µs", 0),
    Row("added-whole.added_p50_ms", "added latency p50, ms", 3, "≤ 0.6", _at_most(0.6)),
    Row("added-whole.added_p99_ms", "added latency p99, ms", 3),
    Row("added-first.added_p50_ms", "added time to first event p50, ms", 3, "≤ 1", _at_most(1)),
    Row("added-first.added_p99_ms", "added time to first event p99, ms", 3),
    Row("added-whole-big.added_p50_ms", "added by a 1 MB body p50, ms", 2, "≤ 5", _at_most(5)),
    Row("added-whole-big.added_p99_ms", "added by a 1 MB body p99, ms", 2),
    Row("streams-burst.events_s", "events/s, all in one write", 0),
    Row("streams-burst.cpu_s_per_1000", "· CPU s for 1,000 events", 4),
    Row(
        "streams-burst.events_per_core_s",
        "· events a second of CPU",
        0,
        "≥ 60,000",
        _at_least(60_000),
    ),
    Row("streams-single.events_s", "events/s, a write for each", 0),
    Row("streams-single.cpu_s_per_1000", "· CPU s for 1,000 events", 4),
    Row(
        "streams-single.events_per_core_s",
        "· events a second of CPU",
        0,
        "≥ 60,000",
        _at_least(60_000),
    ),
    Row("streams-single.first_p99_ms", "· time to first event p99, ms", 1),
    Row("streams-usage-each.events_s", "events/s, usage on each, as xAI", 0),
    Row("streams-usage-each.events_per_core_s", "· events a second of CPU", 0),
    Row("streams-paced.cpu_s_per_1000", "CPU s for 1,000 events, each arriving alone", 4),
    Row("streams-paced.events_per_core_s", "· events a second of CPU", 0),
    Row("streams-paced.first_p99_ms", "· time to first event p99, ms", 2),
    Row("slow.open_most", "slow streams open at once", 0),
    Row("slow.dropped", "· dropped", 0, "0", _at_most(0)),
    Row("slow.first_p50_ms", "· time to first event p50, ms", 2),
    Row("slow.first_p99_ms", "· time to first event p99, ms", 2),
    Row("slow.rss_mb", "· memory at the peak, MB", 0, "≤ 300", _at_most(300)),
    Row("start.rss_mb", "memory after start, MB", 0, "≤ 120", _at_most(120)),
    Row("start.first_ready_s", "first start to ready, s", 2, "≤ 1.5", _at_most(1.5)),
    Row("start.ready_s", "start to ready, s", 2, "≤ 1.5", _at_most(1.5)),
    Row("soak.first_mb", "memory after the first tenth of the soak, MB", 0),
    Row("soak.last_mb", "· in its last tenth, MB", 0),
    Row("soak.growth", "· growth", 3, "≤ 0.05", _at_most(0.05)),
)
_TIMES = (("litellm", 40.0), ("portkey", 3.0))
"""How many times the throughput of a peer the bar asks for."""


def markdown(
    facts: Mapping[str, Any],
    columns: list[Column],
    figures: Figures,
    selection: list[dict[str, float]],
    remarks: list[str],
) -> str:
    """Return the whole report."""
    shown = [column for column in columns if figures.get(column.name)]
    parts = [_table(shown, figures)] if shown else []
    parts.append(_origin(facts, shown))
    notes = [f"{column.title}: {column.problem}." for column in columns if column.problem]
    notes += [*remarks, *_refused(shown, figures)]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    if selection:
        parts.append(f"Choosing an account (`Router.plan`):\n\n{selection_table(selection)}")
    return "\n\n".join(parts) + "\n"


def _table(columns: list[Column], figures: Figures) -> str:
    titles = [f"**{c.title}**" if c.name == JUDGED else c.title for c in columns]
    lines = [
        f"| | {' | '.join(titles)} | bar | met |",
        f"|---|{'---:|' * len(columns)}---|---|",
    ]
    for row in ROWS:
        if any(row.key in figures[column.name] for column in columns):
            lines.append(_line(row, columns, figures))
        if row.key == "whole64.rps":
            lines += [line for peer in _TIMES if (line := _times_line(*peer, columns, figures))]
    return "\n".join(lines)


def _line(row: Row, columns: list[Column], figures: Figures) -> str:
    cells = [_cell(row, figures[column.name].get(row.key)) for column in columns]
    judged = figures.get(JUDGED, {}).get(row.key)
    met = ""
    if judged is not None and row.is_met is not None:
        value = judged.value
        met = _verdict(is_met=value is not None and row.is_met(value))
    return f"| {row.label} | {' | '.join(cells)} | {row.bar} | {met} |"


def _times_line(peer: str, least: float, columns: list[Column], figures: Figures) -> str:
    ours = figures.get(JUDGED, {}).get("whole64.rps")
    theirs = figures.get(peer, {}).get("whole64.rps")
    if ours is None or theirs is None or not theirs.value:
        return ""
    times = (ours.value or 0.0) / theirs.value
    cells = [f"{times:.1f} ×" if column.name == JUDGED else "" for column in columns]
    title = next(column.title for column in columns if column.name == peer)
    verdict = _verdict(is_met=times >= least)
    return f"| · times {title} | {' | '.join(cells)} | ≥ {least:g} × | {verdict} |"


def _cell(row: Row, figure: Figure | None) -> str:
    if figure is None:
        return ""
    value = figure.value
    return "refused" if value is None else f"{value:,.{row.digits}f}"


def _verdict(*, is_met: bool) -> str:
    return "yes" if is_met else "**no**"


def _refused(columns: list[Column], figures: Figures) -> list[str]:
    """Say why figures were refused, once for each measure."""
    found = {
        f"{column.title}, {key.partition('.')[0]}: refused, {figure.flaw}."
        for column in columns
        for key, figure in figures[column.name].items()
        if figure.flaw
    }
    return sorted(found)


def _origin(facts: Mapping[str, Any], columns: list[Column]) -> str:
    versions = ", ".join(f"{column.title} {column.version}" for column in columns if column.version)
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    load = facts["wrk"] or "wrk is not installed: load.py took its place"
    rounds = "1 round" if facts["rounds"] == 1 else f"medians of {facts['rounds']} rounds"
    disk = f"{facts['file_system']}, a synced write takes {facts['fsync_ms']} ms"
    sentences = [
        f"{facts['date']}, commit {facts['commit']}",
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {disk}",
        f"Python {facts['python']}, {packages}",
        versions,
        load,
        f"{rounds} of {facts['seconds']:g} s",
    ]
    return ". ".join(filter(None, sentences)) + "."


def remarks_on(raw: Mapping[str, Mapping[str, list[Raw]]], figures: Figures) -> list[str]:
    """Return what a reader has to know before trusting the figures."""
    remarks: list[str] = []
    noisy: dict[str, list[str]] = {}
    limited: dict[str, list[str]] = {}
    for subject, name, busy in _busy(raw):
        if busy["others"] > _NOISY_CORES:
            noisy.setdefault(subject, []).append(f"{name} {busy['others']:.1f}")
        elif busy["load_core"] > _FULL_CORE > busy["gateway_core"] and subject != "direct":
            limited.setdefault(subject, []).append(name)
    if noisy:
        remarks.append(
            f"Other programs took cores (so many, of two) from {_listed(noisy)}. Measure again."
        )
    if limited:
        remarks.append(
            "The core of load generator and upstream was full and the gateway's was not, so "
            f"these are lower bounds: {_listed(limited)}."
        )
    direct = figures.get("direct", {}).get("whole64.rps")
    if direct is not None and (direct.value or 0) < _UPSTREAM_RPS:
        remarks.append(
            f"The upstream alone did less than {_UPSTREAM_RPS:,} requests/s: it was measured too."
        )
    return remarks


def _listed(names: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{subject}: {', '.join(found)}" for subject, found in names.items())


def _busy(raw: Mapping[str, Mapping[str, list[Raw]]]) -> list[tuple[str, str, dict[str, float]]]:
    """Return the busiest round of each measure of each subject."""
    return [
        (subject, name, max((one["busy"] for one in rounds), key=lambda busy: busy["others"]))
        for subject, measures in raw.items()
        for name, rounds in measures.items()
        if rounds and "busy" in rounds[0]
    ]


def write_into(page: Path, text: str) -> None:
    """Put the report between the marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def as_json(
    facts: Mapping[str, Any],
    columns: list[Column],
    figures: Figures,
    raw: Mapping[str, Mapping[str, list[Raw]]],
    selection: list[dict[str, float]],
) -> dict[str, Any]:
    """Return everything, for machines."""
    return {
        "facts": facts,
        "subjects": {
            column.name: {
                "title": column.title,
                "version": column.version,
                "problem": column.problem,
                "figures": {
                    key: {"value": figure.value, "rounds": figure.rounds, "flaw": figure.flaw}
                    for key, figure in figures.get(column.name, {}).items()
                },
                "raw": raw.get(column.name, {}),
            }
            for column in columns
        },
        "selection": selection,
    }
