"""What bounds the cost of a chat reply, and requests with a lower bound.

In: a checked request. Out: its bound, or the same request bounded. Must not know prices.
"""

from groxy.dialects._base import Asked, OutputBound
from groxy.dialects._bounds import count_entries, count_tools, lowered, most_in
from groxy.dialects.chat.search import searches

_TOKENS = ("max_completion_tokens", "max_tokens")
"""The later name first. With both there each holds, for some upstreams know only one of them."""
_CHOICES = ("n", "best_of")
_CALLERS_TOOLS = ("function", "custom")
_NULL = b"null"
_SEARCH_OPTIONS = "web_search_options"
"""OpenAI's and OpenRouter's way to turn a search on, 2026-08."""


def bound_of(asked: Asked) -> OutputBound:
    """Return what bounds the output."""
    fields = asked.fields
    return OutputBound(
        choices=most_in(fields, _CHOICES) or 1,
        max_tokens=most_in(fields, _TOKENS),
        server_tools=count_tools(fields.get("tools"), _CALLERS_TOOLS)
        + count_entries(fields.get("plugins"))
        + searches(fields.get("search_parameters"))
        + (bytes(fields.get(_SEARCH_OPTIONS, _NULL)) != _NULL),
    )


def bounded(asked: Asked, max_tokens: int) -> Asked:
    """Return the same request with so many tokens at most."""
    return lowered(asked, max_tokens, _TOKENS)
