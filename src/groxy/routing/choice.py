"""Choice: in which order accounts are asked, as they are right now.

In: groups of candidates, the best group first. Out: the few that are asked, best first: healthy
before doubtful, then group by group, and within a group by strategy. It must not look at models:
whoever is in a group can serve.

Strategy `quota` prefers who is idle, healthy, fast, cheap and has quota left; `random` draws lots
by weight. In a large group the best of a few random ones is taken: nearly as good as the best of
all, and 10,000 accounts cost no more than 10 (the power of two choices, Mitzenmacher 2001).
"""

import random
from collections.abc import Sequence
from enum import Enum
from operator import itemgetter

import msgspec

from groxy.core.preferences import SortBy
from groxy.routing.account import Account
from groxy.routing.candidate import Candidate

_RANK = itemgetter(0, 1)
_FAST_RANK = itemgetter(0, 1, 2, 3)
_FEW = 8
"""A group of no more is looked at as a whole."""
_TRIES = 4
"""Draws for each candidate that is wanted, before all are looked at."""
_GOOD_FOR_S = 1e-5
"""How long a look at all of a large group is good for, by candidate: as long as several take."""
_SCARCE = 4
"""Where fewer than one in so many can serve, draws are mostly blanks."""
_FAST_SAMPLE = 256
"""Speeds differ more than loads do, so the fastest is looked for among more."""
_LOOKS_AROUND = 0.05
"""How often the fastest account gives way to others, so that their speed becomes known too."""
_MOST_NOTED = 8
_DOUBTFUL = "doubtful"
_BY_SPEED = frozenset({SortBy.THROUGHPUT, SortBy.LATENCY})


class Strategy(Enum):
    """How one of several accounts that are as good is chosen."""

    QUOTA = "quota"
    RANDOM = "random"


class Notes(msgspec.Struct):
    """Why the choice fell as it did, for the request's trail."""

    scores: dict[str, float] = msgspec.field(default_factory=dict)
    """By account, where there was something to choose: the less the better."""
    passed: list[tuple[str, str]] = msgspec.field(default_factory=list)
    """Accounts that were looked at and could not serve, and why; a few at most."""

    def note(self, account: Account, why: str) -> None:
        """Note that an account was passed over."""
        if len(self.passed) < _MOST_NOTED:
            self.passed.append((account.id, why))


class _Seen:
    """What a look at all candidates of a group found."""

    __slots__ = ("at", "doubtful", "fit", "passed")

    def __init__(self, at: float, candidates: Sequence[Candidate]) -> None:
        self.at = at
        self.fit: list[Candidate] = []
        self.doubtful: list[Candidate] = []
        self.passed: list[tuple[str, str]] = []
        """Some that could not serve, and why."""
        for one in candidates:
            # Of very many most rest, so that comes first; words are needed for a few only.
            if one.account.rest_until > at:
                if one.account.is_doubtful(at):
                    self.doubtful.append(one)
            elif not stands_against(one, at):
                self.fit.append(one)
                continue
            if len(self.passed) < _MOST_NOTED:
                self.passed.append((one.account.id, stands_against(one, at)))


class Group:
    """Candidates that are as good as each other, apart from how they are right now."""

    __slots__ = ("_good_for_s", "_seen", "candidates")

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = tuple(candidates)
        size = len(self.candidates)
        self._good_for_s = size * _GOOD_FOR_S if size > _FEW else 0.0
        self._seen: _Seen | None = None

    def __len__(self) -> int:
        """How many they are."""
        return len(self.candidates)

    def scarce(self, now: float) -> _Seen | None:
        """Return what was seen a moment ago, if few could serve; None when nobody looked."""
        seen = self._seen
        if seen is None or not seen.at <= now < seen.at + self._good_for_s:
            return None
        return seen if len(seen.fit) * _SCARCE < len(self.candidates) else None

    def seen(self, now: float) -> _Seen:
        """Return what a look at all finds, or found a moment ago."""
        seen = self._seen
        if seen is None or not seen.at <= now < seen.at + self._good_for_s:
            seen = self._seen = _Seen(now, self.candidates)
        return seen


