"""The way of a request: which accounts may serve it, in which order, in which dialect.

In: a `Wanted`. Out: a `Plan`. Two decisions: which accounts can (capability, tier, dialect, the
upstream's own list, the caller's wishes; remembered until the accounts change), and in which order
now (`choice`, with the account that served the conversation before in front).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.preferences import NONE, Preferences, SortBy
from groxy.routing.account import Account, Status
from groxy.routing.accounts import Directory
from groxy.routing.affinity import Affinity
from groxy.routing.candidate import (
    ALL_CARRIERS,
    CARRIERS,
    Candidate,
    Sought,
    Target,
    answers_in,
    candidates_among,
    carriers_for,
    pools_of,
    target_of,
)
from groxy.routing.catalog import Catalog, Model
from groxy.routing.choice import (
    Group,
    Groups,
    Look,
    Notes,
    Strategy,
    choose,
    share_out,
    stands_against,
)
from groxy.routing.explain import Explanation, Verdict, verdicts_on
from groxy.routing.pools import Pool
from groxy.routing.refusals import all_resting, excluded, uncarried, unserved
from groxy.routing.suffixes import SuffixedName, read_suffixes
from groxy.routing.wanted import Wanted
from groxy.routing.wishes import Names, Rank, Sifted, price_of, sift

__all__ = ["Candidate", "Explanation", "Plan", "Router", "Strategy", "Target", "Verdict", "Wanted"]

_MAX_NAMES = 4096
"""Models asked for whose accounts are remembered; callers choose names, so memory is bounded."""
_MAX_NAME_CHARS = 256
_MAX_REMEMBERED = 1_000_000
"""Candidates that are remembered for all names together."""
_MAX_FALLBACKS = 32
_MOST_EXTRA = 8
"""How many more open requests than the idlest account a conversation's home may have."""
_BY_SPEED = frozenset({SortBy.THROUGHPUT, SortBy.LATENCY})
_DEAREST = 1 << 62
_NO_RANK = (0, 0, 0)
_SERVING = frozenset({Status.ACTIVE, Status.COOLING})
_MOST_ASKED_WHY = 512
"""Accounts looked at for when to come back, of very many that all rest."""

_Key = tuple[str, tuple[str, ...], bool, Preferences | None]


class Plan(msgspec.Struct, frozen=True):
    """The candidates of one request, best first, and why these."""

    candidates: tuple[Candidate, ...]
    of: int = 0
    """How many accounts could serve, if they were all well."""
    home: str = ""
    """The account that served the conversation before, where it comes first for that."""
    notes: Notes = msgspec.field(default_factory=Notes)


@dataclass(slots=True, eq=False)
class _Able:
    """All accounts that can serve a model, in groups, the first choice first."""

    asked: str
    target: Target
    groups: Groups
    sort: SortBy | None
    excluded_by: str
    """The wish that left no account, where there would be some without it."""
    count: int
    """How many accounts they are."""
    _by_account: dict[str, Candidate] = field(default_factory=dict)

    def at(self, account_id: str) -> Candidate | None:
        """Return the candidate that an account is."""
        if not self._by_account:
            self._by_account = {
                one.account.id: one for group in self.groups for one in group.candidates
            }
        return self._by_account.get(account_id)


