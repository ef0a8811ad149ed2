"""A candidate: an account that can serve a model, in which dialect, and under which id.

In: accounts and one model. Out: a `Candidate` for each account that can. It must not compare
accounts or know how they are: who comes first is decided in `choice`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from groxy.routing.account import Account
from groxy.routing.model import Capability, Model
from groxy.routing.pools import Pool, pools_for
from groxy.upstreams._base import ModelFacts

CARRIERS: Mapping[Capability, tuple[str, ...]] = {
    Capability.CHAT: ("chat", "responses", "messages", "completions"),
    Capability.IMAGE: ("images",),
    Capability.IMAGE_EDIT: ("images",),
    Capability.VIDEO: ("videos",),
    Capability.EMBEDDING: ("embeddings",),
}
"""Dialects in which a model of a capability may be asked."""
OFFICIAL = "official"
"""The mode of a model that is asked for by its own name."""
ALL_CARRIERS = tuple(dict.fromkeys(name for names in CARRIERS.values() for name in names))


@dataclass(frozen=True, slots=True)
class Target:
    """What all accounts of one asked model have in common."""

    model: Model | None
    """The catalog's entry; None for a model that only an upstream's own list has."""
    facts: ModelFacts
    effort: str | None
    """The effort that the model's name fixes."""
    mode: str = OFFICIAL
    """Which of an account's quotas counts."""


class Candidate(msgspec.Struct, frozen=True):
    """An account that can serve a model."""

    account: Account
    model_sent: str
    dialect: str
    """The dialect in which to ask it."""
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What an account is examined for."""

    name: str
    """The name to go on with, free of aliases and suffixes."""
    suffix: str = ""
    """The suffixes that were taken off, for upstreams that read them."""
    model: Model | None
    carriers: tuple[str, ...]
    """Dialects to ask in, best first."""


def target_of(model: Model | None) -> Target:
    """Return what is known of a model."""
    if model is None:
        return Target(None, ModelFacts(), None)
    facts = ModelFacts(rejects=model.rejects, efforts=model.efforts, reasons=model.reasons)
    return Target(model, facts, model.effort, model.mode)


def pools_of(model: Model | None, carriers: tuple[str, ...]) -> tuple[Pool, ...]:
    """Return the pools that may serve a model, first choice first; () for a wrong capability."""
    if model is None:
        return tuple(Pool)
    if not answers_in(model, carriers):
        return ()
    return pools_for(model.tier, prefer_best=model.prefer_best)


def answers_in(model: Model, carriers: tuple[str, ...]) -> bool:
    """True when a model makes what requests in these dialects ask for.

    All carriers of a request ask for the same; a dialect that is not known may ask for anything.
    """
    first = carriers[0] if carriers else ""
    return first in CARRIERS[model.capability] or first not in ALL_CARRIERS


def carriers_for(carriers: tuple[str, ...], model: Model | None) -> tuple[str, ...]:
    """Return the dialects for a request with tools, best first.

    A model whose tool loops need its reasoning back is better asked in Responses, which carries
    it, than in chat, which does not.
    """
    needs_place = model is not None and model.replays_reasoning
    if not needs_place or carriers[:1] != ("chat",) or "responses" not in carriers:
        return carriers
    return ("responses", *(name for name in carriers if name != "responses"))


def candidates_among(
    accounts: Iterable[Account], sought: Sought, target: Target
) -> Iterator[Candidate]:
    """Yield the accounts that serve what is sought, as candidates, in their order."""
    # Many accounts differ in their key only; each kind of them is examined once.
    ways: dict[object, _Way | None] = {}
    for account in accounts:
        kind = _kind_of(account)
        try:
            way = ways[kind]
        except KeyError:
            way = ways[kind] = _way_to(account, sought)
        if way is not None:
            yield Candidate(account, way[0], way[1], target)


def _kind_of(account: Account) -> object:
    """Return what all accounts share that are asked for a model in the same way.

    The directory keeps each list once, so that its identity is enough.
    """
    own = account.credentials
    options = tuple(own.options.items())
    return account.upstream, id(account.models), own.base_url, options, account.terms.models


def faults_of(account: Account, sought: Sought) -> list[str]:
    """Return what keeps an account from being asked for what is sought, as words."""
    if _dialect(account, sought) is None:
        return ["no_dialect"]
    sent = _model_sent(account, sought)
    if sent is None:
        return ["not_listed"]
    return [] if _is_allowed(account, sent, sought) else ["not_allowed"]


_Way = tuple[str, str]
"""The model id to send, and the dialect."""


def _way_to(account: Account, sought: Sought) -> _Way | None:
    """Return how to ask an account for what is sought, or None when it does not serve that."""
    dialect = _dialect(account, sought)
    sent = None if dialect is None else _model_sent(account, sought)
    if dialect is None or sent is None or not _is_allowed(account, sent, sought):
        return None
    if account.upstream.follows_preferences:
        sent += sought.suffix
    return sent, dialect


def _is_allowed(account: Account, sent: str, sought: Sought) -> bool:
    """Return whether the operator lets an account serve a model, by what is sent or by its name."""
    allowed = account.terms.models
    return not allowed or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in allowed
        for name in (sent, sought.name)
    )


def _dialect(account: Account, sought: Sought) -> str | None:
    """Return the first dialect that can carry the request, is spoken there, and that fits."""
    upstream, model = account.upstream, sought.model
    spoken = upstream.dialects_of(account.credentials)
    possible = [name for name in sought.carriers if name in spoken]
    if model is None or upstream.translates_dialects:
        return possible[0] if possible else None
    for name in possible:
        if name in model.dialects:
            return name
    # The catalog says what xAI itself does. A plain server that speaks nothing else is another
    # program, and its operator said that it speaks this.
    return possible[0] if possible and not upstream.serves_catalog else None


def _model_sent(account: Account, sought: Sought) -> str | None:
    """Return the id under which an account has the model, or None when it has not."""
    upstream, model, listed = account.upstream, sought.model, account.models
    if listed is not None and sought.name in listed:
        return sought.name
    if model is None:
        # A plain server whose list is not known may have anything; it will say if it has not.
        return sought.name if listed is None and not upstream.serves_catalog else None
    official = model.upstream_ids.get(upstream.name) or upstream.model_id(
        model.sends, account.credentials
    )
    if listed is None:
        return official if upstream.serves_catalog else sought.name
    return next((name for name in (official, model.sends) if name in listed), None)
