import pytest
import sqlalchemy as sa

from groxy.core.grants import KeyGrant
from groxy.core.money import TICKS_PER_USD
from groxy.store import tables
from groxy.store.keys import KeyRole, create_key
from groxy.store.ledger import Entry, enter, user_side
from groxy.store.plans import create_plan
from groxy.store.sessions import open_session, session_user
from groxy.store.users import check_password, create_user, find_user
from tests.admin.window import SECRET, opened

PASSWORD = "correct horse battery"


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path) as it:
        yield it


async def give(database, user_id, ticks):
    """Enter a gift."""
    entry = Entry("gift:1", 1, "grant", "gifts", user_side(user_id), ticks, user_id, "", "", "")
    async with database.transaction() as connection:
        await enter(connection, [entry])


async def test_a_user_is_made_shown_changed_and_disabled(window):
    plan = await create_plan(window.desk.database, name="Pro")
    made = await window.post(
        "/users",
        {
            "name": "Ada",
            "email": "Ada@Example.com",
            "plan_id": plan.id,
            "password": PASSWORD,
            "rates": {"requests": 60},
            "overdraft": "5.50",
            "alert_below": 1,
            "note": "pays by invoice",
        },
    )
    path = f"/users/{made.json['id']}"
    told = made.json

    assert made.status == 200
    assert told == {
        "id": told["id"],
        "name": "Ada",
        "email": "ada@example.com",
        "role": "user",
        "status": "active",
        "plan_id": plan.id,
        "balance": "0",
        "rates": {"requests": 60, "tokens": 0, "concurrency": 0},
        "overdraft": "5.5",
        "alert_below": "1",
        "note": "pays by invoice",
        "has_password": True,
        "created_at": told["created_at"],
    }
    assert (await window.get(path)).json == told
    changes = {"name": "Ada L.", "role": "admin", "rates": None, "alert_below": None, "email": None}
    changed = await window.ask("PATCH", path, body=changes)
    assert changed.json == {**told, **changes}
    assert (await window.ask("PATCH", path, body={})).json == changed.json
    gone = await window.ask("DELETE", path)
    assert (gone.status, gone.json["status"]) == (200, "disabled")
    back = await window.ask("PATCH", path, body={"status": "active"})
    assert back.json == changed.json
    assert len(window.reloads) == 4
    assert [line.action for line in await window.audit()] == [
        *("user.change", "user.disable", "user.change", "user.add"),
    ]


async def test_the_balance_is_told_in_dollars(window):
    user = await create_user(window.desk.database, name="Ada")
    await give(window.desk.database, user.id, 12 * TICKS_PER_USD + TICKS_PER_USD // 2)

    listed = (await window.get("/users")).json["users"]

    assert [one["balance"] for one in listed] == ["12.5"]


async def test_users_come_a_page_at_a_time_and_are_found(window):
    users = [await create_user(window.desk.database, name=f"User {n}") for n in range(5)]
    ids = sorted(user.id for user in users)

    first = (await window.get("/users", "limit=2")).json
    second = (await window.get("/users", f"limit=2&after={first['next']}")).json
    third = (await window.get("/users", f"limit=2&after={second['next']}")).json
    found = (await window.get("/users", "search=uSER%203")).json["users"]

    seen = [one["id"] for page in (first, second, third) for one in page["users"]]
    assert seen == ids
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]
    assert third["next"] is None
    assert [one["name"] for one in found] == ["User 3"]
    assert (await window.get("/users", "search=%25")).json["users"] == []


async def test_a_password_goes_in_and_never_out(window, logged):
    made = await window.post("/users", {"name": "Ada", "email": "a@x.de", "password": PASSWORD})
    path = f"/users/{made.json['id']}"
    token = await open_session(window.desk.database, SECRET, made.json["id"], ttl_ms=60_000)

    answer = await window.post(f"{path}/password", {"password": "another password"})

    assert (answer.status, answer.json) == (200, {"status": "success"})
    assert await session_user(window.desk.database, SECRET, token) is None
    assert await check_password(window.desk.database, "a@x.de", "another password") is not None
    async with window.desk.database.transaction() as connection:
        rows = (await connection.execute(sa.select(tables.audit))).all()
    told = repr(rows) + repr(logged()) + repr([made.body, answer.body])
    assert "user.password" in told
    for secret in (PASSWORD, "another password", "argon2", token):
        assert secret not in told


