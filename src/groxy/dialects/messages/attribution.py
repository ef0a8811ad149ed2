"""Claude Code's attribution block: taken out of the system prompt, as it defeats prompt caches.

Since version 2.1.36 Claude Code opens its system prompt with a block, or a line, such as
`x-anthropic-billing-header: cc_version=2.1.117.48f; cc_entrypoint=cli; cch=71fea;` whose last word
is another one in every request (anthropics/claude-code#68900, 2026-06). It says nothing to a model.
"""

MARK = "x-anthropic-billing-header:"


def without_attribution(text: str) -> str:
    """Return a system text without the attribution at its head."""
    while text.startswith(MARK):
        text = text.partition("\n")[2].lstrip("\n")
    return text
