"""Refusals: what a caller is told when no account can serve.

In: what was asked for and what stood against it. Out: a `GroxyError` that says what to do. It must
not name accounts: who they are is no business of callers.
"""

import math
from collections.abc import Sequence

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.accounts import Account
from groxy.routing.candidate import answers_in
from groxy.routing.model import Model

_SHOWN_CHARS = 128
_MAX_WAIT_S = 60
_THINGS = {"embeddings": "embeddings", "images": "pictures", "videos": "film"}
"""What a dialect asks for, where that is not text."""


def unserved(asked: str, model: Model | None, carriers: tuple[str, ...]) -> GroxyError:
    """Return the error for a model that no account serves in these dialects."""
    shown = asked[:_SHOWN_CHARS]
    if model is not None and not answers_in(model, carriers):
        thing = _THINGS.get(carriers[0], "text")
        message = f"The model `{shown}` makes no {thing} but: {model.capability.value}."
        return GroxyError(
            ErrorKind.BAD_REQUEST,
            f"{message} GET /v1/models lists the models you can use.",
            param="model",
        )
    why = "does not exist" if model is None else "is not served by any account here"
    return GroxyError(
        ErrorKind.UNKNOWN_MODEL,
        f"The model `{shown}` {why}. GET /v1/models lists the models you can use.",
        param="model",
    )


def uncarried(asked: str, bound_by: str) -> GroxyError:
    """Return the error for a model that is served, but not with what the request needs."""
    message = (
        f"No account here can serve the model `{asked[:_SHOWN_CHARS]}` with `{bound_by}` as it was "
        "sent: their dialects have no place for it. Change it, or leave it out."
    )
    return GroxyError(ErrorKind.UNSUPPORTED, message, param=bound_by)


def excluded(asked: str, wish: str) -> GroxyError:
    """Return the error for a wish, a field of `provider`, that leaves no account."""
    return GroxyError(
        ErrorKind.BAD_REQUEST,
        f"No account for the model `{asked[:_SHOWN_CHARS]}` is left: `provider.{wish}` excludes "
        "all that there are. Change it or leave it out.",
        param="provider",
    )


def all_resting(accounts: Sequence[Account], now: float) -> GroxyError:
    """Return the error for the moment at which all accounts that could serve have to rest."""
    wait_s = max(math.ceil(min(account.rest_until for account in accounts) - now), 1)
    if any(account.rest_reason is ErrorKind.UPSTREAM_LIMITED for account in accounts):
        return GroxyError(
            ErrorKind.RATE_LIMITED,
            f"All accounts for this model are at their rate limit. Try again in {wait_s} s.",
            retry_after_s=wait_s,
        )
    return GroxyError(
        ErrorKind.NO_ACCOUNT,
        "No account can serve this model at the moment. Try again later.",
        retry_after_s=min(wait_s, _MAX_WAIT_S),
    )
