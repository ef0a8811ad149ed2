import os
import subprocess
import sys

from groxy.core.usage import Usage
from groxy.observe.metrics import MULTIPROCESS_VARIABLE, Metrics

USED = Usage(input_tokens=7, cached_tokens=2, output_tokens=5)


def page(metrics):
    return metrics.render().decode()


def test_requests_are_counted_by_dialect_and_outcome():
    metrics = Metrics()
    metrics.request_done(dialect="chat", outcome="ok", duration_s=0.1)

    assert 'groxy_requests_total{dialect="chat",outcome="ok"} 1.0' in page(metrics)


def test_attempts_tokens_and_cost_are_counted_by_upstream():
    metrics = Metrics()
    metrics.attempt_done(upstream="xai", outcome="ok", usage=USED, cost_ticks=42)

    text = page(metrics)
    assert 'groxy_tokens_total{kind="input",upstream="xai"} 7.0' in text
    assert 'groxy_tokens_total{kind="cached",upstream="xai"} 2.0' in text
    assert 'kind="reasoning"' not in text
    assert 'groxy_cost_ticks_total{upstream="xai"} 42.0' in text


def test_a_bill_without_tokens_is_counted():
    metrics = Metrics()
    metrics.attempt_done(upstream="xai", outcome="ok", usage=Usage(), cost_ticks=42)

    assert 'groxy_cost_ticks_total{upstream="xai"} 42.0' in page(metrics)


def test_a_state_that_no_account_is_in_any_more_counts_none():
    metrics = Metrics()
    metrics.set_accounts({("xai", "heavy", "active"): 3})
    metrics.set_accounts({("xai", "heavy", "cooling"): 3})

    text = page(metrics)
    assert 'groxy_accounts{pool="heavy",state="active",upstream="xai"} 0.0' in text
    assert 'groxy_accounts{pool="heavy",state="cooling",upstream="xai"} 3.0' in text


def test_no_label_can_hold_what_a_caller_writes():
    metrics = Metrics()
    labels = {label for family in (metrics.registry.collect()) for label in _labels_of(family)}

    assert labels <= {"dialect", "outcome", "upstream", "kind", "pool", "state", "le"}


def _labels_of(family):
    return {name for sample in family.samples for name in sample.labels}


def test_the_metrics_of_several_workers_add_up(tmp_path):
    count = (
        "from groxy.observe.metrics import Metrics\n"
        "metrics = Metrics(is_multiprocess=True)\n"
        "metrics.request_done(dialect='chat', outcome='ok', duration_s=0.1)\n"
        "print(metrics.render().decode())\n"
    )
    environ = {**os.environ, MULTIPROCESS_VARIABLE: str(tmp_path)}
    shown = [
        subprocess.run(
            [sys.executable, "-c", count], env=environ, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]

    assert 'groxy_requests_total{dialect="chat",outcome="ok"} 2.0' in shown[1]