class Router:
    """Plans requests."""

    def __init__(
        self,
        catalog: Catalog,
        directory: Directory,
        *,
        max_candidates: int,
        strategy: Strategy = Strategy.QUOTA,
        keeps_together: bool = True,
    ) -> None:
        self._catalog = catalog
        self._directory = directory
        self.max_candidates = max_candidates
        self.strategy = strategy
        self.keeps_together = keeps_together
        """Whether conversations stay at the account that served them."""
        self.affinity = Affinity()
        self._able: dict[_Key, _Able] = {}
        self._named: dict[str, SuffixedName] = {}
        self._remembered = 0
        self._generation = -1
        self._names: Names | None = None

    def plan(self, wanted: Wanted) -> Plan:
        """Return who may serve a request, best first.

        Raises UNKNOWN_MODEL, BAD_REQUEST for a model that makes something else and for wishes that
        no account fulfils, RATE_LIMITED or NO_ACCOUNT when all accounts rest.
        """
        ables = self._ables(wanted)
        notes = Notes()
        look = self._look(ables[0], notes)
        if len(ables) == 1:
            chosen = self._chosen(ables[0], wanted, look)
        else:
            chosen = self._chosen_of_several(ables, wanted, look)
        if not chosen:
            raise all_resting(_some_of(ables), look.now)
        if not wanted.preferences.allow_fallbacks:
            chosen = chosen[:1]
        of = ables[0].count if len(ables) == 1 else sum(able.count for able in ables)
        first = chosen[0].account.id
        is_home = of > 1 and first in self._homes_of(wanted)
        return Plan(tuple(chosen), of=of, home=first if is_home else "", notes=notes)

    def explain(self, wanted: Wanted) -> Explanation:
        """Return what planning a request comes to now, with a verdict on each account.

        Raises nothing for a request that cannot be served: the explanation says why. Looks at every
        account, so it is for people and not for requests.
        """
        order: tuple[str, ...] = ()
        refusal = ""
        try:
            order = tuple(one.account.id for one in self.plan(wanted).candidates)
        except GroxyError as error:
            refusal = error.message
        named = self._read(wanted.model)
        model = self._catalog.find(named.base)
        carriers = carriers_for(wanted.carriers, model) if wanted.has_tools else wanted.carriers
        sought = Sought(name=named.base, suffix=named.suffix, model=model, carriers=carriers)
        kept: frozenset[str] | None = None
        if wanted.preferences != NONE:
            groups = self._able_for(wanted.model, wanted).groups
            kept = frozenset(one.account.id for group in groups for one in group.candidates)
        verdicts = verdicts_on(self._directory.accounts, sought, self._directory.now(), kept)
        return Explanation(
            model=wanted.model,
            served=bool(order),
            refusal=refusal,
            order=order,
            verdicts=verdicts,
        )

    def _look(self, able: "_Able", notes: Notes) -> Look:
        return Look(
            most=self.max_candidates,
            now=self._directory.now(),
            sort=able.sort,
            strategy=self.strategy,
            notes=notes,
        )

    def _homes_of(self, wanted: Wanted) -> tuple[str, str]:
        remembered = self.affinity.home_of(wanted.conversation) if self.keeps_together else ""
        return wanted.home, remembered

    def note_served(
        self,
        wanted: Wanted,
        candidate: Candidate,
        *,
        first_event_s: float,
        output_tokens: int,
        duration_s: float,
    ) -> None:
        """Take in that a candidate served a request: it is the conversation's home from now on."""
        account = candidate.account
        account.note_speed(
            first_event_s=first_event_s, output_tokens=output_tokens, duration_s=duration_s
        )
        if len(self._directory) > 1:
            account.note_terms()
        if wanted.conversation and self.keeps_together and len(self._directory) > 1:
            self.affinity.remember(wanted.conversation, account.id)

    def models(self) -> list[Model | str]:
        """Return every model that can be served now: catalog entries, then ids only a list has."""
        accounts = self._one_of_each_kind()
        found: list[Model | str] = [
            model for model in self._catalog.models() if _is_served(model.id, model, accounts)
        ]
        listed = {name for account in accounts for name in account.models or ()}
        found += [
            name
            for name in sorted(listed)
            if self._catalog.find(name) is None and _is_served(name, None, accounts)
        ]
        return found

    def base_name(self, asked: str) -> str:
        """Return what a name stands for, without what only says how to route (`:nitro`)."""
        return self._read(asked).base

    def names_of(self, asked: str) -> tuple[str, str]:
        """Return a name without what only says how to route, and what it stands for."""
        read = self._read(asked)
        return asked.removesuffix(read.suffix), read.base

    def model(self, asked: str) -> Model | str | None:
        """Return one model if it can be served now."""
        name = self._read(asked).base
        model = self._catalog.find(name)
        is_served = _is_served(name, model, self._one_of_each_kind())
        return (model or name) if is_served else None

    # ----------------------------------------------------------------------- in which order

    def _chosen(self, able: _Able, wanted: Wanted, look: Look) -> list[Candidate]:
        """Return candidates of one model, the conversation's home in front."""
        chosen = choose(able.groups, look)
        is_alone = len(chosen) == 1 < look.most
        if is_alone or (not wanted.conversation and not wanted.home):
            return chosen
        home = self._home(able, wanted, look.now)
        if home is None or _is_crowded(home, chosen):
            return chosen
        return [home, *(one for one in chosen if one is not home)][: look.most]

    def _home(self, able: _Able, wanted: Wanted, now: float) -> Candidate | None:
        """Return the candidate that served the conversation before, if it is well.

        A caller who says which account is to be the first is obeyed.
        """
        wished = wanted.preferences
        if wished.order or able.sort in _BY_SPEED:
            return None
        for account_id in self._homes_of(wanted):
            home = able.at(account_id) if account_id else None
            if home is None or not set(wished.prefer_tags) <= set(home.account.terms.tags):
                continue
            if not stands_against(home, now):
                return home
        return None

    def _chosen_of_several(self, ables: list[_Able], wanted: Wanted, look: Look) -> list[Candidate]:
        """Return candidates of the model, then of each fallback, none of them twice."""
        most = max(look.most, len(ables))
        lists: list[list[Candidate]] = []
        seen: set[tuple[str, str]] = set()
        for place, able in enumerate(ables):
            own = replace(look, most=most, sort=able.sort)
            chosen = choose(able.groups, own) if place else self._chosen(able, wanted, own)
            fresh = [one for one in chosen if (one.account.id, one.model_sent) not in seen]
            seen.update((one.account.id, one.model_sent) for one in fresh)
            if fresh:
                lists.append(fresh)
        return share_out(lists, look.most)

    # ----------------------------------------------------------------------- which accounts can

    def _ables(self, wanted: Wanted) -> list[_Able]:
        """Return who can serve the model and its fallbacks; raise when nobody can serve any."""
        first = self._able_for(wanted.model, wanted)
        if not wanted.fallbacks:
            if not first.groups:
                raise self._refusal([first], wanted)
            return [first]
        if len(wanted.fallbacks) > _MAX_FALLBACKS:
            message = f"`models` names too many models; name {_MAX_FALLBACKS} at most."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="models")
        names = dict.fromkeys(name for name in wanted.fallbacks if name != wanted.model)
        ables = [first, *(self._able_for(name, wanted) for name in names)]
        served = [able for able in ables if able.groups]
        if not served:
            raise self._refusal(ables, wanted)
        if first.sort is SortBy.PRICE:
            served.sort(key=_price)
        return served

    def _refusal(self, ables: Sequence[_Able], wanted: Wanted) -> GroxyError:
        for able in ables:
            if able.excluded_by:
                return excluded(able.asked, able.excluded_by)
        asked, model = ables[0].asked, ables[0].target.model
        is_bound = bool(wanted.bound_by) and (model is None or answers_in(model, wanted.carriers))
        if is_bound and _is_served(self._read(asked).base, model, self._one_of_each_kind()):
            return uncarried(asked, wanted.bound_by)
        return unserved(asked, model, wanted.carriers)

    def _able_for(self, asked: str, wanted: Wanted) -> _Able:
        self._refresh()
        wished = wanted.preferences
        # Hashing preferences takes longer than all the rest, and most requests have none.
        key = (asked, wanted.carriers, wanted.has_tools, None if wished is NONE else wished)
        able = self._able.get(key)
        if able is None:
            able, is_new = self._find_able(asked, wanted)
            if len(asked) + _chars(wished) <= _MAX_NAME_CHARS:
                if self._remembered > _MAX_REMEMBERED:
                    self._forget()
                self._able[key] = able
                self._remembered += able.count if is_new else 0
        return able

    def _refresh(self) -> None:
        """Forget what is remembered, where that is not true any more or too much."""
        if (
            self._generation != self._directory.generation
            or len(self._able) > _MAX_NAMES
            or len(self._named) > _MAX_NAMES
        ):
            self._forget()

    def _forget(self) -> None:
        self._able.clear()
        self._named.clear()
        self._remembered = 0
        self._names = None
        self._generation = self._directory.generation

    def _find_able(self, asked: str, wanted: Wanted) -> tuple[_Able, bool]:
        """Return who can serve a model, and whether that was not remembered already."""
        named = self._read(asked)
        model = self._catalog.find(named.base)
        carriers = wanted.carriers
        if wanted.has_tools:
            carriers = carriers_for(carriers, model)
            if carriers == wanted.carriers:
                return self._able_for(asked, replace(wanted, has_tools=False)), False
        target = target_of(model)
        sought = Sought(name=named.base, suffix=named.suffix, model=model, carriers=carriers)
        pools = pools_of(model, carriers)
        fitting = (account for account in self._directory.accounts if account.pool in pools)
        found = list(candidates_among(fitting, sought, target))
        sifted = Sifted([(_NO_RANK, candidate) for candidate in found])
        if found and wanted.preferences != NONE:
            sifted = sift(found, wanted.preferences, self._all_names())
        sort = wanted.preferences.sort or named.sort
        groups = _groups(sifted.ranked, () if sort in _BY_SPEED else pools)
        return _Able(asked, target, groups, sort, sifted.excluded_by, len(sifted.ranked)), True

    def _read(self, asked: str) -> SuffixedName:
        """Return a name free of aliases, and of suffixes where they are no part of a name."""
        self._refresh()
        read = self._named.get(asked)
        if read is None:
            read = self._read_anew(asked)
            if len(asked) <= _MAX_NAME_CHARS:
                self._named[asked] = read
        return read

    def _read_anew(self, asked: str) -> SuffixedName:
        named = read_suffixes(asked)
        if not named.suffix or self._is_known(asked):
            return SuffixedName(self._catalog.resolve(asked))
        return SuffixedName(self._catalog.resolve(named.base), named.suffix, named.sort)

    def _is_known(self, name: str) -> bool:
        """True for a name that the catalog has, or the list of any account."""
        return self._catalog.has(name) or any(
            account.models is not None and name in account.models
            for account in self._directory.accounts
        )

    def _all_names(self) -> Names:
        if self._names is None:
            self._names = Names(self._directory.accounts)
        return self._names

    def _one_of_each_kind(self) -> list[Account]:
        """Return one account for all that serve the same models, if it has a valid credential."""
        now = self._directory.now()
        kinds: dict[object, Account] = {}
        for account in self._directory.accounts:
            if account.status(now) in _SERVING:
                own = account.credentials
                where = (account.upstream.name, own.base_url, *own.options.items())
                allowed = account.terms.models
                kinds.setdefault((account.pool, account.models, allowed, where), account)
        return list(kinds.values())


