"""Sealed thoughts as callers carry them: our own token in `signature` and in `data`.

Anthropic's clients send both back unread. A token holds what the upstream sealed, and the id of
the item that it was, in a form that tells our tokens from anybody else's. It hides nothing: the
sealed text is opaque already.
"""

_MARK = "groxy1."


def sealed_token(encrypted: str, item_id: str = "") -> str:
    """Return the token of a sealed thought: `groxy1.<item id>.<sealed text>`."""
    return f"{_MARK}{item_id.replace('%', '%25').replace('.', '%2E')}.{encrypted}"


def opened_token(token: str | None) -> tuple[str, str] | None:
    """Return the sealed text and the item's id; None for a token that is not ours."""
    if not token or not token.startswith(_MARK):
        return None
    item_id, dot, encrypted = token[len(_MARK) :].partition(".")
    if not dot or not encrypted:
        return None
    return encrypted, item_id.replace("%2E", ".").replace("%25", "%")


MARK = _MARK.encode()
"""What every body that has a token of ours contains."""
