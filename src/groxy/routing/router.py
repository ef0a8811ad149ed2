"""The way of a request: which accounts may serve it, in which order, under which model id.

In: the model asked for and what the answer needs. Out: a `Plan`. Two decisions only: which
accounts can (tier, dialect, the upstream's own list; remembered until the accounts change), and
in which order now (pool by pool, healthy before doubtful, idle before busy).
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.accounts import Account, AccountState, Directory
from groxy.routing.catalog import Capability, Catalog, Model
from groxy.routing.pools import Pool, pools_for
from groxy.upstreams._base import ModelFacts

_MAX_NAMES = 4096
"""Model names whose accounts are remembered; callers choose names, so memory is bounded."""
_MAX_NAME_CHARS = 256
_MAX_REMEMBERED = 1_000_000
"""Candidates that are remembered for all names together."""
_NO_FACTS = ModelFacts()
_RANK = itemgetter(0, 1)


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
    count: int
    """How many they are."""


class Router:
    """Plans requests."""

    def __init__(self, catalog: Catalog, directory: Directory, *, max_candidates: int) -> None:
        self._catalog = catalog
        self._directory = directory
        self._max_candidates = max_candidates
        self._able: dict[str, _Able] = {}
        self._remembered = 0
        self._generation = -1

    def plan(self, asked: str, dialect: str) -> Plan:
        """Return who may serve `asked`, best first; raise UNKNOWN_MODEL or what stands against."""
        able = self._able_for(asked, dialect)
        if not able.pools:
            raise self._unknown(asked, able.model)
        now = self._directory.now()
        most = self._max_candidates
        chosen: list[Candidate] = []
        for pool in able.pools:
            chosen += self._healthy(pool, now)
            if len(chosen) >= most:
                break
        if len(chosen) < most and len(chosen) < able.count:
            for pool in able.pools:
                chosen += self._doubtful(pool, now)
            if not chosen:
                raise self._all_resting(able, now)
        effort = able.model.effort if able.model else None
        return Plan(able.model, able.facts, effort, tuple(chosen[:most]))

    def models(self, dialect: str) -> list[Model | str]:
        """Return every model that can be served now: catalog entries, then ids only a list has."""
        accounts = self._one_of_each_kind()
        found: list[Model | str] = [
            model
            for model in self._catalog.models()
            if _is_served(model.id, model, dialect, accounts)
        ]
        listed = {name for account in accounts for name in account.models or ()}
        found += [
            name
            for name in sorted(listed)
            if self._catalog.find(name) is None and _is_served(name, None, dialect, accounts)
        ]
        return found

    def model(self, asked: str, dialect: str) -> Model | str | None:
        """Return one model if it can be served now."""
        model = self._catalog.find(asked)
        is_served = _is_served(asked, model, dialect, self._one_of_each_kind())
        return (model or asked) if is_served else None

    def _one_of_each_kind(self) -> list[Account]:
        """Return one account for all that serve the same models, if it has a valid credential."""
        now = self._directory.now()
        kinds: dict[object, Account] = {}
        for account in self._directory.accounts:
            if account.state(now) is not AccountState.EXPIRED:
                own = account.credentials
                where = (account.upstream.name, own.base_url, *own.options.items())
                kinds.setdefault((account.pool, account.models, where), account)
        return list(kinds.values())

    def _able_for(self, asked: str, dialect: str) -> _Able:
        if self._generation != self._directory.generation or len(self._able) > _MAX_NAMES:
            self._forget()
        key = f"{dialect} {asked}"
        able = self._able.get(key)
        if able is None:
            able = self._find_able(asked, dialect)
            if len(asked) <= _MAX_NAME_CHARS:
                if self._remembered > _MAX_REMEMBERED:
                    self._forget()
                self._able[key] = able
                self._remembered += able.count
        return able

    def _forget(self) -> None:
        self._able.clear()
        self._remembered = 0
        self._generation = self._directory.generation

    def _find_able(self, asked: str, dialect: str) -> _Able:
        model = self._catalog.find(asked)
        facts = _NO_FACTS
        if model is not None:
            facts = ModelFacts(rejects=model.rejects, efforts=model.efforts, reasons=model.reasons)
        by_pool: dict[Pool, list[Candidate]] = {pool: [] for pool in _pools_of(model)}
        for account in self._directory.accounts:
            sent = _model_sent(account, asked, model, dialect)
            if sent is not None and account.pool in by_pool:
                by_pool[account.pool].append(Candidate(account, sent))
        pools = tuple(tuple(pool) for pool in by_pool.values() if pool)
        return _Able(model, facts, pools, sum(map(len, pools)))

    def _healthy(self, pool: tuple[Candidate, ...], now: float) -> Sequence[Candidate]:
        """Return accounts of a pool that neither rest nor failed lately, the least busy first."""
        if len(pool) == 1:
            return pool if pool[0].account.rest_until <= now else ()
        few = 4 * self._max_candidates
        if len(pool) <= few:
            return _least_busy_first(_that_are_well(pool, now))
        # The best of a few random ones is nearly as good as the best of all, at a fixed cost.
        fit = _that_are_well(random.sample(pool, few), now)
        if len(fit) < self._max_candidates:
            fit = _some(_that_are_well(pool, now), few)
        return _least_busy_first(fit)

    def _doubtful(self, pool: tuple[Candidate, ...], now: float) -> list[Candidate]:
        """Return accounts of a pool that failed lately, for when there are no better ones."""
        doubtful = [candidate for candidate in pool if candidate.account.is_doubtful(now)]
        return _least_busy_first(_some(doubtful, 4 * self._max_candidates))

    def _unknown(self, asked: str, model: Model | None) -> GroxyError:
        if model is not None and model.capability is not Capability.CHAT:
            message = f"The model `{asked[:128]}` makes no text but: {model.capability.value}."
            return GroxyError(ErrorKind.BAD_REQUEST, message, param="model")
        why = "does not exist" if model is None else "is not served by any account here"
        return GroxyError(
            ErrorKind.UNKNOWN_MODEL,
            f"The model `{asked[:128]}` {why}. GET /v1/models lists the models you can use.",
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


def _that_are_well(candidates: Sequence[Candidate], now: float) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.account.rest_until <= now]


def _some(candidates: list[Candidate], few: int) -> list[Candidate]:
    return candidates if len(candidates) <= few else random.sample(candidates, few)


def _least_busy_first(candidates: list[Candidate]) -> list[Candidate]:
    ranked = [
        (candidate.account.in_flight, random.random(), candidate)  # noqa: S311 - a fair order
        for candidate in candidates
    ]
    ranked.sort(key=_RANK)
    return [candidate for _, _, candidate in ranked]


def _pools_of(model: Model | None) -> tuple[Pool, ...]:
    """Return the pools that may serve a model as text, first choice first."""
    if model is None:
        return tuple(Pool)
    if model.capability is not Capability.CHAT:
        return ()
    return pools_for(model.tier, prefer_best=model.prefer_best)


def _is_served(asked: str, model: Model | None, dialect: str, accounts: list[Account]) -> bool:
    pools = _pools_of(model)
    return any(
        account.pool in pools and _model_sent(account, asked, model, dialect) is not None
        for account in accounts
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
