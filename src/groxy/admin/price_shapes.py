"""Rates as operators write and read them: US dollars as text or plain numbers, ticks inside.

In: `RatesGiven`. Out: prices of `core/money.py`, and the way back. Every number that is none, or
that no price can be, is refused with the name of its field.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from groxy.admin.shapes import Given, Told
from groxy.admin.token_shapes import refused
from groxy.core.amounts import read_usd, usd_text
from groxy.core.money import MediaPrice, Price, TokenPrice
from groxy.store.prices import MAX_LONG_FROM_TOKENS, MAX_RATE_USD, MAX_ROWS

_MILLION = "US dollars per million tokens."

Usd = Annotated[Any, Field(examples=["2.00"], description=_MILLION)]
"""Text or a number; `read_usd` refuses everything else."""


class LongGiven(Given):
    """Prices of long prompts: they apply to all tokens of a request whose input is so long."""

    from_tokens: int = Field(strict=True, ge=1, le=MAX_LONG_FROM_TOKENS, examples=[200_000])
    input: Usd
    cached: Usd = Field(default=None, description="Left out: as `input`.")
    output: Usd
    reasoning: Usd = Field(default=None, description="Left out: as `output`.")


class RatesGiven(Given):
    """What a model costs. A version is whole: what is left out is not taken from the one before."""

    input: Usd = None
    cached: Usd = Field(default=None, description="Input from a cache. Left out: as `input`.")
    output: Usd = None
    reasoning: Usd = Field(default=None, description="Left out: as `output`.")
    long: LongGiven | None = Field(default=None, description="Null: none.")
    per_request: Usd = Field(default=None, description="US dollars for each request.")
    per_tool_call: Usd = Field(
        default=None, description="US dollars for each call of a tool that the upstream runs."
    )
    image: dict[str, Usd] = Field(
        default={}, description="US dollars by `resolution/quality`, or under `any`."
    )
    second: dict[str, Usd] = Field(
        default={}, description="US dollars for a second of film, by resolution, or under `any`."
    )
    input_image: Usd = Field(default=None, description="US dollars for a picture handed in.")


class LongTold(Told):
    """Prices of long prompts."""

    from_tokens: int
    input: str
    cached: str
    output: str
    reasoning: str | None


class RatesTold(Told):
    """What a model costs, in US dollars, exactly. Null: it has no such price."""

    input: str | None = Field(default=None, description=_MILLION, examples=["2"])
    cached: str | None = None
    output: str | None = None
    reasoning: str | None = Field(default=None, description="Null: as `output`.")
    long: LongTold | None = None
    per_request: str | None = None
    per_tool_call: str | None = None
    image: dict[str, str] = Field(default={})
    second: dict[str, str] = Field(default={})
    input_image: str | None = None


def read_rates(given: RatesGiven) -> tuple[Price | None, MediaPrice | None]:
    """Return the prices that somebody wrote; raise BAD_REQUEST that names the field."""
    price, media = _price(given), _media(given)
    if price is None and media is None:
        message = "`rates` must have prices, such as `input` and `output`, or `image`."
        raise refused(message, param="rates")
    return price, media


def _price(given: RatesGiven) -> Price | None:
    beside = (given.cached, given.reasoning, given.long, given.per_request, given.per_tool_call)
    if given.input is None and given.output is None and all(one is None for one in beside):
        return None
    long = given.long
    return Price(
        base=_token_price(given, "rates."),
        long=None if long is None else _token_price(long, "rates.long."),
        long_from_tokens=0 if long is None else long.from_tokens,
        per_request=_ticks_or(given.per_request, "rates.per_request", 0),
        per_tool_call=_ticks_or(given.per_tool_call, "rates.per_tool_call", 0),
    )


def _token_price(given: RatesGiven | LongGiven, place: str) -> TokenPrice:
    for name, value in (("input", given.input), ("output", given.output)):
        if value is None:
            raise refused(
                f"`{place}{name}` is required, with a price of tokens. 0 is free.",
                param=place + name,
            )
    taken, made = _ticks(given.input, f"{place}input"), _ticks(given.output, f"{place}output")
    return TokenPrice(
        input=taken,
        cached_input=_ticks_or(given.cached, f"{place}cached", taken),
        output=made,
        reasoning=None if given.reasoning is None else _ticks(given.reasoning, f"{place}reasoning"),
    )


def _media(given: RatesGiven) -> MediaPrice | None:
    images, seconds = _table(given.image, "image"), _table(given.second, "second")
    if not images and not seconds:
        if given.input_image is not None:
            message = "`rates.input_image` needs `image` or `second` beside it."
            raise refused(message, param="rates.input_image")
        return None
    handed_in = _ticks_or(given.input_image, "rates.input_image", 0)
    return MediaPrice(per_image=images, per_second=seconds, per_input_image=handed_in)


def _table(rows: Mapping[str, object], name: str) -> dict[str, int]:
    if len(rows) > MAX_ROWS:
        raise refused(f"`rates.{name}` has more than {MAX_ROWS} rows.", param=f"rates.{name}")
    return {key: _ticks(usd, f"rates.{name}.{key[:64]}") for key, usd in rows.items()}


def _ticks(value: object, param: str) -> int:
    return read_usd(value, param, most_usd=MAX_RATE_USD)


def _ticks_or(value: object, param: str, other: int) -> int:
    return other if value is None else _ticks(value, param)


def told_rates(price: Price | None, media: MediaPrice | None) -> RatesTold:
    """Return prices as operators read them, and can send them again."""
    told: dict[str, Any] = {}
    if price is not None:
        told |= _told_tokens(price.base)
        told["per_request"] = usd_text(price.per_request)
        told["per_tool_call"] = usd_text(price.per_tool_call)
        if price.long is not None:
            told["long"] = LongTold(from_tokens=price.long_from_tokens, **_told_tokens(price.long))
    if media is not None:
        told["image"] = {key: usd_text(ticks) for key, ticks in media.per_image.items()}
        told["second"] = {key: usd_text(ticks) for key, ticks in media.per_second.items()}
        told["input_image"] = usd_text(media.per_input_image)
    return RatesTold(**told)


def _told_tokens(rates: TokenPrice) -> dict[str, Any]:
    return {
        "input": usd_text(rates.input),
        "cached": usd_text(rates.cached_input),
        "output": usd_text(rates.output),
        "reasoning": None if rates.reasoning is None else usd_text(rates.reasoning),
    }
