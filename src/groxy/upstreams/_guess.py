"""Which upstream a key belongs to, by how it begins.

In: a key as somebody pasted it. Out: the name of an upstream, or None. What keys begin with is each
upstream's own `key_prefixes`. It must not log or keep a key.
"""

from functools import cache

from groxy import upstreams


def guess_upstream(api_key: str) -> str | None:
    """Return the upstream whose keys begin like `api_key`; None when no upstream's do.

    The longest beginning wins, so that `sk-or-` is found before a plain `sk-`.
    """
    key = api_key.strip()
    for prefix, name in _prefixes():
        if key.startswith(prefix):
            return name
    return None


@cache
def _prefixes() -> tuple[tuple[str, str], ...]:
    """Return (prefix, upstream), the longest prefix first; of two as long, by name."""
    found = [
        (prefix, name)
        for name, upstream in upstreams.discover().items()
        for prefix in upstream.key_prefixes
        if prefix
    ]
    return tuple(sorted(found, key=lambda one: (-len(one[0]), one)))
