"""Refusals: what a caller is told when no account can serve.

In: what was asked for and what stood against it. Out: a `GroxyError` that says what to do. It must
not name accounts: who they are is no business of callers.
"""

import math
from collections.abc import Sequence

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.candidate import Candidate, answers_in
from groxy.routing.model import Model

_SHOWN_CHARS = 128
_MAX_WAIT_S = 60
_MAX_TOLD_S = 86_400.0
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


def all_resting(candidates: Sequence[Candidate], now: float) -> GroxyError:
    """Return the error for the moment at which all accounts that could serve have to rest.

    It is the caller's to wait when one of them is at a limit, and ours to mend when none is: a 503
    then, never a 401.
    """
    limited = [one for one in candidates if _is_limited(one, now)]
    soonest = min(_free_at(one, now) for one in limited or candidates)
    wait_s = max(math.ceil(min(soonest - now, _MAX_TOLD_S)), 1)
    if limited:
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


def _free_at(candidate: Candidate, now: float) -> float:
    return candidate.account.free_at(candidate.model_sent, candidate.target.mode, now)


def _is_limited(candidate: Candidate, now: float) -> bool:
    """Return whether waiting helps: it is at a limit, of its upstream's or of ours."""
    account = candidate.account
    if account.rest_until > now:
        return account.rest_reason is ErrorKind.UPSTREAM_LIMITED
    return bool(account.bound_reached(candidate.model_sent, candidate.target.mode, now))
