"""What an upstream says of a key when it is asked: `KeyFacts`.

In: the body of a good reply to a GET of `Upstream.key_path`. Out: how the key stands, what is left
of its quota, and the models that it may use. Sources stand beside each reader. It must keep no part
of a key: what it says is for the operator's eyes and for the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from groxy.core.errors import ErrorKind
from groxy.core.quota import QuotaWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What an upstream tells of a key. A key of which nothing is told is fine."""

    standing: ErrorKind | None = None
    """None: fine. UPSTREAM_AUTH: blocked or disabled. UPSTREAM_QUOTA: no credit is left."""
    note: str = ""
    """Why, in a few words that are safe to show an operator."""
    windows: Mapping[str, QuotaWindow] = field(default_factory=dict)
    """What is left, by mode; `credits` counts in ticks (10^-10 US dollars)."""
    models: frozenset[str] | None = None
    """The ids of the only models that the key may use; None for no such bound."""