def _groups(ranked: Sequence[tuple[Rank, Candidate]], pools: tuple[Pool, ...]) -> Groups:
    """Return candidates in groups: by rank, pool and priority; without pools by rank alone."""
    groups: dict[tuple[Rank, int, int], list[Candidate]] = {}
    for rank, candidate in ranked:
        account = candidate.account
        place = pools.index(account.pool) if pools else 0
        key = (rank, place, -account.terms.priority)
        if key in groups:
            groups[key].append(candidate)
        else:
            groups[key] = [candidate]
    return tuple(Group(groups[key]) for key in sorted(groups))


def _some_of(ables: Sequence[_Able]) -> list[Candidate]:
    """Return candidates to find out from when one will be free: all, or some of very many."""
    found = [one for able in ables for group in able.groups for one in group.candidates]
    return found if len(found) <= _MOST_ASKED_WHY else random.sample(found, _MOST_ASKED_WHY)


def _chars(wished: Preferences) -> int:
    if wished is NONE:
        return 0
    named = (*wished.order, *wished.only, *wished.ignore, *wished.prefer_tags)
    return sum(1 + len(name) for name in named)


def _price(able: _Able) -> int:
    price = price_of(able.target.model)
    return _DEAREST if price is None else price


def _is_crowded(home: Candidate, chosen: list[Candidate]) -> bool:
    """Return whether a home has so much to do that a cold prompt cache elsewhere is the better.

    Requests that begin alike share a home; a burst of them must not all wait for one account.
    """
    idlest = min((one.account.in_flight for one in chosen), default=0)
    return home.account.in_flight > idlest + _MOST_EXTRA


def _is_served(name: str, model: Model | None, accounts: Sequence[Account]) -> bool:
    carriers = ALL_CARRIERS if model is None else CARRIERS[model.capability]
    sought, target = Sought(name=name, model=model, carriers=carriers), target_of(model)
    pools = pools_of(model, carriers)
    fitting = (account for account in accounts if account.pool in pools)
    return any(True for _ in candidates_among(fitting, sought, target))
