"""The report: one table of subjects and measures with the bars, and everything raw as JSON.

In: figures by subject, facts about the machine. Out: Markdown, and the place in the documentation
filled. Must not measure or round anything that goes into the JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bars import REFERENCE_BARE_RPS, Bar, Scale, Yardstick, at_least, at_most, verdict
from measures import Figure, Raw
from selection import table as selection_table

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_NOISY_CORES = 0.15
_FULL_CORE = 0.95
_UPSTREAM_RPS = 20_000
JUDGED, YARDSTICK, CROSS = "groxy", "bare", "cross"
_RPS, _ADDED, _SINGLE = (
    "whole64.rps",
    "added-whole.added_p50_ms",
    "streams-single.events_per_core_s",
)

Figures = Mapping[str, Mapping[str, Figure]]
"""By subject, then by figure."""
RawRounds = Mapping[str, Mapping[str, list[Raw]]]
"""By subject, then by measure."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    key: str
    label: str
    digits: int
    bar: Bar | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """One line of the table, below its row: a subject's figure divided by another's."""

    key: str
    subject: str
    over: str
    label: str
    digits: int
    unit: str = ""
    bar: Bar | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One subject."""

    name: str
    title: str
    version: str
    problem: str
    """Why it has no figures, or lacks some; empty when all is well."""
    left_out: frozenset[str] = frozenset()
    """What the figures that it is not there for begin with."""


ROWS = (
    Row("whole1.rps", "requests/s, 1 connection", 0),
    Row("whole1.p50_ms", "· latency p50, ms", 3),
    Row("whole1.p99_ms", "· latency p99, ms", 3),
    Row(_RPS, "requests/s, 64 connections", 0, at_least(5_000, Scale.RATE)),
    Row("whole64.p50_ms", "· latency p50, ms", 2),
    Row("whole64.p99_ms", "· latency p99, ms", 2),
    Row("whole64.cpu_us", "· CPU a request, µs", 0),
    Row(_ADDED, "added latency p50, ms", 3, at_most(0.6, Scale.TIME)),
    Row("added-whole.added_p99_ms", "added latency p99, ms", 3),
    Row(
        "added-first.added_p50_ms",
        "added time to first event p50, ms",
        3,
        at_most(1, Scale.TIME),
    ),
    Row("added-first.added_p99_ms", "added time to first event p99, ms", 3),
    Row("added-whole-big.added_p50_ms", "added by a 1 MB body p50, ms", 2, at_most(5, Scale.TIME)),
    Row("added-whole-big.added_p99_ms", "added by a 1 MB body p99, ms", 2),
    Row("streams-burst.events_s", "events/s, all in one write", 0),
    Row("streams-burst.cpu_s_per_1000", "· CPU s for 1,000 events", 4),
    Row("streams-burst.events_per_core_s", "· events a second of CPU", 0, at_least(60_000)),
    Row("streams-single.events_s", "events/s, a write for each", 0),
    Row("streams-single.cpu_s_per_1000", "· CPU s for 1,000 events", 4),
    Row(_SINGLE, "· events a second of CPU", 0, at_least(60_000)),
    Row("streams-single.first_p99_ms", "· time to first event p99, ms", 1),
    Row("streams-usage-each.events_s", "events/s, usage on each, as xAI", 0),
    Row("streams-usage-each.events_per_core_s", "· events a second of CPU", 0),
    Row("streams-paced.cpu_s_per_1000", "CPU s for 1,000 events, each arriving alone", 4),
    Row("streams-paced.events_per_core_s", "· events a second of CPU", 0),
    Row("streams-paced.first_p99_ms", "· time to first event p99, ms", 2),
    Row("slow.open_most", "slow streams open at once", 0),
    Row("slow.dropped", "· dropped", 0, at_most(0)),
    Row("slow.first_p50_ms", "· time to first event p50, ms", 2),
    Row("slow.first_p99_ms", "· time to first event p99, ms", 2),
    Row("slow.rss_mb", "· memory at the peak, MB", 0, at_most(300)),
    Row("start.rss_mb", "memory after start, MB", 0, at_most(120)),
    Row("start.first_ready_s", "first start to ready, s", 2, at_most(1.5)),
    Row("start.ready_s", "start to ready, s", 2, at_most(1.5)),
    Row("soak.first_mb", "memory after the first tenth of the soak, MB", 0),
    Row("soak.last_mb", "· in its last tenth, MB", 0),
    Row("soak.growth", "· growth", 3, at_most(0.05)),
)
RATIOS = (
    Ratio(_RPS, JUDGED, "litellm", "· times LiteLLM", 1, " ×", at_least(40)),
    Ratio(_RPS, JUDGED, "portkey", "· times Portkey", 1, " ×", at_least(3)),
    Ratio(_RPS, JUDGED, YARDSTICK, "· of the bare relay", 2),
    Ratio(_RPS, CROSS, JUDGED, "· of the same-dialect lane", 2, "", at_least(0.5)),
    Ratio(_ADDED, JUDGED, YARDSTICK, "· beside the bare relay", 1, " ×"),
    Ratio(_SINGLE, CROSS, JUDGED, "· of the same-dialect lane", 2, "", at_least(0.5)),
)


def markdown(
    facts: Mapping[str, Any],
    columns: list[Column],
    figures: Figures,
    selection: list[dict[str, float]],
    raw: RawRounds,
) -> str:
    """Return the whole report."""
    shown = [column for column in columns if figures.get(column.name)]
    yardstick = _yardstick(raw, figures)
    is_scaled = yardstick is not None and bool(figures.get(JUDGED))
    parts = [_table(shown, figures, yardstick if is_scaled else None)] if shown else []
    if yardstick is not None:
        parts.append(_speed_line(yardstick, is_scaled=is_scaled))
    parts.append(_origin(facts, shown))
    notes = [f"{column.title}: {column.problem}." for column in columns if column.problem]
    notes += [*_remarks(raw, figures, yardstick), *_refused(shown, figures)]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    if selection:
        parts.append(f"Choosing an account (`Router.plan`):\n\n{selection_table(selection)}")
    return "\n\n".join(parts) + "\n"


def _table(columns: list[Column], figures: Figures, yardstick: Yardstick | None) -> str:
    """Return the table, with scaled judgements when there is a yardstick for them."""
    titles = [f"**{c.title}**" if c.name == JUDGED else c.title for c in columns]
    head = ["", *titles, "bar", "met"]
    rules = ["---", *["---:"] * len(columns), "---", "---"]
    if yardstick is not None:
        head.append("met, scaled")
        rules.append("---")
    lines = [_joined(head), f"|{'|'.join(rules)}|"]
    for row in ROWS:
        if any(row.key in figures[column.name] for column in columns):
            cells = [_cell(row, column, figures) for column in columns]
            lines.append(_joined([row.label, *cells, *_judged(row, figures, yardstick)]))
        for ratio in RATIOS:
            cells = _ratio_cells(ratio, columns, figures) if ratio.key == row.key else []
            if cells:
                lines.append(_joined([*cells, *([""] if yardstick is not None else [])]))
    return "\n".join(lines)


def _joined(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: Row, column: Column, figures: Figures) -> str:
    figure = figures[column.name].get(row.key)
    if figure is None:
        return "–" if row.key.partition(".")[0] in column.left_out else ""
    value = figure.value
    return "refused" if value is None else f"{value:,.{row.digits}f}"


def _judged(row: Row, figures: Figures, yardstick: Yardstick | None) -> list[str]:
    """Return the cells of a row's bar: the bar, met as measured, and met when scaled."""
    bar = row.bar
    judged = figures.get(JUDGED, {}).get(row.key)
    met = scaled_met = ""
    if bar is not None and judged is not None:
        value = judged.value
        met = verdict(is_met=value is not None and bar.is_met(value))
        if yardstick is not None and value is not None:
            scaled_met = yardstick.judge(bar, value, row.digits)
    cells = [bar.text if bar is not None else "", met]
    return [*cells, scaled_met] if yardstick is not None else cells


