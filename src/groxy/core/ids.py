"""Ids: random, unguessable, with a prefix that says what they name."""

import secrets


def new_id(prefix: str) -> str:
    """Return `prefix` and 24 random hex digits, such as `req_0f3a…`."""
    return prefix + secrets.token_hex(12)
