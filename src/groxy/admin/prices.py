"""Prices: what is in force and what is coming, new versions, and what they would change.

In: requests of operators. Out: the store and the price book of this process; others follow within
a second. A version is never changed or taken away: a newer one takes its place.
"""

import time
from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from groxy.admin.access import Actor
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.price_preview import Drift, Plans, Preview, drift_of, preview_of
from groxy.admin.price_shapes import (
    RatesGiven,
    RatesTold,
    read_rates,
    told_rates,
)
from groxy.admin.shapes import Given, Told
from groxy.admin.token_shapes import refused
from groxy.core.moments import moment_text, read_moment
from groxy.core.money import MediaPrice, Price
from groxy.ledger.prices import PriceBook
from groxy.store.plans import list_plans
from groxy.store.price_checks import bills, served_models, usage_of
from groxy.store.prices import (
    MAX_VERSIONS,
    PriceVersion,
    check_model,
    check_moment,
    check_rates,
    create_price,
    list_prices,
    load_prices,
)

PREVIEW_DAYS = 30
_DAY_MS = 86_400_000
_State = Literal["in_force", "coming", "past", "withdrawn"]


class PriceGiven(Given):
    """A new price of a model."""

    model: str = Field(min_length=1, max_length=128, examples=["grok-4.7"])
    effective: str | None = Field(
        default=None,
        max_length=40,
        description="From when on, as RFC 3339, not in the past. Left out: from now on.",
        examples=["2026-12-01T00:00:00Z"],
    )
    rates: RatesGiven
    note: str = Field(default="", max_length=500, description="Why; for you.")


class InForce(Told):
    """What a model costs now."""

    model: str
    version: str = Field(description="`catalog`, or the id of a version.")
    since: str | None = Field(description="Null: the catalog's price has no date.")
    rates: RatesTold


class Version(Told):
    """One version of a price."""

    id: str = Field(examples=["price_19a1b2c3d4e0f00d0123456789ab"])
    model: str
    state: _State = Field(
        description="`withdrawn`: a newer version has the same moment, and holds in its place."
    )
    effective: str
    created: str
    note: str
    rates: RatesTold


class Prices(Told):
    """All prices."""

    prices: list[InForce]
    coming: list[Version] = Field(description="The next one first.")


class History(Told):
    """Versions, newest first."""

    versions: list[Version]
    next: str | None = Field(description="Send it as `before` for the page that follows.")


class PriceSet(Told):
    """The version that was made, and what it takes the place of."""

    version: Version
    before: InForce | None = Field(description="What would hold at that moment without it.")


