"""The way of a request: which accounts may serve it, in which order, under which model id.

In: the model asked for and what the answer needs. Out: a `Plan`. Two decisions only: which
accounts can (tier, dialect, the upstream's own list; remembered until the accounts change), and
in which order now (pool by pool, healthy before doubtful, idle before busy).
"""

import math
import random
from dataclasses import dataclass
from operator import itemgetter

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.accounts import Account, AccountState, Directory
from groxy.routing.catalog import Capability, Catalog, Model
from groxy.routing.pools import Pool, pools_for
from groxy.upstreams._base import ModelFacts

_REMEMBERED = 4096
"""Model names whose accounts are remembered; callers choose names, so memory is bounded."""
_NO_FACTS = ModelFacts()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account that can serve, and the model id to send it."""

    account: Account
    model_sent: str


class Plan(msgspec.Struct, frozen=True):
    """The candidates of one request, best first, and what they all have in common."""

    model: Model | None
    """The catalog's entry; None for a model that only an upstream's own list has."""
    facts: ModelFacts
    effort: str | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class _Able:
    """All accounts that can serve a model, pool by pool in order of preference."""

    model: Model | None
    facts: ModelFacts
    pools: tuple[tuple[Candidate, ...], ...]


class Router:
    """Plans requests."""

    def __init__(self, catalog: Catalog, directory: Directory, *, max_candidates: int) -> None:
        self._catalog = catalog
        self._directory = directory
        self._max_candidates = max_candidates
        self._able: dict[str, _Able] = {}
        self._generation = -1

    def plan(self, asked: str, dialect: str) -> Plan:
        """Return who may serve `asked`, best first; raise UNKNOWN_MODEL or what stands against."""
        able = self._able_for(asked, dialect)
        if not able.pools:
            raise self._unknown(asked, able.model)
        now = self._directory.now()
        chosen: list[Candidate] = []
        for pool in able.pools:
            chosen += self._ordered(pool, now)
            if len(chosen) >= self._max_candidates:
                break
        if not chosen:
            raise self._all_resting(able, now)
        effort = able.model.effort if able.model else None
        return Plan(able.model, able.facts, effort, tuple(chosen[: self._max_candidates]))

    def models(self, dialect: str) -> list[Model | str]:
        """Return every model that can be served now: catalog entries, then ids only a list has."""
        now = self._directory.now()
        usable = {
            account.id
            for account in self._directory.accounts
            if account.state(now) is not AccountState.EXPIRED
        }
        found: list[Model | str] = [
            model for model in self._catalog.models() if self._is_served(model.id, dialect, usable)
        ]
        listed = {name for account in self._directory.accounts for name in account.models or ()}
        found += [
            name
            for name in sorted(listed)
            if self._catalog.find(name) is None and self._is_served(name, dialect, usable)
        ]
        return found

    def model(self, asked: str, dialect: str) -> Model | str | None:
        """Return one model if it can be served now."""
        able = self._able_for(asked, dialect)
        return (able.model or asked) if able.pools else None

    def _is_served(self, asked: str, dialect: str, usable: set[str]) -> bool:
        pools = self._able_for(asked, dialect).pools
        return any(candidate.account.id in usable for pool in pools for candidate in pool)

    def _able_for(self, asked: str, dialect: str) -> _Able:
        if self._generation != self._directory.generation or len(self._able) > _REMEMBERED:
            self._able.clear()
            self._generation = self._directory.generation
        key = f"{dialect} {asked}"
        able = self._able.get(key)
        if able is None:
            able = self._able[key] = self._find_able(asked, dialect)
        return able

    def _find_able(self, asked: str, dialect: str) -> _Able:
        model = self._catalog.find(asked)
        if model is not None and model.capability is not Capability.CHAT:
            return _Able(model, _NO_FACTS, ())
        order = tuple(Pool)
        facts = _NO_FACTS
        if model is not None:
            order = pools_for(model.tier, prefer_best=model.prefer_best)
            facts = ModelFacts(rejects=model.rejects, efforts=model.efforts, reasons=model.reasons)
        by_pool: dict[Pool, list[Candidate]] = {pool: [] for pool in order}
        for account in self._directory.accounts:
            sent = _model_sent(account, asked, model, dialect)
            if sent is not None and account.pool in by_pool:
                by_pool[account.pool].append(Candidate(account, sent))
        return _Able(model, facts, tuple(tuple(pool) for pool in by_pool.values() if pool))

    def _ordered(self, pool: tuple[Candidate, ...], now: float) -> list[Candidate]:
        """Return the usable accounts of a pool, the best first."""
        if len(pool) == 1:
            return [] if pool[0].account.is_resting(now) else [pool[0]]
        most = 4 * self._max_candidates
        if len(pool) > most:
            # The best of a few random ones is nearly as good as the best of all, at a fixed cost.
            sample = random.sample(pool, most)
            if all(candidate.account.is_resting(now) for candidate in sample):
                sample = list(pool)
        else:
            sample = list(pool)
        ranked = [
            ((account.is_doubtful(now), account.in_flight, random.random()), candidate)  # noqa: S311
            for candidate in sample
            if not (account := candidate.account).is_resting(now)
        ]
        ranked.sort(key=itemgetter(0))
        return [candidate for _, candidate in ranked]

    def _unknown(self, asked: str, model: Model | None) -> GroxyError:
        if model is not None and model.capability is not Capability.CHAT:
            message = f"The model `{asked}` makes no text but: {model.capability.value}."
            return GroxyError(ErrorKind.BAD_REQUEST, message, param="model")
        why = "does not exist" if model is None else "is not served by any account here"
        return GroxyError(
            ErrorKind.UNKNOWN_MODEL,
            f"The model `{asked}` {why}. GET /v1/models lists the models you can use.",
            param="model",
        )

    def _all_resting(self, able: _Able, now: float) -> GroxyError:
        accounts = [candidate.account for pool in able.pools for candidate in pool]
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
            retry_after_s=min(wait_s, 60),
        )


def _model_sent(account: Account, asked: str, model: Model | None, dialect: str) -> str | None:
    """Return the id under which an account serves the model, or None when it does not."""
    upstream = account.upstream
    if dialect not in upstream.dialects:
        return None
    if account.models is not None and asked in account.models:
        return asked
    if model is None:
        # A plain server whose list is not known may have anything; it will say if it has not.
        return asked if account.models is None and not upstream.serves_catalog else None
    if dialect not in model.dialects and not upstream.translates_dialects:
        return None
    official = model.upstream_ids.get(upstream.name) or upstream.model_id(
        model.sends, account.credentials
    )
    if account.models is None:
        return official if upstream.serves_catalog else asked
    return next((name for name in (official, model.sends) if name in account.models), None)
