"""Prometheus metrics. Labels are few and bounded: no key, no account, no caller's text in any.

docs/guide/operations.md lists them; a test keeps that list in step.
"""

from collections.abc import Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from groxy.core.usage import Usage

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus-client's own switch, a folder: set before a worker starts, it adds up all workers."""


class _Used:
    """What attempts at an upstream with one outcome came to."""

    __slots__ = ("attempts", "cached", "cost", "input", "output", "reasoning")

    def __init__(self) -> None:
        self.attempts = self.cost = 0
        self.input = self.cached = self.output = self.reasoning = 0


class Metrics:
    """Everything Groxy counts, in a registry of its own."""

    def __init__(self, *, is_multiprocess: bool = False) -> None:
        self._is_multiprocess = is_multiprocess
        if is_multiprocess:
            # The library chooses when it is imported, which is before a worker knows what it is.
            values.ValueClass = values.get_value_class()
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._known_states: set[tuple[str, str, str]] = set()
        self._children: dict[tuple[str, ...], Histogram] = {}
        self._ended: dict[tuple[str, str], int] = {}
        """Requests that the library's counters do not know yet, by dialect and outcome: adding to
        counters takes five times as long."""
        self._used: dict[tuple[str, str], _Used] = {}
        """Attempts likewise, by upstream and outcome."""
        self._make_traffic_metrics(self.registry)
        self._make_state_metrics(self.registry)

    def _make_traffic_metrics(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "groxy_requests",
            "Requests by dialect and outcome (ok or the error code).",
            ("dialect", "outcome"),
            registry=registry,
        )
        self._attempts = Counter(
            "groxy_attempts",
            "Attempts at upstreams by outcome (ok or the error code).",
            ("upstream", "outcome"),
            registry=registry,
        )
        self._tokens = Counter(
            "groxy_tokens",
            "Tokens by upstream; cached is part of input, reasoning part of output.",
            ("upstream", "kind"),
            registry=registry,
        )
        self._cost = Counter(
            "groxy_cost_ticks",
            "What attempts cost, in ticks of 10^-10 USD.",
            ("upstream",),
            registry=registry,
        )
        self._first_event = Histogram(
            "groxy_first_event_seconds",
            "From the request's arrival to its first event (streams) or its reply (whole).",
            ("upstream",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._duration = Histogram(
            "groxy_request_seconds",
            "From a request's arrival to its last byte.",
            ("dialect",),
            buckets=_SECONDS,
            registry=registry,
        )

    def _make_state_metrics(self, registry: CollectorRegistry) -> None:
        self.commit_seconds = Histogram(
            "groxy_journal_commit_seconds",
            "How long the books took to commit a group of entries.",
            buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1),
            registry=registry,
        )
        self.open_streams = Gauge(
            "groxy_open_streams",
            "Streams open right now.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._accounts = Gauge(
            "groxy_accounts",
            "Accounts by upstream, pool and state.",
            ("upstream", "pool", "state"),
            multiprocess_mode="mostrecent",
            registry=registry,
        )

    def request_done(self, *, dialect: str, outcome: str, duration_s: float) -> None:
        """Count a request that has ended."""
        labels = (dialect, outcome)
        self._ended[labels] = self._ended.get(labels, 0) + 1
        if self._is_multiprocess:
            self._tell()
        self._histogram(self._duration, dialect).observe(duration_s)

    def attempt_done(self, *, upstream: str, outcome: str, usage: Usage, cost_ticks: int) -> None:
        """Count an attempt that has ended."""
        used = self._used.get((upstream, outcome))
        if used is None:
            used = self._used[upstream, outcome] = _Used()
        used.attempts += 1
        used.cost += cost_ticks
        used.input += usage.input_tokens
        used.cached += usage.cached_tokens
        used.output += usage.output_tokens
        used.reasoning += usage.reasoning_tokens
        if self._is_multiprocess:
            self._tell()

    def first_event(self, *, upstream: str, seconds: float) -> None:
        """Note how long the first event took."""
        self._histogram(self._first_event, upstream).observe(seconds)

    def set_accounts(self, counts: Mapping[tuple[str, str, str], int]) -> None:
        """Replace the account states: (upstream, pool, state) → how many."""
        for labels in self._known_states - counts.keys():
            self._accounts.labels(*labels).set(0)
        for labels, count in counts.items():
            self._accounts.labels(*labels).set(count)
        self._known_states |= counts.keys()

    def render(self) -> bytes:
        """Return everything in Prometheus' text form, for all workers of this gateway."""
        self._tell()
        if not self._is_multiprocess:
            return generate_latest(self.registry)
        gathered = CollectorRegistry()
        MultiProcessCollector(gathered)
        return generate_latest(gathered)

    def _tell(self) -> None:
        """Give the library what was counted.

        With several workers at once, for any of them may be asked at any moment what all counted.
        """
        ended, self._ended = self._ended, {}
        for labels, amount in ended.items():
            self._requests.labels(*labels).inc(amount)
        attempts, self._used = self._used, {}
        for (upstream, outcome), used in attempts.items():
            self._attempts.labels(upstream, outcome).inc(used.attempts)
            if used.cost:  # also where no token was counted: a bill is a bill
                self._cost.labels(upstream).inc(used.cost)
            for kind in ("input", "cached", "output", "reasoning"):
                if tokens := getattr(used, kind):
                    self._tokens.labels(upstream, kind).inc(tokens)

    def _histogram(self, family: Histogram, *labels: str) -> Histogram:
        # Looking a child up by labels costs more than observing; families differ by their labels.
        key = (family._name, *labels)  # noqa: SLF001  the name has no public accessor
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        return child
