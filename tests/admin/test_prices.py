import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from groxy.admin import errors, prices
from groxy.admin.access import Access
from groxy.admin.audit import Auditor
from groxy.admin.bodies import Bodies
from groxy.api.errors import ErrorBoundary
from groxy.core.grants import PlanGrant
from groxy.core.money import TICKS_PER_USD
from groxy.ledger.prices import CATALOG as FROM_CATALOG, PriceBook
from groxy.store.plans import create_plan
from groxy.store.prices import create_price, list_prices, load_prices
from groxy.store.users import create_user
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.admin.office import ADMIN_KEY, CATALOG
from tests.inprocess import ask
from tests.store.rows import attempt_entry, request_entry

USD = TICKS_PER_USD
GROK = {"input": "2.00", "cached": "0.50", "output": 6, "long": None}
FAR = "2999-12-01T00:00:00Z"


class Counter:
    """The endpoints of prices, at a desk whose book is over the shipped catalog."""

    def __init__(self, office):
        self.book = PriceBook(CATALOG.prices_of, CATALOG.price_names)
        self.database = office.desk.database
        self.office = office
        models = [CATALOG.find("grok-4.7"), "some/stranger"]
        router = SimpleNamespace(models=lambda: models)
        desk: Any = SimpleNamespace(
            prices=self.book, database=self.database, router=router, reload=self.reload
        )
        app = FastAPI(openapi_url=None)
        errors.install(app)
        app.include_router(prices.router(desk, Auditor(self.database)), prefix="/admin/api")
        self.app = ErrorBoundary(Access(office.desk, Bodies(app)))

    async def reload(self):
        _, versions = await load_prices(self.database)
        self.book.replace(versions)

    async def ask(self, method, path, body=b"", query=""):
        path = f"/admin/api{path}"
        return await ask(self.app, method, path, body=body, query=query, key=ADMIN_KEY)

    async def get(self, path, query=""):
        answer = await self.ask("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    async def post(self, path, body):
        answer = await self.ask("POST", path, body)
        assert answer.status == 200, answer.body
        return answer.json

    async def refused(self, body, path="/prices"):
        answer = await self.ask("POST", path, body)
        assert answer.status == 400, answer.body
        assert answer.error["param"] in answer.error["message"]
        return answer.error["param"]

    async def write(self, requests, attempts=()):
        writer = entry_writer(self.database)
        await writer.submit(Group(requests, attempts))
        await writer.close()


@pytest.fixture
def counter(office):
    return Counter(office)


def body(rates=None, **changes):
    return {"model": "grok-4.7", "rates": GROK if rates is None else rates, **changes}


def rates(**changes):
    return {**GROK, **changes}


def now_ms():
    return time.time_ns() // 1_000_000


def request_id(number=1, ago_ms=60_000):
    return f"req_{now_ms() - ago_ms:011x}{number:016x}"


# ----------------------------------------------------------------------------------- setting


async def test_a_price_holds_at_once_in_this_process(counter):
    told = await counter.post("/prices", body(note="spring"))

    priced = counter.book.tariff(now_ms()).of("grok-4.7")
    assert priced.version == told["version"]["id"]
    base = priced.price.base
    assert (base.input, base.cached_input, base.output) == (2 * USD, USD // 2, 6 * USD)
    assert (told["version"]["state"], told["version"]["note"]) == ("in_force", "spring")
    assert told["before"]["version"] == FROM_CATALOG


async def test_every_rate_is_read_and_told_again_exactly(counter):
    given: dict[str, Any] = {
        "input": "0.0000000001",
        "cached": "0.3",
        "output": 6.25,
        "reasoning": "7",
        "long": {
            "from_tokens": 128_000,
            "input": 4,
            "cached": "1",
            "output": "12.5",
            "reasoning": None,
        },
        "per_request": "0.001",
        "per_tool_call": 0.005,
        "image": {"1k/low": "0.02", "any": 0.07},
        "second": {"720p": "0.05"},
        "input_image": "0.002",
    }

    told = (await counter.post("/prices", body(given)))["version"]["rates"]
    again = (await counter.post("/prices", body(told)))["version"]["rates"]

    assert (
        told
        == again
        == {
            **given,
            "output": "6.25",
            "long": {**given["long"], "input": "4"},
            "per_tool_call": "0.005",
            "image": {"1k/low": "0.02", "any": "0.07"},
        }
    )


async def test_what_is_left_out_costs_as_its_whole(counter):
    long = {"from_tokens": 1, "input": "3", "output": "9"}

    told = await counter.post("/prices", body({"input": "2", "output": "6", "long": long}))
    held = counter.book.tariff(now_ms()).of("grok-4.7").price

    assert (held.base.cached_input, held.base.reasoning) == (2 * USD, None)
    assert (held.long.cached_input, held.long_from_tokens) == (3 * USD, 1)
    assert told["version"]["rates"]["per_request"] == "0"


async def test_a_model_is_known_by_any_of_its_names(counter):
    told = await counter.post("/prices", body(model="x-ai/grok-4.7"))

    assert told["version"]["model"] == "grok-4.7"


async def test_a_stranger_can_have_a_price(counter):
    told = await counter.post("/prices", body(model="some/stranger"))

    assert told["before"] is None
    assert (await counter.get("/prices/some/stranger/history"))["versions"] == [told["version"]]


async def test_prices_of_pictures_alone_leave_those_of_tokens_to_the_catalog(counter):
    await counter.post("/prices", body({"image": {"any": "0.01"}}))

    priced = counter.book.tariff(now_ms()).of("grok-4.7")
    assert priced.price == CATALOG.price_of("grok-4.7")
    assert priced.media.for_image() == USD // 100


async def test_a_later_price_waits_for_its_moment(counter):
    told = await counter.post("/prices", body(effective="2999-12-01T01:00:00.5+01:00"))

    assert (told["version"]["state"], told["version"]["effective"]) == (
        "coming",
        "2999-12-01T00:00:00.500Z",
    )
    assert counter.book.tariff(now_ms()).of("grok-4.7").version == FROM_CATALOG
    listed = await counter.get("/prices")
    assert listed["coming"] == [told["version"]]
    assert [(one["model"], one["version"]) for one in listed["prices"]] == [
        ("grok-4.7", FROM_CATALOG)
    ]


async def test_one_that_is_not_in_force_yet_is_withdrawn_by_another_for_the_same_moment(counter):
    first = (await counter.post("/prices", body(effective=FAR)))["version"]
    second = await counter.post("/prices", body(rates(input="3"), effective=FAR))

    assert second["before"]["version"] == first["id"]
    history = (await counter.get("/prices/grok-4.7/history"))["versions"]
    assert [(one["id"], one["state"]) for one in history] == [
        (second["version"]["id"], "coming"),
        (first["id"], "withdrawn"),
    ]
    assert [one["id"] for one in (await counter.get("/prices"))["coming"]] == [
        second["version"]["id"]
    ]


async def test_a_change_is_audited_with_what_was_before(counter):
    told = await counter.post("/prices", body())

    (line,) = await counter.office.audited("price.set")
    assert (line.target, line.before, line.after) == (
        "grok-4.7",
        told["before"],
        told["version"],
    )


# ----------------------------------------------------------------------------------- refusing

TRICKS = [
    "NaN",
    "Infinity",
    "-1",
    "-0",
    "+1",
    "1e3",
    "1e309",
    "0x10",
    " 1",
    "",
    "1,5",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "1" * 400,
    "0.00000000001",
    "100000.1",
    str(2**63),
    2**63,
    -1,
    -0.5,
    1e-7,
    True,
    False,
    [],
    {},
]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("input", lambda value: rates(input=value)),
        ("cached", lambda value: rates(cached=value)),
        ("output", lambda value: rates(output=value)),
        ("reasoning", lambda value: rates(reasoning=value)),
        ("per_request", lambda value: rates(per_request=value)),
        ("per_tool_call", lambda value: rates(per_tool_call=value)),
        ("image.any", lambda value: {"image": {"any": value}}),
        ("second.720p", lambda value: {"second": {"720p": value}}),
        ("input_image", lambda value: {"image": {"any": 1}, "input_image": value}),
        (
            "long.output",
            lambda value: rates(long={"from_tokens": 1, "input": 1, "output": value}),
        ),
    ],
)
async def test_what_is_no_amount_is_refused_in_every_rate(counter, name, given):
    for value in TRICKS:
        assert await counter.refused(body(given(value))) == f"rates.{name}", value
    assert await list_prices(counter.database) == []


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e309", b"01", b"1e12"])
async def test_numbers_that_json_has_not_or_nobody_can_count_are_refused(counter, number):
    raw = json.dumps(body(rates(input="@"))).encode().replace(b'"@"', number)

    answer = await counter.ask("POST", "/prices", raw)

    assert answer.status == 400
    assert await list_prices(counter.database) == []


