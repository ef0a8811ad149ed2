import csv
import io

import pytest
import sqlalchemy as sa

from groxy.store import tables
from groxy.store.codes import redeem_code
from groxy.store.ledger import balances_of
from groxy.store.topups import open_topup
from groxy.store.users import create_user
from groxy.store.verification import verify

TRICKS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e3",
    "--5",
    "+5",
    " 5",
    "",
    "0x10",
    "5,00",
    True,
    None,
    [],
    {},
    0,
    "0",
    "-0",
    -0.0,
    2**63,
    -(2**63),
    1e22,
    "0.00000000001",
    0.12345678901234567,
    "٣",
]


@pytest.fixture
async def user(office):
    made = await create_user(office.desk.database, name="Ada", email="ada@example.com")
    return made.id


async def entries_of(office):
    async with office.desk.database.transaction() as connection:
        rows = await connection.execute(sa.select(tables.entries).order_by(tables.entries.c.at_ms))
        return rows.all()


async def test_credits_are_given_and_taken_with_a_reason(office, user):
    given = await office.post(f"/users/{user}/credits", {"usd": 25, "reason": " invoice 17 "})
    taken = await office.post(f"/users/{user}/credits", {"usd": "-30.5", "reason": "mistake"})

    assert (given.status, given.json["balance"], given.json["usd"]) == (200, "25", "25")
    assert (taken.status, taken.json["balance"], taken.json["usd"]) == (200, "-5.5", "-30.5")
    first, second = await entries_of(office)
    assert (first.kind, first.debit, first.credit, first.note) == (
        "grant",
        "gifts",
        f"user:{user}",
        "invoice 17",
    )
    assert (second.kind, second.debit, second.credit) == ("adjust", f"user:{user}", "adjustments")
    assert first.id == given.json["entry_id"] == f"grant:{first.request_id}"
    acts = await office.audited()
    assert [act.action for act in acts] == ["credits.take", "credits.give"]
    assert acts[1].after == {"usd": "25", "reason": "invoice 17", "entry": first.id}
    assert acts[1].target == user
    assert (await verify(office.desk.database)).findings == ()


@pytest.mark.parametrize("usd", TRICKS, ids=repr)
async def test_what_is_no_amount_is_refused_by_name(office, user, usd):
    answer = await office.post(f"/users/{user}/credits", {"usd": usd, "reason": "r"})

    assert (answer.status, answer.error["param"]) == (400, "usd")
    assert await entries_of(office) == []
    assert await office.audited() == []


@pytest.mark.parametrize("body", [b'{"usd": NaN, "reason": "r"}', b'{"usd": 1e309, "reason": "r"}'])
async def test_numbers_that_are_none_are_refused(office, user, body):
    assert (await office.post(f"/users/{user}/credits", body)).status == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"usd": 5}, "reason"),
        ({"usd": 5, "reason": ""}, "reason"),
        ({"usd": 5, "reason": "  "}, "reason"),
        ({"usd": 5, "reason": "x" * 501}, "reason"),
        ({"reason": "r"}, "usd"),
        ({"usd": 5, "reason": "r", "balance": 7}, "balance"),
    ],
)
async def test_a_grant_has_an_amount_and_a_reason_and_nothing_else(office, user, body, param):
    answer = await office.post(f"/users/{user}/credits", body)

    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize("name", ["usr_no", "%00"])
async def test_nobody_else_gets_credits(office, name):
    answer = await office.post(f"/users/{name}/credits", {"usd": 5, "reason": "r"})

    assert (answer.status, answer.error["code"]) == (404, "user_not_found")
    assert await entries_of(office) == []
    assert (await office.get(f"/users/{name}/entries")).status == 404


async def test_a_statement_comes_in_pages_newest_first(office, user):
    for number in range(1, 6):
        await office.post(f"/users/{user}/credits", {"usd": number, "reason": f"r{number}"})

    seen: list[str] = []
    cursor, has_more = "", True
    while has_more:
        query = f"limit=2&cursor={cursor}"
        page = (await office.get(f"/users/{user}/entries", query)).json
        assert page["balance"] == "15"
        seen += [entry["amount_usd"] for entry in page["entries"]]
        cursor, has_more = page["next"], page["has_more"]

    assert sorted(seen) == ["1", "2", "3", "4", "5"]
    assert len(seen) == 5


