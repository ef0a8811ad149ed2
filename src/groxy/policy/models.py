"""Which models a key may ask for, by its own list and by that of its plan.

In: a caller, and the names of a model. Out: whether it may be used. `*` in a list stands for any
characters, all other signs for themselves. A match takes time in proportion to the name and the
pattern, whoever wrote them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import Caller

_LISTS_AT_ONCE = 10_000
_MAX_SHOWN = 128


@dataclass(frozen=True, slots=True)
class ModelList:
    """A list of models, ready to be matched."""

    exact: frozenset[str]
    patterns: tuple[tuple[str, ...], ...]
    """Each as what stands between its stars; at least two parts."""

    def has(self, name: str) -> bool:
        """Return whether a name is in the list."""
        return name in self.exact or any(_fits(name, parts) for parts in self.patterns)


def require_model(caller: Caller, names: Collection[str], *, spelled: str = "") -> None:
    """Raise FORBIDDEN (`model_not_allowed`) unless one of a model's names may be used.

    `names` begin with the one that was asked for; the others are what it stands for. Who may use an
    alias may use whatever the operator lets it stand for, and who may use a model may call it by
    any of its names. `spelled` is the first one with what only says how to route: anybody can
    write that behind any name, so it counts only where a list has exactly this.
    """
    if not may_use_any(caller, names, spelled=spelled):
        asked = (spelled or next(iter(names), ""))[:_MAX_SHOWN]
        message = f"This API key may not use the model `{asked}`. GET /v1/models lists what it may."
        raise GroxyError(ErrorKind.FORBIDDEN, message, param="model", code="model_not_allowed")


def may_use_any(caller: Caller, names: Collection[str], *, spelled: str = "") -> bool:
    """Return whether one of a model's names is in the key's list, and one in its plan's."""
    return all(
        not patterns
        or spelled in compiled(patterns).exact
        or any(compiled(patterns).has(name) for name in names)
        for patterns in (caller.grant.models, caller.plan.grant.models)
    )


def may_use(caller: Caller, name: str) -> bool:
    """Return whether the key may ask for this name."""
    return may_use_any(caller, (name,))


@lru_cache(_LISTS_AT_ONCE)
def compiled(patterns: tuple[str, ...]) -> ModelList:
    """Return a list ready to be matched; one that was asked for before is not made again."""
    return ModelList(
        exact=frozenset(pattern for pattern in patterns if "*" not in pattern),
        patterns=tuple(tuple(pattern.split("*")) for pattern in patterns if "*" in pattern),
    )


def _fits(name: str, parts: tuple[str, ...]) -> bool:
    """Return whether a name begins with the first part, ends with the last and has the others."""
    first, *middle, last = parts
    end = len(name) - len(last)
    if end < len(first) or not name.startswith(first) or not name.endswith(last):
        return False
    place = len(first)
    for part in middle:
        # The first place where a part fits leaves most to the parts behind it.
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True