@pytest.mark.parametrize("value", [0, -1, 1.0, 1e309, True, "200000", 2**63, None])
async def test_long_prompts_begin_at_a_plain_number(counter, value):
    raw = json.dumps(body(rates(long={"from_tokens": value, "input": 1, "output": 1})))

    answer = await counter.ask("POST", "/prices", raw.encode())

    assert answer.status == 400
    assert await list_prices(counter.database) == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (body({}), "rates"),
        (body({"output": 1}), "rates.input"),
        (body({"input": 1}), "rates.output"),
        (body({"per_request": 1}), "rates.input"),
        (body({"long": {"from_tokens": 1, "input": 1, "output": 1}}), "rates.input"),
        (body({"input_image": 1}), "rates.input_image"),
        (body({"inptu": 1}), "rates.inptu"),
        (body({"image": {str(n): 1 for n in range(101)}}), "rates.image"),
        (body({"image": {"": 1}}), "rates.image"),
        (body(model=" grok"), "model"),
        (body(model="a\0b"), "model"),
        (body(model=""), "model"),
        (body({"input": 1, "output": 1}), "rates.long"),
        *(
            (body(effective=text), "effective")
            for text in (
                "2020-01-01T00:00:00Z",
                "2999-12-01",
                "2999-12-01T00:00:00",
                "2999-13-01T00:00:00Z",
                "0000-01-01T00:00:00Z",
                "9999-12-31T23:59:59-23:59",
                "2999-12-01T00:00:00+99:99",
                "tomorrow",
                "32503680000",
                "",
            )
        ),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_the_name_of_its_field(counter, given, param):
    assert await counter.refused(given) == param
    assert await counter.refused(given, "/prices/preview") == param
    assert await list_prices(counter.database) == []


