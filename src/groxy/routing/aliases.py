"""Aliases: the operator's own names for models, and names that Anthropic's clients accept.

In: the table `[aliases]` of the settings, and model ids. Out: the name to go on with. It must not
know models: whether a name leads anywhere is the catalog's business.
"""

from collections.abc import Mapping

_PREFIX = "claude-"
_WILDCARD = "*"


class Aliases:
    """Names by alias: exact ones, and patterns with `*` at the end."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, table: Mapping[str, str]) -> None:
        self._exact = {
            name: target for name, target in table.items() if not name.endswith(_WILDCARD)
        }
        self._patterns = sorted(
            (
                (name.removesuffix(_WILDCARD), target)
                for name, target in table.items()
                if name.endswith(_WILDCARD)
            ),
            key=lambda pattern: -len(pattern[0]),
        )

    @property
    def exact(self) -> Mapping[str, str]:
        """The aliases without a wildcard."""
        return self._exact

    def matching(self, asked: str) -> str | None:
        """Return the target of the longest pattern that `asked` matches."""
        for start, target in self._patterns:
            if asked.startswith(start):
                return target
        return None


def claude_id(model_id: str) -> str:
    """Return the name of a model for clients that list only ids which begin with `claude`.

    `grok-4.7` is `claude-grok-4-7`: Anthropic's ids have no dots.
    """
    return _PREFIX + model_id.replace(".", "-")


def is_claude_id(name: str) -> bool:
    """True for a name that such clients show as it is."""
    return name.startswith(_PREFIX)
