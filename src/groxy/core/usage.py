"""Token usage, one shape for every dialect and upstream."""

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt consumed, in tokens.

    `cached_tokens` is a part of `input_tokens`; `reasoning_tokens` is a part of `output_tokens`.
    Dialects whose wire form counts otherwise convert at their edge.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    image_tokens: int = 0
    """Part of `input_tokens` that came from pictures."""
    tool_calls: int = 0
    """Calls of tools that the upstream ran itself and bills, such as its search."""
    cost_ticks: int | None = None
    """The upstream's own bill for the attempt, where it gave one."""
    estimated: bool = False
    """True when Groxy counted because the upstream reported nothing usable."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @property
    def is_empty(self) -> bool:
        """True when nothing was counted at all."""
        return self.input_tokens == 0 and self.output_tokens == 0


def clamped(usage: Usage) -> Usage:
    """Return `usage` with impossible figures mended: no negative counts, no part over its whole."""
    if _is_possible(usage):
        return usage  # nearly always
    input_tokens = max(usage.input_tokens, 0)
    output_tokens = max(usage.output_tokens, 0)
    return msgspec.structs.replace(
        usage,
        input_tokens=input_tokens,
        cached_tokens=min(max(usage.cached_tokens, 0), input_tokens),
        output_tokens=output_tokens,
        reasoning_tokens=min(max(usage.reasoning_tokens, 0), output_tokens),
        image_tokens=min(max(usage.image_tokens, 0), input_tokens),
        tool_calls=max(usage.tool_calls, 0),
        cost_ticks=usage.cost_ticks if usage.cost_ticks is None else max(usage.cost_ticks, 0),
    )


def _is_possible(usage: Usage) -> bool:
    return (
        0 <= usage.cached_tokens <= usage.input_tokens
        and 0 <= usage.reasoning_tokens <= usage.output_tokens
        and 0 <= usage.image_tokens <= usage.input_tokens
        and usage.tool_calls >= 0
        and (usage.cost_ticks is None or usage.cost_ticks >= 0)
    )
