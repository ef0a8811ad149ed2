import asyncio
import csv
import io
import re

import pytest

from groxy.core.grants import Caps, KeyGrant, Rates
from groxy.store.codes import create_codes, new_batch_id
from groxy.store.ledger import Entry, enter
from groxy.store.verification import verify
from tests.api.conftest import OTHER_KEY
from tests.api.purses import USD, balance_of, give, person
from tests.inprocess import ADMIN_KEY

CHAT = {"model": "grok-4.3", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
async def ada(asker):
    return await person(asker.app)


async def codes_of(asker, count=1):
    app = asker.app
    made = await create_codes(
        app.database, app.secret, batch=new_batch_id(), count=count, ticks=5 * USD
    )
    return [text for text, _ in made]


def raw(body, name):
    """Return a number of JSON as it was written."""
    found = re.search(rb'"%s":(-?[0-9.eE+-]+)' % name.encode(), body)
    return None if found is None else found[1].decode()


async def test_credits_are_told_exactly(asker, ada):
    await give(asker.app, ada.id, 12_345_678_901_234_567, "grant:1")

    answer = await asker.get("/api/v1/credits", key=ada.key)

    assert answer.status == 200
    assert raw(answer.body, "total_credits") == "1234567.8901234567"
    assert raw(answer.body, "total_usage") == "0"
    assert raw(answer.body, "balance") == "1234567.8901234567"


async def test_what_is_used_is_what_was_charged(asker, ada):
    await give(asker.app, ada.id, 5 * USD, "grant:1")
    reply = await asker.post("/v1/chat/completions", CHAT, key=ada.key)
    assert reply.status == 200

    data = (await asker.get("/v1/credits", key=ada.session)).json["data"]
    charged = 5 * USD - await balance_of(asker.app, ada.id)
    assert charged > 0
    assert data["total_credits"] == 5
    assert round(data["total_usage"] * USD) == charged
    key = (await asker.get("/v1/key", key=ada.key)).json["data"]
    assert round(key["usage"] * USD) == round(key["usage_daily"] * USD) == charged
    query = f"id={reply.headers['x-request-id']}"
    told = await asker.get("/v1/generation", key=ada.key, query=query)
    assert round(told.json["data"]["total_cost"] * USD) == charged
    lines = (await asker.get("/v1/credits/statement", key=ada.key)).json["data"]
    assert {line["kind"] for line in lines} == {"grant", "charge"}
    assert (await verify(asker.app.database)).findings == ()


async def test_a_balance_below_zero_is_told_so(asker, ada):
    await give(asker.app, ada.id, USD // 4, "x", debit=f"user:{ada.id}", credit="stripe")

    answer = await asker.get("/v1/credits", key=ada.key)

    assert raw(answer.body, "balance") == "-0.25"


@pytest.mark.parametrize("path", ["/v1/credits", "/v1/credits/statement"])
async def test_a_key_of_nobody_has_no_credits(asker, path):
    answer = await asker.get(path)
    assert (answer.status, answer.error["code"]) == (404, "no_balance")
    assert (await asker.get(path, key=None)).status == 401
    assert (await asker.get(path, key="ses_" + "x" * 43)).status == 401


# --------------------------------------------------------------------------------------------- key


async def test_a_key_of_nobody_is_told_in_openrouters_shape(asker):
    await asker.post("/v1/chat/completions", CHAT)

    data = (await asker.get("/v1/key")).json["data"]

    assert data.pop("usage") > 0
    assert data == {
        "label": "settings 1",
        "usage_daily": data["usage_daily"],
        "usage_weekly": data["usage_weekly"],
        "usage_monthly": data["usage_monthly"],
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "is_free_tier": False,
        "is_provisioning_key": False,
        "rate_limit": {"requests": -1, "interval": "60s"},
    }
    assert (await asker.get("/v1/key", key=OTHER_KEY)).json["data"]["usage"] == 0


async def test_the_cap_with_the_least_left_is_told(asker):
    grant = KeyGrant(caps=Caps(day=3 * USD, total=7 * USD), rates=Rates(requests=60))
    ada = await person(asker.app, grant=grant)

    data = (await asker.get("/v1/key", key=ada.key)).json["data"]

    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (3, 3, "daily")
    assert data["rate_limit"] == {"requests": 60, "interval": "60s"}


# ------------------------------------------------------------------------------------------ redeem


async def test_a_code_is_redeemed_by_key_and_by_session(asker, ada):
    first, second = await codes_of(asker, 2)

    by_key = await asker.post("/v1/credits/redeem", {"code": first.lower()}, key=ada.key)
    by_session = await asker.post("/v1/credits/redeem", {"code": second}, key=ada.session)

    assert (by_key.status, by_key.json["data"]["balance"]) == (200, 5)
    assert (by_session.status, by_session.json["data"]["balance"]) == (200, 10)
    again = await asker.post("/v1/credits/redeem", {"code": first}, key=ada.key)
    assert (again.status, again.error["code"]) == (409, "code_already_redeemed")


async def test_credits_count_at_once(asker, ada):
    assert (await asker.post("/v1/chat/completions", CHAT, key=ada.key)).status == 402
    (code,) = await codes_of(asker)
    await asker.post("/v1/credits/redeem", {"code": code}, key=ada.key)

    assert (await asker.post("/v1/chat/completions", CHAT, key=ada.key)).status == 200


async def test_what_an_operator_gives_and_takes_counts_at_once(asker, ada):
    async def given(usd):
        body = {"usd": usd, "reason": "r"}
        path = f"/admin/api/users/{ada.id}/credits"
        assert (await asker.post(path, body, key=ADMIN_KEY)).status == 200
        return (await asker.post("/v1/chat/completions", CHAT, key=ada.key)).status

    assert [await given(5), await given("-4.9999"), await given(5)] == [200, 402, 200]


async def test_a_code_that_is_sent_again_with_its_key_is_answered_as_before(asker, ada):
    (code,) = await codes_of(asker)
    headers = {"idempotency-key": "once"}

    def redeem():
        return asker.post("/v1/credits/redeem", {"code": code}, key=ada.key, headers=headers)

    first, second = await redeem(), await redeem()

    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body
    assert await balance_of(asker.app, ada.id) == 5 * USD


async def test_a_cookie_alone_redeems_nothing(asker, ada):
    (code,) = await codes_of(asker)
    cookie = {"cookie": f"groxy_session={ada.session}"}

    def redeem(**headers):
        body = {"code": code}
        return asker.post("/v1/credits/redeem", body, key=None, headers={**cookie, **headers})

    refused = await redeem(origin="https://evil.example")
    assert (refused.status, refused.error["code"]) == (403, "csrf_refused")
    assert (await redeem(**{"x-groxy-csrf": "1"})).status == 200


async def test_guesses_are_limited(asker, ada):
    statuses = [
        (await asker.post("/v1/credits/redeem", {"code": "GROX"}, key=ada.key)).status
        for _ in range(12)
    ]

    assert statuses == [400] * 10 + [429] * 2
    last = await asker.post("/v1/credits/redeem", {"code": "GROX"}, key=ada.session)
    assert (last.status, int(last.headers["retry-after"]) > 0) == (429, True)


async def test_of_many_users_one_gets_the_code(asker):
    people = [await person(asker.app, f"user {number}") for number in range(10)]
    (code,) = await codes_of(asker)

    answers = await asyncio.gather(
        *(asker.post("/v1/credits/redeem", {"code": code}, key=one.key) for one in people * 3)
    )

    assert [answer.status for answer in answers].count(200) == 1
    balances = [await balance_of(asker.app, one.id) for one in people]
    assert sum(balances) == 5 * USD


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "code"),
        ({"code": ""}, "code"),
        ({"code": 5}, "code"),
        ({"code": "x" * 65}, "code"),
        ({"code": "GROX", "user_id": "usr_2"}, None),
        (b"[]", None),
        (b"{", None),
        (b"x" * 20_000, None),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(asker, ada, body, param):
    answer = await asker.post("/v1/credits/redeem", body, key=ada.key)

    assert answer.status in (400, 413)
    assert answer.error["param"] == param


# --------------------------------------------------------------------------------------- statement


async def test_a_statement_has_the_users_own_lines_only(asker, ada):
    bob = await person(asker.app, "bob")
    await give(asker.app, ada.id, 3, "grant:a", note="for ada")
    await give(asker.app, bob.id, 4, "grant:b", note="for bob")

    answer = await asker.get("/v1/credits/statement", key=ada.key)

    (line,) = answer.json["data"]
    assert line == {
        "time": "2026-09-21T14:13:20.000Z",
        "id": "grant:a",
        "kind": "grant",
        "amount_usd": "0.0000000003",
        "request_id": "",
        "key_id": "",
        "note": "for ada",
    }
    assert b"bob" not in answer.body


async def test_a_statement_is_read_page_by_page_and_none_twice(asker, ada):
    for number in range(7):
        at_ms = 1_790_000_000_000 + number // 3
        await give(asker.app, ada.id, 1, f"grant:{number}", at_ms=at_ms)

    seen: list[str] = []
    cursor, has_more = "", True
    while has_more:
        query = f"limit=2&cursor={cursor}"
        page = (await asker.get("/v1/credits/statement", key=ada.key, query=query)).json
        seen += [line["id"] for line in page["data"]]
        cursor, has_more = page["next"], page["has_more"]

    assert sorted(seen) == [f"grant:{number}" for number in range(7)]
    assert seen[0] == "grant:6"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("from=2026-09-21&to=2026-09-21", 1),
        ("from=2026-09-22", 0),
        ("to=2026-09-20", 0),
        ("from=2026-09-21T14:13:20Z", 1),
        ("to=2026-09-21T14:13:20Z", 0),
        ("from=2026-09-21T16:13:20%2B02:00", 1),
        ("from=2026-09-21T16:13:20+02:00", 1),
    ],
)
async def test_a_statement_is_of_the_days_asked_for(asker, ada, query, count):
    await give(asker.app, ada.id, 3, "grant:a")

    answer = await asker.get("/v1/credits/statement", key=ada.key, query=query)

    assert (answer.status, len(answer.json["data"])) == (200, count)


async def test_a_statement_as_csv_is_whole_and_no_formula(asker, ada):
    sides = (f"user:{ada.id}", "adjustments", 5, ada.id, "", "")
    lines = [
        Entry(f"g:{number}", 1_790_000_000_000 + number, "adjust", *sides, "plain")
        for number in range(1_203)
    ]
    lines[0] = lines[0]._replace(note="=HYPERLINK(1)")
    async with asker.app.database.transaction() as connection:
        await enter(connection, lines)

    answer = await asker.get("/v1/credits/statement", key=ada.key, query="format=csv")

    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert len(rows) == 1_203
    assert rows[-1]["note"] == "'=HYPERLINK(1)"
    assert rows[0]["amount_usd"] == "-0.0000000005"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=x", "from"),
        ("to=9999-12-31", "to"),
        ("to=2026-02-30", "to"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=501", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=%D9%A3", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=99999999999999999999.x", "cursor"),
        ("format=pdf", "format"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(asker, ada, query, param):
    answer = await asker.get("/v1/credits/statement", key=ada.key, query=query)

    assert (answer.status, answer.error["param"]) == (400, param)
