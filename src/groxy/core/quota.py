"""Quota: how much of something an account has left until when, and who says so.

In: nothing. Out: values that upstreams read from replies and routing keeps per account. Times are
unix seconds.
"""

from enum import Enum

import msgspec


class QuotaSource(Enum):
    """How a window is known."""

    REAL = "real"
    """The upstream told it."""
    ESTIMATED = "estimated"
    """Counted here since it was last told, or since the operator's own window began."""
    DEFAULT = "default"
    """As the operator laid it down; nothing was used of it yet."""


class QuotaWindow(msgspec.Struct, kw_only=True):
    """What is left in a window. It is full again at `reset_at`."""

    remaining: int
    total: int
    window_s: int
    """0 when it is not known."""
    reset_at: float = 0.0
    """0 when it is not known, or the window has not begun."""
    synced_at: float = 0.0
    """When the upstream told it last; 0 for never."""
    source: QuotaSource = QuotaSource.DEFAULT
