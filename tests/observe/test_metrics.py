import os
import re
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind
from groxy.core.usage import Usage
from groxy.observe.metrics import CONTENT_TYPE, MULTIPROCESS_VARIABLE, Metrics

USED = Usage(input_tokens=7, cached_tokens=2, output_tokens=5)
NAMES = {
    "groxy_requests",
    "groxy_attempts",
    "groxy_tokens",
    "groxy_cost_ticks",
    "groxy_first_event_seconds",
    "groxy_request_seconds",
    "groxy_journal_commit_seconds",
    "groxy_open_streams",
    "groxy_accounts",
}


def page(metrics):
    return metrics.render().decode()


def values(text, name):
    """Return what a page says of a metric: its labels, in order, and the value."""
    return {
        tuple(re.findall(r'(?<==")[^"]*', labels)): float(value)
        for labels, value in re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
    }


def busy_metrics(**options):
    """Return metrics that have counted something of everything."""
    metrics = Metrics(**options)
    metrics.request_done(dialect="chat", outcome="ok", duration_s=0.3)
    metrics.attempt_done(upstream="xai", outcome="ok", usage=USED, cost_ticks=42)
    metrics.first_event(upstream="xai", seconds=0.2)
    metrics.commit_seconds.observe(0.001)
    metrics.open_streams.inc()
    metrics.set_accounts({("xai", "heavy", "active"): 2})
    return metrics


# ---------------------------------------------------------------------------- names and labels


def test_the_names_are_those_that_dashboards_were_made_with():
    assert {family.name for family in busy_metrics().registry.collect()} == NAMES


def test_no_label_can_hold_what_a_caller_writes():
    metrics = busy_metrics()
    metrics.render()

    families = metrics.registry.collect()
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels == {"dialect", "outcome", "upstream", "kind", "pool", "state", "le"}


def test_each_series_is_kept_once_however_often_it_counts():
    metrics = Metrics()

    def count():
        for kind in ErrorKind:
            metrics.request_done(dialect="chat", outcome=kind.value, duration_s=1)
            metrics.attempt_done(upstream="xai", outcome=kind.value, usage=USED, cost_ticks=1)
            metrics.first_event(upstream="xai", seconds=1)
        return len(page(metrics).splitlines()), len(metrics._children)

    assert count() == count() == count()


def test_two_gateways_in_one_process_count_apart():
    first, second = busy_metrics(), Metrics()

    assert values(page(first), "groxy_requests_total") == {("chat", "ok"): 1}
    assert values(page(second), "groxy_requests_total") == {}


def test_a_page_is_what_prometheus_reads():
    assert CONTENT_TYPE.startswith("text/plain")
    lines = page(busy_metrics()).splitlines()

    assert [
        line for line in lines if not re.match(r"# (HELP|TYPE) groxy_|groxy_\w+[ {]", line)
    ] == []


def test_no_series_tells_when_it_was_made():
    assert "_created" not in page(busy_metrics())


# ------------------------------------------------------------------------------------ counting


def test_requests_are_counted_by_dialect_and_outcome():
    metrics = Metrics()
    for dialect, outcome in [("chat", "ok"), ("chat", "ok"), ("chat", "no"), ("messages", "ok")]:
        metrics.request_done(dialect=dialect, outcome=outcome, duration_s=0.1)

    assert values(page(metrics), "groxy_requests_total") == {
        ("chat", "ok"): 2,
        ("chat", "no"): 1,
        ("messages", "ok"): 1,
    }


def test_attempts_tokens_and_cost_are_counted_by_upstream():
    metrics = Metrics()
    for upstream in ("xai", "xai", "cometapi"):
        metrics.attempt_done(upstream=upstream, outcome="ok", usage=USED, cost_ticks=42)

    text = page(metrics)
    assert values(text, "groxy_attempts_total") == {("ok", "xai"): 2, ("ok", "cometapi"): 1}
    assert values(text, "groxy_tokens_total") == {
        ("input", "xai"): 14,
        ("cached", "xai"): 4,
        ("output", "xai"): 10,
        ("input", "cometapi"): 7,
        ("cached", "cometapi"): 2,
        ("output", "cometapi"): 5,
    }
    assert values(text, "groxy_cost_ticks_total") == {("xai",): 84, ("cometapi",): 42}


def test_an_attempt_that_used_nothing_is_counted_and_adds_nothing():
    metrics = Metrics()
    metrics.attempt_done(upstream="xai", outcome="no", usage=Usage(), cost_ticks=0)

    text = page(metrics)
    assert values(text, "groxy_attempts_total") == {("no", "xai"): 1}
    assert values(text, "groxy_tokens_total") == values(text, "groxy_cost_ticks_total") == {}


def test_a_bill_without_tokens_is_counted():
    metrics = Metrics()
    metrics.attempt_done(upstream="xai", outcome="ok", usage=Usage(), cost_ticks=42)

    assert values(page(metrics), "groxy_cost_ticks_total") == {("xai",): 42}


counts = st.integers(0, 10**9)
usages = st.builds(
    Usage,
    input_tokens=counts,
    cached_tokens=counts,
    output_tokens=counts,
    reasoning_tokens=counts,
)