async def test_prices_of_long_prompts_are_not_dropped_without_a_word(counter):
    shipped = CATALOG.price_of("grok-4.7")
    assert shipped is not None
    assert shipped.long is not None
    short = {"input": 1, "output": 1}
    assert await counter.refused(body(short)) == "rates.long"

    await counter.post("/prices", body({**short, "long": None}))

    assert counter.book.tariff(now_ms()).of("grok-4.7").price.long is None
    await counter.post("/prices", body(short))  # there is nothing to drop any more


# ------------------------------------------------------------------------------------ looking


async def test_what_is_in_force_is_told_with_since_when(counter):
    told = await counter.post("/prices", body())

    (grok,) = (await counter.get("/prices"))["prices"]

    assert grok == {
        "model": "grok-4.7",
        "version": told["version"]["id"],
        "since": told["version"]["effective"],
        "rates": told["version"]["rates"],
    }


async def test_another_process_version_is_seen_when_somebody_looks(counter):
    made = await create_price(
        counter.database, "grok-4.7", price=CATALOG.price_of("grok-4.3"), note="elsewhere"
    )

    (grok,) = (await counter.get("/prices"))["prices"]

    assert grok["version"] == made.id


async def test_a_history_comes_in_pages(counter):
    ids = [(await counter.post("/prices", body()))["version"]["id"] for _ in range(3)]

    first = await counter.get("/prices/grok-4.7/history", "limit=2")
    rest = await counter.get("/prices/grok-4.7/history", f"limit=2&before={first['next']}")

    states = [(one["id"], one["state"]) for one in (*first["versions"], *rest["versions"])]
    assert [one for one, _ in states] == ids[::-1]
    assert states[0][1] == "in_force"
    assert {state for _, state in states[1:]} <= {"past", "withdrawn"}
    assert rest["next"] is None


# ---------------------------------------------------------------------------- preview and drift


def use(number, **changes):
    given = {
        "model_served": "grok-4.7",
        "input_tokens": 1_000_000,
        "cached_tokens": 0,
        "output_tokens": 0,
        "reasoning_tokens": 0,
        "cost_ticks": USD,
        "charge_ticks": USD,
    }
    return request_entry(request_id(number), **{**given, **changes})