def _ratio_cells(ratio: Ratio, columns: list[Column], figures: Figures) -> list[str]:
    """Return the cells of a ratio, bar included; none when one of the two was not measured."""
    ours = figures.get(ratio.subject, {}).get(ratio.key)
    over = _value(figures, ratio.over, ratio.key)
    # What a relay adds can be lost in the noise; nothing is a multiple of less than nothing.
    if ours is None or over is None or over <= 0:
        return []
    value = None if ours.value is None else ours.value / over
    shown = "refused" if value is None else f"{value:.{ratio.digits}f}{ratio.unit}"
    cells = [shown if column.name == ratio.subject else "" for column in columns]
    bar, met = "", ""
    if ratio.bar is not None:
        bar = ratio.bar.text + ratio.unit
        met = verdict(is_met=value is not None and ratio.bar.is_met(value))
    return [ratio.label, *cells, bar, met]


def _value(figures: Figures, subject: str, key: str) -> float | None:
    figure = figures.get(subject, {}).get(key)
    return None if figure is None else figure.value


def _yardstick(raw: RawRounds, figures: Figures) -> Yardstick | None:
    """Return what the bare relay tells; None when it was not measured in this run."""
    bare_rps = _value(figures, YARDSTICK, _RPS)
    if not bare_rps:
        return None
    # Groxy does more on the same parts: when it seems the faster one, the bare relay was held up.
    is_sure = (_value(figures, JUDGED, _RPS) or 0) <= bare_rps
    for subject, name, busy in _busy(raw):
        if subject == YARDSTICK and name == _RPS.partition(".")[0]:
            is_sure = is_sure and not (_is_noisy(busy) or _is_limited(busy))
    return Yardstick(bare_rps=bare_rps, is_sure=is_sure)