@pytest.mark.parametrize("password", ["", "short", "x" * 300, 12345678, None, ["password"]])
async def test_a_password_that_is_none_is_refused(window, password):
    user = await create_user(window.desk.database, name="Ada", email="a@x.de", password=PASSWORD)

    answer = await window.post(f"/users/{user.id}/password", {"password": password})

    assert (answer.status, answer.error["param"]) == (400, "password")
    assert await check_password(window.desk.database, "a@x.de", PASSWORD) is not None


async def test_sessions_are_ended(window):
    user = await create_user(window.desk.database, name="Ada")
    token = await open_session(window.desk.database, SECRET, user.id, ttl_ms=60_000)

    answer = await window.post(f"/users/{user.id}/sessions/end")

    assert answer.json == {"status": "success", "ended": 1}
    assert await session_user(window.desk.database, SECRET, token) is None


async def test_keys_of_a_user_are_listed(window):
    user = await create_user(window.desk.database, name="Ada")
    _, key = await create_key(
        window.desk.database,
        SECRET,
        name="one",
        role=KeyRole.CALLER,
        user_id=user.id,
        grant=KeyGrant(tags=("a",)),
    )
    await create_key(window.desk.database, SECRET, name="nobody's", role=KeyRole.CALLER)

    listed = (await window.get(f"/users/{user.id}/keys")).json["keys"]

    assert [(one["id"], one["tags"]) for one in listed] == [(key.id, ["a"])]


@pytest.mark.parametrize(
    ("method", "below"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/keys"),
        ("POST", "/password"),
        ("POST", "/sessions/end"),
    ],
)
@pytest.mark.parametrize("user_id", ["usr_none", "%00", "\0", "x" * 3_000])
async def test_who_is_not_there_is_not_found(window, method, below, user_id):
    body = {"POST": {"password": PASSWORD}, "PATCH": {"name": "x"}}.get(method, b"")
    body = body if below != "/sessions/end" else b""

    answer = await window.ask(method, f"/users/{user_id}{below}", body=body)

    assert (answer.status, answer.error["code"]) == (404, "user_not_found")


@pytest.mark.parametrize("field", ["balance", "id", "plan", "is_admin", "markup_bp", "Role"])
async def test_a_field_that_nobody_knows_is_refused(window, field):
    user = await create_user(window.desk.database, name="Ada")
    made = await window.post("/users", {"name": "Eve", field: "admin"})
    changed = await window.ask("PATCH", f"/users/{user.id}", body={field: "admin"})

    assert [(one.status, one.error["param"]) for one in (made, changed)] == [(400, field)] * 2


@pytest.mark.parametrize("trick", ["-1", "true", '"1e3"', '"NaN"', "9223372036854775808", '""'])
@pytest.mark.parametrize("field", ["overdraft", "alert_below", "rates.requests", "rates.tokens"])
async def test_number_tricks_are_refused_in_every_limit(window, field, trick):
    outer, _, inner = field.partition(".")
    value = f'{{"{inner}": {trick}}}' if inner else trick
    body = f'{{"name": "Ada", "{outer}": {value}}}'.encode()

    answer = await window.post("/users", body)

    assert (answer.status, answer.error["param"]) == (400, field)
    assert (await window.get("/users")).json["users"] == []


@pytest.mark.parametrize("trick", ["NaN", "Infinity", "1e309", "-Infinity"])
async def test_what_is_no_number_of_json_is_refused(window, trick):
    answer = await window.post("/users", f'{{"name": "A", "overdraft": {trick}}}'.encode())

    assert answer.status == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "A", "email": "nowhere"}, "email"),
        ({"name": "A", "role": "root"}, "role"),
        ({"name": "A", "password": "short"}, "password"),
        ({"name": "A", "note": "x" * 2_001}, "note"),
    ],
)
async def test_what_no_user_can_have_is_refused_and_named(window, body, param):
    answer = await window.post("/users", body)

    assert (answer.status, answer.error["param"]) == (400, param)


async def test_an_address_and_a_plan_are_checked(window):
    await create_user(window.desk.database, name="Ada", email="a@x.de")

    taken = await window.post("/users", {"name": "B", "email": "A@X.de"})
    planless = await window.post("/users", {"name": "B", "plan_id": "plan_none"})

    assert (taken.status, taken.error["code"]) == (409, "email_taken")
    assert (planless.status, planless.error["code"]) == (404, "plan_not_found")


async def test_a_name_that_looks_like_a_page_comes_back_as_json(window):
    name = "<script>alert(1)</script>"
    answer = await window.post("/users", {"name": name})

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert (await find_user(window.desk.database, answer.json["id"])).name == name
