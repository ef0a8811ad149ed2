import re
import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import TICKS_PER_USD, MediaPrice, Price, TokenPrice
from groxy.store.database import storable
from groxy.store.prices import (
    MAX_LONG_FROM_TOKENS,
    MAX_RATE_USD,
    PRICES,
    check_model,
    check_rates,
    create_price,
    list_prices,
    load_prices,
)

MOST = MAX_RATE_USD * TICKS_PER_USD
BASE = TokenPrice(input=20, cached_input=5, output=60)
PRICE = Price(
    base=BASE,
    long=TokenPrice(input=40, cached_input=10, output=120, reasoning=130),
    long_from_tokens=200_000,
    per_request=7,
    per_tool_call=MOST,
)
MEDIA = MediaPrice(per_image={"1k/low": 4, "any": 9}, per_second={"720p": 7}, per_input_image=1)
NO_NUMBERS = [-1, MOST + 1, 2**63, True, 1.0, float("nan"), float("inf"), "1", "1e3", None]


def now_ms():
    return time.time_ns() // 1_000_000


async def test_a_version_comes_back_as_it_was_made(database):
    earliest_ms = now_ms()

    made = await create_price(database, "grok-4.7", price=PRICE, media=MEDIA, note="spring")

    assert await list_prices(database) == [made]
    assert re.fullmatch(r"price_[0-9a-f]{28}", made.id)
    assert (made.price, made.media, made.note) == (PRICE, MEDIA, "spring")
    assert earliest_ms <= made.created_ms == made.effective_ms <= now_ms()


async def test_an_id_begins_with_the_milliseconds_in_which_it_was_made(database):
    made = await create_price(database, "grok", price=PRICE)

    assert int(made.id.removeprefix("price_")[:11], 16) == made.created_ms


async def test_each_version_counts_as_a_change_of_the_table(database):
    await create_price(database, "grok", price=PRICE)
    revision, versions = await load_prices(database)

    made = await create_price(database, "grok", media=MEDIA)

    assert (revision, len(versions)) == (1, 1)
    assert await load_prices(database) == (2, [*versions, made])
    assert await database.revision(PRICES) == 2


async def test_ids_rise_even_when_the_clock_falls_back(database, monkeypatch):
    at_ns = time.time_ns()
    made = []
    for back_ns in (0, 0, 10**9, 0):
        monkeypatch.setattr(time, "time_ns", lambda back_ns=back_ns: at_ns - back_ns)
        made.append(await create_price(database, "grok", price=PRICE))

    assert sorted(one.id for one in made) == [one.id for one in made]
    assert len({one.id[:22] for one in made}) == 4
    assert made[-1].effective_ms >= made[0].effective_ms


async def test_versions_are_listed_newest_first_by_model_and_page(database):
    ids = [(await create_price(database, model, price=PRICE)).id for model in "abab"]

    async def listed(**options):
        return [ids.index(one.id) for one in await list_prices(database, **options)]

    assert await listed() == [3, 2, 1, 0]
    assert await listed(model="a") == [2, 0]
    assert await listed(limit=2) == [3, 2]
    assert await listed(limit=2, before=ids[2]) == [1, 0]
    assert await listed(model="nobody") == []
    assert await listed(model="a\0") == []


async def test_a_later_moment_may_be_named(database):
    later_ms = now_ms() + 60_000

    made = await create_price(database, "grok", price=PRICE, effective_ms=later_ms)

    assert made.effective_ms == later_ms > made.created_ms


@pytest.mark.parametrize("effective_ms", [0, -1, 2**63, True, 1.5, "now"])
async def test_a_moment_in_the_past_or_none_at_all_is_refused(database, effective_ms):
    with pytest.raises(GroxyError, match="`effective` must not be in the past") as refused:
        await create_price(database, "grok", price=PRICE, effective_ms=effective_ms)

    assert (refused.value.kind, refused.value.param) == (ErrorKind.BAD_REQUEST, "effective")
    assert await list_prices(database) == []
    assert await database.revision(PRICES) == 0


async def test_the_very_millisecond_is_not_the_past(database, monkeypatch):
    at_ns = 1_790_000_000_123 * 10**6 + 999_999
    monkeypatch.setattr(time, "time_ns", lambda: at_ns)

    made = await create_price(database, "grok", price=PRICE, effective_ms=1_790_000_000_123)

    assert made.effective_ms == 1_790_000_000_123
    with pytest.raises(GroxyError, match="past"):
        await create_price(database, "grok", price=PRICE, effective_ms=1_790_000_000_122)


@pytest.mark.parametrize("model", ["", " grok", "grok\0", "grok\n", "x" * 129])
def test_what_cannot_be_a_models_id_is_refused(model):
    with pytest.raises(GroxyError) as refused:
        check_model(model)

    assert refused.value.param == "model"


def test_a_version_without_any_rate_is_refused():
    with pytest.raises(GroxyError, match="`rates` must have prices"):
        check_rates(None, None)


def priced(**changes):
    return Price(**{"base": BASE, **changes})


def tokens(**changes):
    return TokenPrice(**{"input": 1, "cached_input": 1, "output": 1, **changes})


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("input", lambda value: (priced(base=tokens(input=value)), None)),
        ("cached", lambda value: (priced(base=tokens(cached_input=value)), None)),
        ("output", lambda value: (priced(base=tokens(output=value)), None)),
        (
            "long.input",
            lambda value: (priced(long=tokens(input=value), long_from_tokens=1), None),
        ),
        (
            "long.from_tokens",
            lambda value: (priced(long=BASE, long_from_tokens=value), None),
        ),
        ("per_request", lambda value: (priced(per_request=value), None)),
        ("per_tool_call", lambda value: (priced(per_tool_call=value), None)),
        ("image.any", lambda value: (None, MediaPrice(per_image={"any": value}, per_second={}))),
        ("second.any", lambda value: (None, MediaPrice(per_image={}, per_second={"any": value}))),
        (
            "input_image",
            lambda value: (
                None,
                MediaPrice(per_image={"any": 1}, per_second={}, per_input_image=value),
            ),
        ),
    ],
)
def test_every_rate_is_a_whole_number_of_ticks_within_bounds(name, rates, value):
    with pytest.raises(GroxyError) as refused:
        check_rates(*rates(value))

    assert refused.value.param == f"rates.{name}"
    assert f"`rates.{name}`" in str(refused.value)


@pytest.mark.parametrize("value", [one for one in NO_NUMBERS if one is not None])
def test_a_price_of_reasoning_is_checked_like_the_others(value):
    with pytest.raises(GroxyError) as refused:
        check_rates(priced(base=tokens(reasoning=value)), None)

    assert refused.value.param == "rates.reasoning"


@pytest.mark.parametrize("start", [0, MAX_LONG_FROM_TOKENS + 1])
def test_long_prompts_begin_somewhere(start):
    with pytest.raises(GroxyError, match="from_tokens"):
        check_rates(priced(long=BASE, long_from_tokens=start), None)


@pytest.mark.parametrize(
    "rows", [{"": 1}, {"a\0": 1}, {"x" * 65: 1}, {str(n): 1 for n in range(101)}]
)
def test_tables_have_few_rows_with_plain_names(rows):
    with pytest.raises(GroxyError) as refused:
        check_rates(None, MediaPrice(per_image=rows, per_second={}))

    assert refused.value.param == "rates.image"


async def test_a_note_is_kept_as_both_databases_can_hold_it(database):
    made = await create_price(database, "grok", price=PRICE, note="a\0" + "b" * 999)

    assert made.note == storable("a\0" + "b" * 999, 500)
    assert await list_prices(database) == [made]
