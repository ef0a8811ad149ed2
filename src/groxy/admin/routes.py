"""Where would a request go: GET /route is a dry run that sends and changes nothing.

In: a model, a key, and what else routing looks at. Out: the accounts that would be asked now, and
for each other one what stands against it, in words.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from groxy.admin.callers import find_caller
from groxy.admin.desk import Desk
from groxy.admin.shapes import ErrorAnswer, Told
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.preferences import NONE, Preferences, SortBy
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT as COMPLETIONS
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.routing.explain import Explanation, Verdict
from groxy.routing.wanted import Wanted

WORDS = {
    "wrong_capability": "the model does not make what this dialect asks for",
    "wrong_pool": "the model is not for accounts of this pool",
    "not_listed": "the upstream does not have the model, or not for this account",
    "not_allowed": "the operator's terms do not allow this account the model",
    "no_dialect": "neither the upstream nor the model takes requests of this dialect",
    "excluded_by_caller": "the caller's wishes leave it out",
    "disabled": "the operator took it out of service",
    "expired": "its credential was rejected, and a check confirmed it",
    "cooling": "it rests after a failure",
    "model_cooling": "this model of it rests after a rate limit",
    "in_flight": "it has as many requests open as it may",
    "rpm": "its requests of this minute are used up",
    "tpm": "its tokens of this minute are used up",
    "quota": "its quota for models of this mode is used up",
    "doubtful": "it failed lately and is asked after the others",
}
"""What each word of a verdict means."""
_CARRIERS = {
    one.name: tuple(one.carriers) for one in (CHAT, RESPONSES, MESSAGES, COMPLETIONS, EMBEDDINGS)
}
_SLICE = 500
_Names = Annotated[str, Query(max_length=1024, description="Upstreams or accounts, with commas.")]


class Reason(Told):
    """What stands against an account."""

    code: str = Field(examples=["cooling"])
    words: str = Field(examples=[WORDS["cooling"]])


class Judged(Told):
    """One account, and whether it could serve now."""

    id: str
    name: str
    upstream: str
    pool: str
    can: bool = Field(description="It could serve now.")
    place: int | None = Field(description="1 is asked first; null is not asked now.")
    why_not: list[Reason]
    dialect: str = Field(description="In which it would be asked.")
    model_sent: str
    score: float = Field(description="Among others that can: the less the better.")
    until: int | None = Field(description="When that is over, in unix milliseconds, if known.")


class Key(Told):
    """Whose request it would be."""

    id: str
    name: str


class DryRun(Told):
    """What would become of a request."""

    model: str
    served: bool
    refusal: str = Field(description="What the caller would be told; empty when it is served.")
    key: Key | None
    order: list[str] = Field(description="Ids of the accounts that would be asked, best first.")
    accounts: list[Judged] = Field(
        description="Those that would be asked, then others that could serve, then the rest."
    )
    total: int = Field(description="Accounts that were looked at.")
    able: int = Field(description="Of these, accounts that could serve now.")
    against: dict[str, int] = Field(
        description="How many accounts each reason stands against.", examples=[{"cooling": 3}]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The parameters of a dry run."""

    model: Annotated[str, Query(min_length=1, max_length=256, examples=["grok-4.3"])]
    key: Annotated[str, Query(max_length=512, description="A caller key's id, or the key.")] = ""
    dialect: Annotated[
        Literal["chat", "responses", "messages", "completions", "embeddings", "images", "videos"],
        Query(),
    ] = "chat"
    stream: Annotated[bool, Query(description="Makes no difference to the route.")] = False
    tools: Annotated[bool, Query(description="The request has tools.")] = False
    fallbacks: Annotated[str, Query(max_length=4096, description="Models, with commas.")] = ""
    order: _Names = ""
    only: _Names = ""
    ignore: _Names = ""
    sort: Annotated[Literal["price", "throughput", "latency"] | None, Query()] = None
    allow_fallbacks: Annotated[bool, Query()] = True
    require_parameters: Annotated[bool, Query()] = False
    max_prompt_usd: Annotated[Decimal | None, Query(ge=0, le=1_000_000)] = None
    max_completion_usd: Annotated[Decimal | None, Query(ge=0, le=1_000_000)] = None

    def wanted(self) -> Wanted:
        """Return the request as routing sees it."""
        wishes = Preferences(
            order=_parts(self.order),
            only=_parts(self.only),
            ignore=_parts(self.ignore),
            allow_fallbacks=self.allow_fallbacks,
            require_parameters=self.require_parameters,
            sort=None if self.sort is None else SortBy(self.sort),
            max_prompt_usd=self.max_prompt_usd,
            max_completion_usd=self.max_completion_usd,
        )
        return Wanted(
            model=self.model,
            carriers=_CARRIERS[self.dialect],
            has_tools=self.tools,
            # Routing knows a request without wishes by its identity.
            preferences=NONE if wishes == NONE else wishes,
            fallbacks=_parts(self.fallbacks),
        )