async def test_a_preview_tells_each_plan_and_user_what_it_would_have_paid(counter):
    plan = await create_plan(counter.database, name="resale", grant=PlanGrant(markup_bp=5_000))
    ann = await create_user(counter.database, name="Ann", plan_id=plan.id)
    bob = await create_user(counter.database, name="Bob")
    await counter.write(
        [
            use(1, user_id=ann.id, key_id="key_a"),
            use(2, user_id=ann.id, key_id="key_b"),
            use(3, user_id=bob.id, key_id="key_c"),
            use(4, user_id="", key_id="key_d", charge_ticks=0),
            use(5, user_id=bob.id, key_id="key_c", model_served="grok-4.3"),
        ]
    )

    told = await counter.post("/prices/preview", body({"input": 2, "output": 0, "long": None}))

    assert (told["model"], told["requests"], told["keys"], told["days"]) == ("grok-4.7", 4, 4, 30)
    assert (told["charged_usd"], told["would_charge_usd"]) == ("3", "8")
    assert (told["difference_usd"], told["list_usd"], told["cost_usd"]) == ("5", "8", "4")
    assert [(one["plan"], one["users"], one["difference_usd"]) for one in told["plans"]] == [
        ("resale", 1, "4"),
        ("", 1, "1"),
    ]
    assert [(one["user_id"], one["keys"], one["would_charge_usd"]) for one in told["users"]] == [
        (ann.id, 2, "6"),
        (bob.id, 1, "2"),
        ("", 1, "0"),
    ]
    assert await list_prices(counter.database) == []
    assert await counter.office.audited() == []


async def test_where_bills_decide_a_new_list_changes_nothing_but_for_plans_by_list(counter):
    by_list = await create_plan(counter.database, name="list", grant=PlanGrant(basis="list"))
    ann = await create_user(counter.database, name="Ann", plan_id=by_list.id)
    bob = await create_user(counter.database, name="Bob")
    uses = [use(1, user_id=ann.id), use(2, user_id=bob.id)]
    bills = [attempt_entry(one.id, cost_ticks=USD, cost_source="upstream") for one in uses]
    await counter.write(uses, bills)

    told = await counter.post("/prices/preview", body({"input": 2, "output": 0, "long": None}))

    assert {one["user_id"]: one["difference_usd"] for one in told["users"]} == {
        ann.id: "1",
        bob.id: "0",
    }


async def test_long_prompts_are_previewed_at_their_price(counter):
    await counter.write([use(1, input_tokens=100_000), use(2, input_tokens=99_999)])
    long = {"from_tokens": 100_000, "input": 20, "output": 0}

    told = await counter.post("/prices/preview", body({"input": 10, "output": 0, "long": long}))

    assert told["list_usd"] == "2.99999"


async def test_a_price_for_each_request_is_previewed_for_each(counter):
    await counter.write([use(1), use(2)])
    free = {"input": 0, "output": 0, "long": None, "per_request": "0.25"}

    assert (await counter.post("/prices/preview", body(free)))["list_usd"] == "0.5"


async def test_names_that_send_the_model_are_previewed_unless_they_have_versions(counter):
    names = ("grok-4.3", "grok-4.3-high", "grok-4.3-low", "x-ai/grok-4.3")
    await counter.write([use(n, model_served=name) for n, name in enumerate(names)])
    await counter.post("/prices", body(model="grok-4.3-low"))

    told = await counter.post("/prices/preview", body(model="grok-4.3"))

    assert told["requests"] == 3


async def test_pictures_are_not_previewed(counter):
    await counter.write([use(1)])

    told = await counter.post("/prices/preview", body({"image": {"any": 1}}))

    assert (told["list_usd"], told["difference_usd"]) == (None, "0")


async def test_drift_is_told_by_model_largest_first(counter):
    def billed(number, model, cost, listed):
        return attempt_entry(
            request_id(number), model_served=model, cost_ticks=cost, list_ticks=listed
        )

    attempts = [
        billed(1, "grok-4.7", 90, 100),
        billed(2, "x-ai/grok-4.7", 0, 100),
        billed(3, "grok-4.3", 3 * USD, USD),
        billed(4, "some/stranger", 5, 0),
    ]
    await counter.write([], attempts)

    told = await counter.get("/prices/drift", "days=1")

    assert [(one["model"], one["difference_usd"], one["percent"]) for one in told["models"]] == [
        ("grok-4.3", "2", "200.00"),
        ("grok-4.7", "-0.000000011", "-55.00"),
        ("some/stranger", "0", None),
    ]
    assert [(one["attempts"], one["unlisted"]) for one in told["models"]] == [
        (1, 0),
        (2, 0),
        (0, 1),
    ]


@pytest.mark.parametrize("days", ["0", "367", "-1", "1.5", "NaN", "1e1", "true"])
async def test_days_are_a_plain_number(counter, days):
    answer = await counter.ask("GET", "/prices/drift", query=f"days={days}")

    assert (answer.status, answer.error["param"]) == (400, "days")
