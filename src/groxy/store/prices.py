"""Versions of prices: what a model costs from a moment on. None is ever changed or taken away.

In: rates that are integer ticks already. Out: the same with an id that sorts by time. Of two
versions for the same moment the newer one holds: so one that is not in force yet can be withdrawn.
"""

import secrets
import time
from collections.abc import Iterator

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import TICKS_PER_USD, MediaPrice, Price, TokenPrice
from groxy.store import tables
from groxy.store.database import Database, bump, revision_of, storable

PRICES = "prices"
"""The revision name of this table."""
MAX_RATE_USD = 100_000
"""No rate is higher, in US dollars: of a million tokens, a picture, a request …"""
MAX_LONG_FROM_TOKENS = 1_000_000_000
MAX_VERSIONS = 500
"""How many can be had at once."""
MAX_ROWS = 100
"""How many rows a table of pictures or film can have."""
_PREFIX = "price_"
_NS_PER_MS = 1_000_000
_MAX_MODEL = 128
_MAX_KEY = 64
_MAX_NOTE = 500
_MAX_MS = 253_402_300_799_999
"""The end of the year 9999."""

_prices = tables.prices.c


class PriceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs from a moment on."""

    id: str
    """In the order of time."""
    model: str
    effective_ms: int
    price: Price | None
    """Of tokens, requests and calls of tools; None: as before, by the catalog."""
    media: MediaPrice | None
    """Of pictures and film; None likewise."""
    note: str
    created_ms: int


class _Rates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The column `rates`."""

    price: Price | None = None
    media: MediaPrice | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Rates)


async def create_price(
    database: Database,
    model: str,
    *,
    price: Price | None = None,
    media: MediaPrice | None = None,
    effective_ms: int | None = None,
    note: str = "",
) -> PriceVersion:
    """Store a version; without `effective_ms` (unix milliseconds) it holds from now on.

    Raises BAD_REQUEST that names the field: a rate that is no whole number of ticks from 0 to
    `MAX_RATE_USD`, a moment in the past, no rate at all.
    """
    check_model(model)
    check_rates(price, media)
    async with database.transaction() as connection:
        await bump(connection, PRICES)  # first, so that versions come one after the other
        made_ns = await _next_ns(connection)
        now_ms = made_ns // _NS_PER_MS
        version = PriceVersion(
            id=_id_of(made_ns),
            model=model,
            effective_ms=now_ms if effective_ms is None else effective_ms,
            price=price,
            media=media,
            note=storable(note, _MAX_NOTE),
            created_ms=now_ms,
        )
        check_moment(version.effective_ms, now_ms)
        await connection.execute(sa.insert(tables.prices).values(_row(version)))
    return version


async def list_prices(
    database: Database, *, model: str = "", before: str = "", limit: int = 50
) -> list[PriceVersion]:
    """Return versions, of one model or of all, newest first: those older than the id `before`."""
    if not (model + before).isprintable():  # PostgreSQL takes no NUL
        return []
    query = sa.select(tables.prices).order_by(_prices.id.desc())
    if model:
        query = query.where(_prices.model == model)
    if before:
        query = query.where(_prices.id < before)
    async with database.transaction() as connection:
        rows = await connection.execute(query.limit(min(max(limit, 1), MAX_VERSIONS)))
        return [_version(row) for row in rows.mappings()]


async def load_prices(database: Database) -> tuple[int, list[PriceVersion]]:
    """Return the revision and all versions of it, for the price book."""
    async with database.transaction() as connection:
        # The revision first: what is written in between is loaded again, and not missed.
        revision = await revision_of(connection, PRICES)
        rows = await connection.execute(sa.select(tables.prices).order_by(_prices.id))
        return revision, [_version(row) for row in rows.mappings()]


def check_model(model: str) -> None:
    """Raise BAD_REQUEST for what cannot be the id of a model."""
    if not model or len(model) > _MAX_MODEL or not model.isprintable() or model != model.strip():
        message = f"`model` must be a model's id, at most {_MAX_MODEL} characters long."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="model")