def router(desk: Desk) -> APIRouter:
    """Return the endpoint."""
    routes = APIRouter(tags=["requests"])

    @routes.get(
        "/route",
        summary="Where a request would go now, and why not elsewhere",
        responses={400: {"model": ErrorAnswer}},
    )
    async def get_route(
        asked: Annotated[_Asked, Depends()],
        limit: Annotated[int, Query(ge=1, le=1000, description="Accounts to show.")] = 50,
        account: Annotated[
            str, Query(max_length=256, description="Show this one alone: its id or name.")
        ] = "",
    ) -> DryRun:
        key = await _key(desk, asked.key) if asked.key else None
        explanation = desk.router.explain(asked.wanted())
        return await _told(explanation, key, limit, desk.account(account).id if account else "")

    return routes


async def _key(desk: Desk, named: str) -> Key:
    caller = await find_caller(desk, named)
    if caller is None:
        raise GroxyError(
            ErrorKind.BAD_REQUEST,
            "`key` is neither the id of a caller's key nor such a key itself.",
            param="key",
            code="key_not_found",
        )
    return Key(id=caller.key_id, name=caller.name)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


async def _told(explanation: Explanation, key: Key | None, limit: int, only: str = "") -> DryRun:
    """Return an explanation as it is told, the first `limit` accounts of it, or `only` one."""
    places = {account_id: place for place, account_id in enumerate(explanation.order, 1)}
    against: Counter[str] = Counter()
    total = able = 0
    first: list[Verdict] = []
    # Verdicts may be made only now, one by one: in slices, so that requests go on meanwhile.
    verdicts = iter(explanation.verdicts)
    while part := list(islice(verdicts, _SLICE)):
        total += len(part)
        able += sum(one.can for one in part)
        against.update(word for one in part for word in one.why_not)
        shown = [one for one in part if not only or one.account_id == only]
        first = heapq.nsmallest(limit, [*first, *shown], key=lambda one: _rank(one, places))
        await asyncio.sleep(0)
    return DryRun(
        model=explanation.model,
        served=explanation.served,
        refusal=explanation.refusal,
        key=key,
        order=list(explanation.order),
        accounts=[_judged(one, places) for one in first],
        total=total,
        able=able,
        against=dict(against),
    )


def _rank(verdict: Verdict, places: dict[str, int]) -> tuple[int, bool, bool, int, float, str]:
    """Return where a verdict is told: who is asked, who could serve, who only rests, the others."""
    place = places.get(verdict.account_id, len(places) + 1)
    has_model = bool(verdict.dialect) and verdict.until is not None
    against = len(verdict.why_not)
    return place, not verdict.can, not has_model, against, verdict.score, verdict.account_id


def _judged(verdict: Verdict, places: dict[str, int]) -> Judged:
    return Judged(
        id=verdict.account_id,
        name=verdict.name,
        upstream=verdict.upstream,
        pool=verdict.pool,
        can=verdict.can,
        place=places.get(verdict.account_id),
        why_not=_reasons(verdict.why_not),
        dialect=verdict.dialect,
        model_sent=verdict.model_sent,
        score=verdict.score,
        until=None if verdict.until is None else int(verdict.until * 1000),
    )


def _reasons(codes: Sequence[str]) -> list[Reason]:
    return [Reason(code=code, words=WORDS.get(code, code)) for code in codes]
