"""Secrecy: an upstream's words never tell a credential, whatever form it has.

In: an error of an upstream, and the account that was asked. Out: the same error without the
account's credential. Patterns know the usual forms of keys already (`upstreams._errors`); servers
of other makes have keys of other forms, and some repeat in an error what they were sent.
"""

from collections.abc import Iterator

from groxy.core.errors import GroxyError
from groxy.routing.account import Account

_MASK = "***"
_SHORTEST = 6
"""Shorter ones are no secrets, and are found in any word."""


def conceal(account: Account, error: GroxyError) -> GroxyError:
    """Take an account's secrets out of an error's message and detail; return the error."""
    error.message = concealed(account, error.message)
    error.detail = concealed(account, error.detail)
    return error


def concealed(account: Account, text: str) -> str:
    """Return an upstream's words without an account's secrets."""
    for secret in _secrets_of(account):
        text = _without(text, secret)
    return text


def _secrets_of(account: Account) -> Iterator[str]:
    own = account.credentials
    hidden = [field.name for field in account.upstream.account_fields if field.secret]
    for secret in (own.api_key, *(own.options.get(name, "") for name in hidden)):
        if len(secret) >= _SHORTEST:
            yield secret


def _without(text: str, secret: str) -> str:
    """Return a text without a secret; one that was cut in the middle of it ends before it."""
    text = text.replace(secret, _MASK)
    body = text.rstrip("…'\"")
    for length in range(min(len(secret) - 1, len(body)), _SHORTEST - 1, -1):
        if body.endswith(secret[:length]):
            return body[:-length] + _MASK + text[len(body) :]
    return text