def check_moment(effective_ms: int, now_ms: int) -> None:
    """Raise BAD_REQUEST for a moment from which no price can hold any more."""
    if not _is_whole(effective_ms, _MAX_MS) or effective_ms < now_ms:
        message = (
            "`effective` must not be in the past: what was billed stays as it is. "
            "Leave it out for a price that holds from now on."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="effective")


def check_rates(price: Price | None, media: MediaPrice | None) -> None:
    """Raise BAD_REQUEST that names the rate that cannot be one, or when there is none."""
    if price is None and media is None:
        message = "`rates` must have prices, such as `input` and `output`, or `image`."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="rates")
    most = MAX_RATE_USD * TICKS_PER_USD
    for name, ticks in _named_rates(price, media):
        if not _is_whole(ticks, most):
            message = f"`rates.{name}` must be from 0 to {MAX_RATE_USD} US dollars."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param=f"rates.{name}")
    if price is not None and price.long is not None:
        start = price.long_from_tokens
        if not _is_whole(start, MAX_LONG_FROM_TOKENS) or start < 1:
            name = "rates.long.from_tokens"
            message = f"`{name}` must be a whole number from 1 to {MAX_LONG_FROM_TOKENS}."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param=name)
    if media is not None:
        _check_table("image", media.per_image)
        _check_table("second", media.per_second)


def _check_table(name: str, rows: object) -> None:
    keys = list(rows) if isinstance(rows, dict) else [""]
    if len(keys) > MAX_ROWS or not all(
        0 < len(key) <= _MAX_KEY and key.isprintable() for key in keys
    ):
        message = (
            f"`rates.{name}` must name at most {MAX_ROWS} sizes, such as `1k/low`, `720p` or `any`."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=f"rates.{name}")


def _is_whole(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most  # bool is an int too


def _named_rates(price: Price | None, media: MediaPrice | None) -> Iterator[tuple[str, object]]:
    """Yield every rate under the name that people know it by."""
    if price is not None:
        yield from _token_rates("", price.base)
        if price.long is not None:
            yield from _token_rates("long.", price.long)
        yield "per_request", price.per_request
        yield "per_tool_call", price.per_tool_call
    if media is not None:
        yield from ((f"image.{key[:_MAX_KEY]}", rate) for key, rate in media.per_image.items())
        yield from ((f"second.{key[:_MAX_KEY]}", rate) for key, rate in media.per_second.items())
        yield "input_image", media.per_input_image


def _token_rates(place: str, rates: TokenPrice) -> Iterator[tuple[str, object]]:
    yield f"{place}input", rates.input
    yield f"{place}cached", rates.cached_input
    yield f"{place}output", rates.output
    if rates.reasoning is not None:
        yield f"{place}reasoning", rates.reasoning


async def _next_ns(connection: AsyncConnection) -> int:
    """Return the time in nanoseconds; later than the newest version, also when clocks disagree."""
    newest = await connection.scalar(sa.select(sa.func.max(_prices.id)))
    now_ns = time.time_ns()
    return now_ns if newest is None else max(now_ns, _ns_of(newest) + 1)


def _id_of(made_ns: int) -> str:
    made_ms, rest_ns = divmod(made_ns, _NS_PER_MS)
    return f"{_PREFIX}{made_ms:011x}{rest_ns:05x}{secrets.token_hex(6)}"


def _ns_of(version_id: str) -> int:
    digits = version_id.removeprefix(_PREFIX)
    return int(digits[:11], 16) * _NS_PER_MS + int(digits[11:16], 16)


def _row(version: PriceVersion) -> dict[str, object]:
    rates = _Rates(price=version.price, media=version.media)
    return {
        "id": version.id,
        "model": version.model,
        "effective_ms": version.effective_ms,
        "rates": _encoder.encode(rates).decode(),
        "note": version.note,
        "created_ms": version.created_ms,
    }


def _version(row: sa.RowMapping) -> PriceVersion:
    rates = _decoder.decode(row["rates"])
    columns = {name: row[name] for name in ("id", "model", "effective_ms", "note", "created_ms")}
    return PriceVersion(**columns, price=rates.price, media=rates.media)