Groups = tuple[Group, ...]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at accounts: how many are wanted, when, and by what they are compared."""

    most: int
    now: float
    sort: SortBy | None = None
    strategy: Strategy = Strategy.QUOTA
    notes: Notes = msgspec.field(default_factory=Notes)


def choose(groups: Groups, look: Look) -> list[Candidate]:
    """Return at most `look.most` candidates that can serve, best first; none when none can."""
    chosen: list[Candidate] = []
    for group in groups:
        chosen += _healthy(group, look)
        if len(chosen) >= look.most:
            return chosen[: look.most]
    if len(chosen) < sum(map(len, groups)):
        for group in groups:
            chosen += _doubtful(group, look)
    return chosen[: look.most]


def stands_against(candidate: Candidate, now: float) -> str:
    """Return what keeps a candidate from serving now, as a word; empty when nothing does."""
    account = candidate.account
    if account.rest_until > now:
        return _DOUBTFUL if account.is_doubtful(now) else account.status(now).value
    if account.is_bounded:
        return account.bound_reached(candidate.model_sent, candidate.target.mode, now)
    return ""


def share_out(lists: Sequence[list[Candidate]], most: int) -> list[Candidate]:
    """Return the candidates of several models in one row, each model with one at least.

    The first model gets what is left over. There may be more than `most` when there are more
    models than that.
    """
    room = max(most, len(lists))
    shared: list[Candidate] = []
    for index, candidates in enumerate(lists):
        kept_for_others = len(lists) - index - 1
        shared += candidates[: room - len(shared) - kept_for_others]
    return shared


def _healthy(group: Group, look: Look) -> Sequence[Candidate]:
    """Return candidates of a group that neither rest nor failed lately, the best first."""
    candidates = group.candidates
    if look.sort in _BY_SPEED:
        fit = _fit_among(_some(candidates, _FAST_SAMPLE), look)
        if len(fit) < look.most and len(candidates) > _FAST_SAMPLE:
            fit = _sampled(group.seen(look.now).fit, look, _FAST_SAMPLE)
        return _fastest_first(fit, look.sort)
    if len(candidates) == 1:
        return _fit_among(candidates, look)
    if len(candidates) <= _FEW:
        return _ordered(_fit_among(candidates, look), look)
    seen = group.scarce(look.now)
    if seen is not None:
        look.notes.passed += seen.passed[: _MOST_NOTED - len(look.notes.passed)]
        return _ordered(_sampled(seen.fit, look, look.most + 1), look)
    fit = _drawn(candidates, look)
    if len(fit) < look.most:
        fit = _sampled(group.seen(look.now).fit, look, look.most + 1)
    return _ordered(fit, look)


def _sampled(known: Sequence[Candidate], look: Look, few: int) -> list[Candidate]:
    """Return a few of those that could serve a moment ago and still can."""
    if len(known) <= few:
        return _fit_among(known, look)
    fit = _fit_among(random.sample(known, few), look)
    if len(fit) >= look.most:
        return fit
    return list(_some(_fit_among(known, look), few))


def _drawn(candidates: Sequence[Candidate], look: Look) -> list[Candidate]:
    """Return a few random candidates that can serve, one more than wanted if there are so many."""
    size, now = len(candidates), look.now
    wanted = look.most + 1
    seen: set[int] = set()
    fit: list[Candidate] = []
    for _ in range(_TRIES * wanted):
        index = int(random.random() * size)  # noqa: S311 - a fair draw
        if index in seen:
            continue
        seen.add(index)
        candidate = candidates[index]
        why = stands_against(candidate, now)
        if why:
            look.notes.note(candidate.account, why)
            continue
        fit.append(candidate)
        if len(fit) == wanted:
            break
    return fit


def _fit_among(candidates: Sequence[Candidate], look: Look) -> list[Candidate]:
    fit: list[Candidate] = []
    for candidate in candidates:
        why = stands_against(candidate, look.now)
        if why:
            look.notes.note(candidate.account, why)
        else:
            fit.append(candidate)
    return fit


def _doubtful(group: Group, look: Look) -> list[Candidate]:
    """Return candidates of a group that failed lately, for when there are no better ones."""
    now = look.now
    few = [
        one
        for one in _some(group.seen(now).doubtful, _TRIES * look.most)
        if one.account.is_doubtful(now)
        and not one.account.bound_reached(one.model_sent, one.target.mode, now)
    ]
    return _ordered(few, look)


def _some(candidates: Sequence[Candidate], few: int) -> Sequence[Candidate]:
    return candidates if len(candidates) <= few else random.sample(candidates, few)


def _ordered(candidates: Sequence[Candidate], look: Look) -> list[Candidate]:
    """Return candidates in the order of the strategy; those that are as good by lot."""
    if look.strategy is Strategy.RANDOM:
        return _by_lot(candidates)
    now, scores = look.now, look.notes.scores
    ranked = []
    for candidate in candidates:
        account = candidate.account
        score = scores[account.id] = account.badness(candidate.target.mode, now)
        ranked.append((score, random.random(), candidate))  # noqa: S311 - a fair order
    ranked.sort(key=_RANK)
    return [candidate for _, _, candidate in ranked]


def _by_lot(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates in a random order in which weight counts (Efraimidis and Spirakis 2006)."""
    ranked = [
        (-(random.random() ** (1.0 / one.account.terms.weight)), index, one)  # noqa: S311 - a lot
        for index, one in enumerate(candidates)
    ]
    ranked.sort(key=_RANK)
    return [candidate for _, _, candidate in ranked]


def _fastest_first(candidates: Sequence[Candidate], sort: SortBy | None) -> list[Candidate]:
    """Return candidates by what was measured of them, those not measured yet last.

    Now and then it is the other way round: unmeasured ones first, and the others by load.
    """
    looks_around = random.random() < _LOOKS_AROUND  # noqa: S311 - not a secret
    ranked: list[tuple[bool, float, int, float, Candidate]] = []
    for candidate in candidates:
        account = candidate.account
        badness = account.first_event_s if sort is SortBy.LATENCY else -account.tokens_per_s
        is_late = (badness == 0.0) is not looks_around
        chance = random.random()  # noqa: S311 - a fair order
        badness = 0.0 if looks_around else badness
        ranked.append((is_late, badness, account.in_flight, chance, candidate))
    ranked.sort(key=_FAST_RANK)
    return [candidate for *_, candidate in ranked]