def _speed_line(yardstick: Yardstick, *, is_scaled: bool) -> str:
    """Say how fast this machine is."""
    line = (
        f"This machine relays {yardstick.bare_rps:,.0f} bare requests/s, {yardstick.speed:.2f} of "
        f"the reference machine's {REFERENCE_BARE_RPS:,}; the bars were set there."
    )
    if not is_scaled:
        return line
    return (
        f"{line} “Met” judges what was measured here. “Met, scaled” estimates it for that "
        f"machine: requests/s divided by {yardstick.speed:.2f}, times multiplied by it."
    )


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


def _remarks(raw: RawRounds, figures: Figures, yardstick: Yardstick | None) -> list[str]:
    """Return what a reader has to know before trusting the figures."""
    remarks: list[str] = []
    noisy: dict[str, list[str]] = {}
    limited: dict[str, list[str]] = {}
    for subject, name, busy in _busy(raw):
        if _is_noisy(busy):
            noisy.setdefault(subject, []).append(f"{name} {busy['others']:.1f}")
        elif _is_limited(busy) and subject != "direct":
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
    if yardstick is not None and not yardstick.is_sure:
        remarks.append(
            "The bare relay could not show all of its speed, so this machine is faster than it "
            "seems. What is measured against the bare relay looks better than it is."
        )
    direct = figures.get("direct", {}).get(_RPS)
    if direct is not None and (direct.value or 0) < _UPSTREAM_RPS:
        remarks.append(
            f"The upstream alone did less than {_UPSTREAM_RPS:,} requests/s: it was measured too."
        )
    return remarks


def _listed(names: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{subject}: {', '.join(found)}" for subject, found in names.items())


def _is_noisy(busy: Mapping[str, float]) -> bool:
    """Return whether other programs took a part of the cores."""
    return busy["others"] > _NOISY_CORES


def _is_limited(busy: Mapping[str, float]) -> bool:
    """Return whether the load was at its limit, and the subject was not."""
    return busy["load_core"] > _FULL_CORE > busy["gateway_core"]


def _busy(raw: RawRounds) -> list[tuple[str, str, dict[str, float]]]:
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
    raw: RawRounds,
    selection: list[dict[str, float]],
) -> dict[str, Any]:
    """Return everything, for machines."""
    return {
        "facts": facts,
        "reference_bare_rps": REFERENCE_BARE_RPS,
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
