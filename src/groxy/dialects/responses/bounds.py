"""What bounds the cost of a Responses reply, and requests with a lower bound.

In: a checked request. Out: its bound, or the same request bounded. Must not know prices.
"""

from groxy.dialects._base import Asked, OutputBound
from groxy.dialects._bounds import lowered, most_in
from groxy.dialects.responses.tools import kind_of, offering_of

_TOKENS = ("max_output_tokens",)
_CALLERS_TOOLS = frozenset(
    # Of OpenAI's own types, those that the caller runs (API reference, 2026-08).
    {"apply_patch", "computer", "computer_use_preview", "local_shell", "shell"}
)


def bound_of(asked: Asked) -> OutputBound:
    """Return what bounds the output; there is only one choice."""
    hosted = offering_of(asked.fields).hosted
    return OutputBound(
        max_tokens=most_in(asked.fields, _TOKENS),
        server_tools=sum(kind_of(tool) not in _CALLERS_TOOLS for tool in hosted),
    )


def bounded(asked: Asked, max_tokens: int) -> Asked:
    """Return the same request with so many tokens at most."""
    return lowered(asked, max_tokens, _TOKENS)
