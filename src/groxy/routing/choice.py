"""Choice: in which order accounts are asked, as they are right now.

In: groups of candidates, the best group first. Out: the few that are asked, best first: healthy
before doubtful, then group by group, and within a group the least busy or the fastest. It must not
look at models: whoever is in a group can serve.
"""

import random
from collections.abc import Sequence
from operator import itemgetter

from groxy.core.preferences import SortBy
from groxy.routing.accounts import Account
from groxy.routing.candidate import Candidate

Groups = tuple[tuple[Candidate, ...], ...]

_RANK = itemgetter(0, 1)
_FAST_RANK = itemgetter(0, 1, 2, 3)
_SAMPLE = 4
"""Candidates looked at, in a large group, for each one that is wanted."""
_FAST_SAMPLE = 256
"""Speeds differ more than loads do, so the fastest is looked for among more."""
_LOOKS_AROUND = 0.05
"""How often the fastest account gives way to others, so that their speed becomes known too."""


def choose(groups: Groups, *, most: int, now: float, sort: SortBy | None = None) -> list[Candidate]:
    """Return at most `most` candidates that do not rest, best first; none when all of them rest."""
    chosen: list[Candidate] = []
    for group in groups:
        chosen += _healthy(group, most, now, sort)
        if len(chosen) >= most:
            return chosen[:most]
    if len(chosen) < sum(map(len, groups)):
        for group in groups:
            chosen += _doubtful(group, most, now)
    return chosen[:most]


def is_well(account: Account, now: float) -> bool:
    """True for an account that neither rests nor failed lately."""
    return account.rest_until <= now


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


def _healthy(
    group: tuple[Candidate, ...], most: int, now: float, sort: SortBy | None
) -> Sequence[Candidate]:
    """Return accounts of a group that neither rest nor failed lately, the best first."""
    if len(group) == 1:
        return group if group[0].account.rest_until <= now else ()
    is_by_speed = sort in (SortBy.THROUGHPUT, SortBy.LATENCY)
    few = max(_SAMPLE * most, _FAST_SAMPLE) if is_by_speed else _SAMPLE * most
    if len(group) <= few:
        fit = _that_are_well(group, now)
    else:
        # The best of a few random ones is nearly as good as the best of all, at a fixed cost.
        fit = _that_are_well(random.sample(group, few), now)
        if len(fit) < most:
            fit = _some(_that_are_well(group, now), few)
    return _fastest_first(fit, sort) if is_by_speed else _least_busy_first(fit)


def _doubtful(group: tuple[Candidate, ...], most: int, now: float) -> list[Candidate]:
    """Return accounts of a group that failed lately, for when there are no better ones."""
    doubtful = [candidate for candidate in group if candidate.account.is_doubtful(now)]
    return _least_busy_first(_some(doubtful, _SAMPLE * most))


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


def _fastest_first(candidates: list[Candidate], sort: SortBy | None) -> list[Candidate]:
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
