import pytest

from groxy.core.grants import PlanGrant
from groxy.store.plans import create_plan
from groxy.store.users import UserRole, UserStatus, find_user, update_user
from tests.api.household import PASSWORD, cookie, household

NOT_THEIRS = {
    "role": "admin",
    "balance": "100",
    "plan_id": "plan_1",
    "plan": "heavy",
    "status": "active",
    "id": "usr_1",
    "user_id": "usr_1",
    "grant": {"overdraft": 10},
    "overdraft": "100",
    "rates": {"requests": 0},
    "markup_bp": -10_000,
    "caps": {"total": None},
    "is_provisioning": True,
    "has_password": False,
    "terms": "{}",
}


@pytest.fixture
async def house(tmp_path):
    async with household(tmp_path) as it:
        yield it


async def test_a_user_sees_themselves_their_plan_and_their_balance(house):
    plan = await create_plan(house.app.database, name="Basic", is_default=True)
    token = await house.session(house.ada)

    told = (await house.ask("GET", "/v1/user", key=token)).json

    assert told["plan"] == {"id": plan.id, "name": "Basic"}
    assert told["balance"] == "0"
    assert "grant" not in told


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_nobody_is_a_user_without_a_session(house, method):
    secret, _ = await house.key(house.ada.id)
    answers = [
        await house.ask(method, "/v1/user", {"name": "x"}),
        await house.ask(method, "/v1/user", {"name": "x"}, key=secret),
        await house.ask(method, "/v1/user", {"name": "x"}, key="ses_wrong"),
        await house.ask(method, "/v1/user", {"name": "x"}, key="adm-in-process"),
        await house.ask(method, "/v1/user", {"name": "x"}, headers=cookie("ses_" + "x" * 5_000)),
    ]

    assert {answer.status for answer in answers[:4]} == {401}
    assert answers[4].status in (401, 403)


async def test_name_and_address_can_be_changed(house):
    token = await house.session(house.ada)
    body = {"name": "<script>alert(1)</script>", "email": "Ada.L@Example.com"}

    answer = await house.ask("PATCH", "/v1/user", body, key=token)

    assert answer.status == 200
    assert (answer.json["name"], answer.json["email"]) == (body["name"], "ada.l@example.com")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("field", "value"), NOT_THEIRS.items())
async def test_what_is_the_operators_is_an_unknown_field(house, field, value):
    token = await house.session(house.ada)

    answer = await house.ask("PATCH", "/v1/user", {"name": "Eve", field: value}, key=token)

    assert (answer.status, answer.error["param"]) == (400, field)
    assert await find_user(house.app.database, house.ada.id) == house.ada


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a\0b"},
        {"name": 1},
        {"name": "x" * 257},
        {"email": "bob@example.com"},
        {"email": "BOB@EXAMPLE.COM"},
        {"email": None},
        {"email": "nowhere"},
        {"password": "short", "old_password": PASSWORD},
        {"password": "", "old_password": PASSWORD},
        {"password": "long enough now"},
        {"password": "long enough now", "old_password": "wrong password"},
        {"password": "long enough now", "old_password": ""},
    ],
)
async def test_a_change_that_cannot_be_is_refused_and_names_the_field(house, body):
    token = await house.session(house.ada)

    answer = await house.ask("PATCH", "/v1/user", body, key=token)

    assert answer.status in (400, 403, 409)
    assert answer.error["param"] in ("name", "email", "password", "old_password")
    assert await find_user(house.app.database, house.ada.id) == house.ada
    assert (await house.login("ada@example.com")).status == 200


async def test_a_new_password_ends_every_other_session(house):
    here, there = await house.session(house.ada), await house.session(house.ada)
    bobs = await house.session(house.bob)
    body = {"password": "another password", "old_password": PASSWORD}

    answer = await house.ask("PATCH", "/v1/user", body, key=here)

    assert answer.status == 200
    assert b"password" not in answer.body
    assert (await house.ask("GET", "/v1/user", key=here)).status == 200
    assert (await house.ask("GET", "/v1/user", key=there)).status == 401
    assert (await house.ask("GET", "/v1/user", key=bobs)).status == 200
    assert (await house.login("ada@example.com")).status == 401
    assert (await house.login("ada@example.com", "another password")).status == 200


async def test_guesses_at_the_old_password_are_few(house):
    token = await house.session(house.ada)
    guess = {"password": "another password", "old_password": "wrong password"}
    statuses = [(await house.ask("PATCH", "/v1/user", guess, key=token)).status for _ in range(10)]
    right = {**guess, "old_password": PASSWORD}
    late = await house.ask("PATCH", "/v1/user", right, key=token)

    assert set(statuses) == {403}
    assert late.status == 429
    assert (await house.login("ada@example.com")).status == 429


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"x-groxy-csrf": "1"}, 200),
        ({"x-groxy-csrf": "0"}, 403),
        ({"origin": "http://testserver"}, 200),
        ({"origin": "https://testserver:443"}, 200),
        ({"referer": "http://testserver/console"}, 200),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "http://testserver@evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example", "referer": "http://testserver/"}, 403),
        ({"referer": "http://evil.example/?http://testserver/"}, 403),
        ({"origin": "http://["}, 403),
    ],
)
async def test_a_cookie_alone_changes_nothing(house, headers, status):
    token = await house.session(house.ada)

    answer = await house.ask(
        "PATCH", "/v1/user", {"name": "Eve"}, headers={**cookie(token), **headers}
    )

    assert answer.status == status
    name = (await find_user(house.app.database, house.ada.id)).name
    assert name == {200: "Eve", 403: "Ada"}[status]


async def test_an_admin_logs_in_here_as_anybody(house):
    await update_user(house.app.database, house.ada.id, {"role": UserRole.ADMIN})
    answer = await house.login("ada@example.com")

    assert answer.json["user"]["role"] == "admin"


async def test_a_plan_of_ones_own_comes_before_the_default_one(house):
    await create_plan(house.app.database, name="Basic", is_default=True)
    own = await create_plan(house.app.database, name="Own", grant=PlanGrant(markup_bp=100))
    await update_user(house.app.database, house.ada.id, {"plan_id": own.id})
    token = await house.session(house.ada)

    told = (await house.ask("GET", "/v1/user", key=token)).json

    assert told["plan"] == {"id": own.id, "name": "Own"}
    assert "markup" not in repr(told)


async def test_a_disabled_user_changes_nothing(house):
    token = await house.session(house.ada)
    await update_user(house.app.database, house.ada.id, {"status": UserStatus.DISABLED})

    assert (await house.ask("PATCH", "/v1/user", {"name": "Eve"}, key=token)).status == 401


async def test_a_list_of_addresses_is_not_tried_through(house):
    token = await house.session(house.bob)
    tried = [
        (await house.ask("PATCH", "/v1/user", {"email": "ada@example.com"}, key=token)).status
        for _ in range(11)
    ]

    assert tried == [409] * 10 + [429]