async def test_a_statement_as_csv_has_no_formulas(office, user):
    for reason in ("=1+1", "@SUM(A1)", '-"x",y', "+1", "plain\nline"):
        body = {"usd": "-0.05", "reason": reason}
        assert (await office.post(f"/users/{user}/credits", body)).status == 200

    answer = await office.get(f"/users/{user}/entries", "format=csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert {row["note"] for row in rows} == {"'=1+1", "'@SUM(A1)", '\'-"x",y', "'+1", "plain\nline"}
    assert {row["amount_usd"] for row in rows} == {"-0.05"}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("from=2026-11-25&to=2026-11-24", "to"),
        ("from=2026-11-25T00:00:00", "from"),
        ("from=1e9", "from"),
        ("cursor=abc", "cursor"),
        ("cursor=1.%00", "cursor"),
        ("limit=0", "limit"),
        ("format=xml", "format"),
    ],
)
async def test_a_query_that_makes_no_sense_is_told(office, user, query, param):
    answer = await office.get(f"/users/{user}/entries", query)

    assert (answer.status, answer.error["param"]) == (400, param)


async def test_codes_are_made_listed_and_revoked(office, user):
    body = {"count": 3, "usd": 5, "expires_at": "2099-01-01", "note": "spring"}
    made = await office.post("/codes", body)

    assert made.status == 200
    assert made.json["expires_at"] == "2099-01-01T00:00:00.000Z"
    desk = office.desk
    await redeem_code(desk.database, desk.secret, made.json["codes"][0], user_id=user)
    assert (await office.ask("DELETE", f"/codes/{made.json['ids'][1]}")).status == 200
    again = await office.ask("DELETE", f"/codes/{made.json['ids'][0]}")
    assert (again.status, again.error["code"]) == (409, "code_redeemed")
    batch = made.json["batch"]
    listed = (await office.get("/codes", f"batch={batch}&limit=2")).json
    rest = (await office.get("/codes", f"batch={batch}&before={listed['next']}")).json
    states = {one["id"]: one["state"] for one in (*listed["codes"], *rest["codes"])}
    assert [states[name] for name in made.json["ids"]] == ["redeemed", "revoked", "open"]
    assert (await office.ask("DELETE", "/codes", query=f"batch={batch}")).json["revoked"] == 1
    assert (await office.ask("DELETE", "/codes")).status == 400
    assert (await office.ask("DELETE", "/codes", query="batch=no")).status == 404
    assert rest["codes"][-1]["redeemed_by"] == user


async def test_a_code_is_in_no_list_and_no_audit(office):
    made = (await office.post("/codes", {"count": 2, "usd": "0.5"})).json

    listed = (await office.get("/codes")).body.decode()
    audited = repr(await office.audited())
    for code in made["codes"]:
        assert code not in listed + audited
        assert code[5:19] not in listed + audited
    (act,) = await office.audited("code.create")
    assert act.after == {"count": 2, "usd": "0.5", "expires_at": None, "note": ""}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        *(({"usd": usd}, "usd") for usd in [*TRICKS, -5, "-5", 100_001]),
        *(({"count": count}, "count") for count in (0, -1, 1001, True, "3", 1.5, 2**63)),
        ({"expires_at": "2020-01-01"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"ticks": 5}, "ticks"),
    ],
    ids=repr,
)
async def test_a_batch_that_makes_no_sense_is_refused(office, changes, param):
    answer = await office.post("/codes", {"count": 1, "usd": 5, **changes})

    assert (answer.status, answer.error["param"]) == (400, param)
    assert (await office.get("/codes")).json["codes"] == []


async def test_topups_are_listed(office, user):
    await open_topup(
        office.desk.database, topup_id="top_1", user_id=user, reference="cs_1", amount=1050
    )

    answer = await office.get("/topups", f"user={user}")

    (topup,) = answer.json["topups"]
    assert (topup["amount_usd"], topup["refunded_usd"], topup["status"]) == ("10.5", "0", "open")
    assert (await balances_of(office.desk.database, [f"user:{user}"]))[f"user:{user}"] == (0, 0)


async def test_a_caller_s_key_does_nothing_here(office, user):
    body = {"usd": 5, "reason": "r"}
    answer = await office.post(f"/users/{user}/credits", body, key="sk-of-a-caller-0123456789")

    assert answer.status == 401
    assert await entries_of(office) == []