@given(st.lists(st.tuples(usages, st.integers(0, 10**16)), max_size=5))
def test_what_is_counted_is_the_sum_of_all_attempts(attempts):
    metrics = Metrics()
    for usage, cost_ticks in attempts:
        metrics.attempt_done(upstream="xai", outcome="ok", usage=usage, cost_ticks=cost_ticks)

    found = values(page(metrics), "groxy_tokens_total")
    for kind in ("input", "cached", "output", "reasoning"):
        total = sum(getattr(usage, f"{kind}_tokens") for usage, _ in attempts)
        assert found.get((kind, "xai"), 0) == total
    cost = values(page(metrics), "groxy_cost_ticks_total").get(("xai",), 0)
    assert cost == pytest.approx(sum(cost_ticks for _, cost_ticks in attempts))


@pytest.mark.parametrize(
    ("name", "labels", "observe"),
    [
        (
            "groxy_request_seconds",
            ("chat",),
            lambda metrics, seconds: metrics.request_done(
                dialect="chat", outcome="ok", duration_s=seconds
            ),
        ),
        (
            "groxy_first_event_seconds",
            ("xai",),
            lambda metrics, seconds: metrics.first_event(upstream="xai", seconds=seconds),
        ),
        (
            "groxy_journal_commit_seconds",
            (),
            lambda metrics, seconds: metrics.commit_seconds.observe(seconds),
        ),
    ],
)
def test_times_are_counted_and_summed(name, labels, observe):
    metrics = Metrics()
    for seconds in (0.25, 0.5, 1000):
        observe(metrics, seconds)

    text = page(metrics)
    assert values(text, f"{name}_count") == {labels: 3}
    assert values(text, f"{name}_sum") == {labels: 1000.75}
    buckets = values(text, f"{name}_bucket")
    assert [count for bucket, count in buckets.items() if "+Inf" in bucket] == [3]


def test_what_is_counted_before_looking_is_not_lost_by_looking():
    metrics = busy_metrics()

    assert page(metrics) == page(metrics)


# ------------------------------------------------------------------------------------- states


def test_open_streams_go_up_and_down():
    metrics = Metrics()
    with metrics.open_streams.track_inprogress(), metrics.open_streams.track_inprogress():
        during = values(page(metrics), "groxy_open_streams")

    assert (during, values(page(metrics), "groxy_open_streams")) == ({(): 2}, {(): 0})


def test_a_state_that_no_account_is_in_any_more_counts_none():
    metrics = Metrics()
    metrics.set_accounts({("xai", "heavy", "active"): 3, ("xai", "basic", "active"): 1})
    metrics.set_accounts({("xai", "heavy", "cooling"): 3})

    assert values(page(metrics), "groxy_accounts") == {
        ("heavy", "active", "xai"): 0,
        ("basic", "active", "xai"): 0,
        ("heavy", "cooling", "xai"): 3,
    }


# ----------------------------------------------------------------------------- several workers

_WORKER = """
import os, sys
from groxy.observe.metrics import MULTIPROCESS_VARIABLE, Metrics
from groxy.core.usage import Usage

os.environ[MULTIPROCESS_VARIABLE] = sys.argv[1]  # after the import, as in a forked worker
metrics = Metrics(is_multiprocess=True)
state, streams = sys.argv[2], int(sys.argv[3])
metrics.request_done(dialect="chat", outcome="ok", duration_s=0.5)
metrics.attempt_done(upstream="xai", outcome="ok", usage=Usage(input_tokens=7), cost_ticks=42)
metrics.first_event(upstream="xai", seconds=0.125)
metrics.commit_seconds.observe(0.25)
metrics.open_streams.inc(streams)
states = {("xai", "heavy", name): 2 * (name == state) for name in ("active", "cooling")}
metrics.set_accounts(states)
sys.stdout.write(metrics.render().decode())
"""


def pages_of_workers(folder, *workers: Sequence[str]) -> list[str]:
    """Let workers count one after the other; return the page that each of them shows."""
    environ = {name: text for name, text in os.environ.items() if name != MULTIPROCESS_VARIABLE}
    return [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", _WORKER, str(folder), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for arguments in workers
    ]


@pytest.fixture(scope="module")
def last_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    return pages_of_workers(folder, ("active", "1"), ("cooling", "0"), ("active", "2"))[-1]


def test_every_worker_shows_what_all_have_counted(last_page):
    assert values(last_page, "groxy_requests_total") == {("chat", "ok"): 3}
    assert values(last_page, "groxy_tokens_total") == {("input", "xai"): 21}
    assert values(last_page, "groxy_cost_ticks_total") == {("xai",): 126}


def test_times_of_all_workers_are_summed(last_page):
    assert values(last_page, "groxy_journal_commit_seconds_count") == {(): 3}
    assert values(last_page, "groxy_journal_commit_seconds_sum") == {(): 0.75}


def test_open_streams_of_all_workers_are_added(last_page):
    assert values(last_page, "groxy_open_streams") == {(): 3}


def test_accounts_are_counted_once_and_as_the_last_worker_saw_them(last_page):
    assert values(last_page, "groxy_accounts") == {
        ("heavy", "active", "xai"): 2,
        ("heavy", "cooling", "xai"): 0,
    }


def test_the_names_are_the_same_with_several_workers(last_page):
    named = set(re.findall(r"^# TYPE (\w+)", last_page, re.MULTILINE))

    # The text form gives counters their ending.
    assert {name.removesuffix("_total") for name in named} == NAMES