ModelName = Annotated[str, Path(max_length=128, description="Any name of the model.")]
Days = Annotated[int, Query(ge=1, le=366)]


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints below /prices."""
    routes = APIRouter(tags=["prices"])
    _look(routes, desk)
    _change(routes, desk, auditor)
    return routes


def _look(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/prices", summary="What is in force now, and what is coming")
    async def get_prices() -> Prices:
        """Of every model that can be served now, or that a version names."""
        now_ms = _now_ms()
        versions = await _refresh(desk)
        served = (m if isinstance(m, str) else m.id for m in desk.router.models())
        models = sorted({*served, *(one.model for one in versions)})
        coming = [one for one in versions if one.effective_ms > now_ms]
        return Prices(
            prices=_in_force(desk.prices, models, now_ms),
            coming=[
                _version(desk.prices, one, now_ms)
                for one in sorted(coming, key=lambda one: (one.effective_ms, one.id))
                if not desk.prices.is_withdrawn(one)
            ],
        )

    @routes.get("/prices/drift", summary="What upstreams bill, against what the list asks")
    async def get_drift(days: Days = 7) -> Drift:
        """Only attempts that the upstream gave its own bill for. Bills win; the list is what else
        is charged by, and what holds are made by: a large difference says that it needs an update.
        """
        rows = await bills(desk.database, _now_ms() - days * _DAY_MS)
        return drift_of(rows, desk.prices, days)

    @routes.get("/prices/{model:path}/history", summary="All versions of a model's price")
    async def get_history(
        model: ModelName,
        before: Annotated[str, Query(max_length=64, description="An id; older ones follow.")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_VERSIONS - 1)] = 50,
    ) -> History:
        await _refresh(desk)
        now_ms = _now_ms()
        found = await list_prices(
            desk.database, model=_named(desk, model), before=before, limit=limit + 1
        )
        page = found[:limit]
        return History(
            versions=[_version(desk.prices, one, now_ms) for one in page],
            next=page[-1].id if len(found) > limit else None,
        )


def _change(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.post("/prices", summary="Set a price, from now or a later moment on")
    async def set_price(given: PriceGiven, actor: Actor) -> PriceSet:
        """Requests under way keep the price they began with. To withdraw a version that is not in
        force yet, set another one for the same moment.
        """
        model, price, media, effective_ms = await _read(desk, given)
        moment_ms = _now_ms() if effective_ms is None else effective_ms
        before = next(iter(_in_force(desk.prices, [model], moment_ms)), None)
        version = await create_price(
            desk.database,
            model,
            price=price,
            media=media,
            effective_ms=effective_ms,
            note=given.note,
        )
        await _refresh(desk)
        told = _version(desk.prices, version, max(_now_ms(), version.created_ms))
        await auditor.note(
            actor,
            "price.set",
            model,
            before=None if before is None else before.model_dump(mode="json"),
            after=told.model_dump(mode="json"),
        )
        return PriceSet(version=told, before=before)

    @routes.post("/prices/preview", summary="What a price would have changed, had it held before")
    async def preview_price(given: PriceGiven) -> Preview:
        """Of the last 30 days of requests of that model. Calls of tools, pictures and films are not
        counted: the books have no counts of them. Nothing is changed.
        """
        model, price, _, _ = await _read(desk, given)
        since_ms = _now_ms() - PREVIEW_DAYS * _DAY_MS
        served = await served_models(desk.database, since_ms)
        names = [name for name in served if _holds_for(desk.prices, model, name)]
        bound = price.long_from_tokens if price is not None and price.long is not None else 0
        rows = await usage_of(desk.database, names, since_ms, long_from_tokens=bound)
        plans = Plans(await list_plans(desk.database))
        return preview_of(rows, price, plans, model=model, days=PREVIEW_DAYS)


async def _read(
    desk: Desk, given: PriceGiven
) -> tuple[str, Price | None, MediaPrice | None, int | None]:
    """Return what was given, checked: the model's id, its prices, and the moment."""
    check_model(given.model)
    model = _named(desk, given.model)
    price, media = read_rates(given.rates)
    check_rates(price, media)
    effective_ms = None
    if given.effective is not None:
        effective_ms = read_moment(given.effective, "effective", rounds_up=True)
        check_moment(effective_ms, _now_ms())
    await _refresh(desk)
    if price is not None and "long" not in given.rates.model_fields_set:
        _refuse_forgotten(desk.prices, model, effective_ms)
    return model, price, media, effective_ms


def _refuse_forgotten(book: PriceBook, model: str, effective_ms: int | None) -> None:
    """Raise BAD_REQUEST where prices of long prompts would be dropped without a word."""
    held = book.tariff(_now_ms() if effective_ms is None else effective_ms).of(model)
    if held is not None and held.price is not None and held.price.long is not None:
        message = (
            f"`rates.long` is missing: long prompts of {model} have prices of their own, from "
            f"{held.price.long_from_tokens} tokens on. Name them, or send null to have none."
        )
        raise refused(message, param="rates.long")


def _named(desk: Desk, model: str) -> str:
    """Return the id of a model by any of its names; a stranger stands for itself."""
    return desk.prices.names_of(model)[0]


def _holds_for(book: PriceBook, model: str, served: str) -> bool:
    """Return whether a version of `model` would be the price of a model that served."""
    for name in book.names_of(served):
        if name == model:
            return True
        if book.has_versions(name):
            return False
    return False


async def _refresh(desk: Desk) -> list[PriceVersion]:
    """Put in force here what is in the store; return all of it.

    Only the loader puts anything in force, one read after the other: what was read here could be
    older by now than what it has read.
    """
    await desk.reload()
    _, versions = await load_prices(desk.database)
    return versions


def _in_force(book: PriceBook, models: Iterable[str], at_ms: int) -> list[InForce]:
    tariff = book.tariff(at_ms)
    since = {one.id: one.effective_ms for one in book.in_force(at_ms).values()}
    told = []
    for model in models:
        priced = tariff.of(model)
        if priced is not None:
            moment_ms = since.get(priced.version)
            told.append(
                InForce(
                    model=model,
                    version=priced.version,
                    since=None if moment_ms is None else moment_text(moment_ms),
                    rates=told_rates(priced.price, priced.media),
                )
            )
    return told


def _version(book: PriceBook, one: PriceVersion, now_ms: int) -> Version:
    return Version(
        id=one.id,
        model=one.model,
        state=_state(book, one, now_ms),
        effective=moment_text(one.effective_ms),
        created=moment_text(one.created_ms),
        note=one.note,
        rates=told_rates(one.price, one.media),
    )


def _state(book: PriceBook, one: PriceVersion, now_ms: int) -> _State:
    if book.is_withdrawn(one):
        return "withdrawn"
    if one.effective_ms > now_ms:
        return "coming"
    held = book.in_force(now_ms).get(one.model)
    return "in_force" if held is not None and held.id == one.id else "past"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
