import asyncio
import json
import time
from unittest.mock import ANY

import pytest
import sqlalchemy as sa

from groxy.core.grants import Caps, KeyGrant, PlanGrant, Rates
from groxy.core.money import TICKS_PER_USD
from groxy.policy.periods import spends_of
from groxy.store import tables
from groxy.store.counts import day_of
from groxy.store.keys import KeyRole, create_key, find_key, update_key
from groxy.store.ledger import balances_of
from groxy.store.plans import create_plan
from groxy.store.users import UserStatus, update_user
from tests.api.household import cookie, household
from tests.api.test_user import NOT_THEIRS
from tests.inprocess import ADMIN_KEY

SHAPE = {
    *("hash", "name", "label", "disabled", "limit", "limit_remaining", "limit_reset"),
    *("include_byok_in_limit", "usage", "usage_daily", "usage_weekly", "usage_monthly"),
    *("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"),
    *("created_at", "updated_at", "expires_at"),
    *("models", "endpoints", "ips", "rpm", "tpm", "concurrency", "tags", "is_provisioning"),
}


@pytest.fixture
async def house(tmp_path):
    async with household(tmp_path) as it:
        yield it


@pytest.fixture
async def token(house):
    return await house.session(house.ada)


async def spend(database, key_id, ticks, *, days_ago=0):
    """Count what a key spent on a day."""
    day = day_of(time.time_ns() // 1_000_000 - days_ago * 86_400_000)
    zeros = {
        column.name: 0
        for column in tables.usage_days.columns
        if column.name not in ("day", "user_id", "key_id", "model", "app")
    }
    row = {"day": day, "user_id": "", "key_id": key_id, "model": "m", "app": "", **zeros}
    async with database.transaction() as connection:
        await connection.execute(
            sa.insert(tables.usage_days).values({**row, "charge_ticks": ticks})
        )


# ----------------------------------------------------------------------------------------- a life


async def test_a_key_lives_in_openrouters_shape(house, token):
    made = await house.ask(
        "POST", "/v1/keys", {"name": "First", "limit": 10.5, "limit_reset": "monthly"}, key=token
    )
    secret, data = made.json["key"], made.json["data"]
    path = f"/v1/keys/{data['hash']}"

    assert made.status == 201
    assert data.keys() == SHAPE
    assert secret.startswith("sk-grok-")
    assert data["label"] == f"sk-grok-...{secret[-4:]}"
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (10.5, 10.5, "monthly")
    assert (await house.ask("GET", path, key=token)).json == {"data": data}
    assert (await house.ask("GET", "/v1/keys", key=token)).json == {"data": [data]}
    assert (await house.ask("GET", "/api/v1/keys", key=token)).json == {"data": [data]}

    body = {"name": "Other", "disabled": True, "include_byok_in_limit": True}
    changed = await house.ask("PATCH", path, body, key=token)
    assert changed.json["data"] == {**data, "name": "Other", "disabled": True}
    assert (await house.ask("GET", "/v1/keys", key=token)).json == {"data": []}
    listed = await house.ask("GET", "/v1/keys", key=token, query="include_disabled=true")
    assert len(listed.json["data"]) == 1

    gone = await house.ask("DELETE", path, key=token)
    assert (gone.status, gone.json) == (200, {"deleted": True})
    for method in ("GET", "PATCH", "DELETE"):
        assert (await house.ask(method, path, {}, key=token)).status == 404


async def test_what_is_under_way_when_a_cap_is_set_is_counted_against_it(house):
    gift = {"usd": "100", "reason": "x"}
    await house.ask("POST", f"/admin/api/users/{house.ada.id}/credits", gift, key=ADMIN_KEY)
    secret, key = await house.key(house.ada.id)

    def ask(text):
        messages = [{"role": "user", "content": text}]
        body = {"model": "grok-4.3", "max_tokens": 50, "messages": messages}
        return house.ask("POST", "/v1/chat/completions", body, key=secret)

    long = "word " * 2000
    under_way = [asyncio.create_task(ask(f"[[sandbox: slow_first=1]]{long}")) for _ in range(20)]
    await asyncio.sleep(0.3)
    cap = {"caps": {"day": "0.05"}}
    await house.ask("PATCH", f"/admin/api/keys/{key.id}", cap, key=ADMIN_KEY)
    first = await ask("hi")  # from now on it is known what the key has spent: nothing yet
    ended = await asyncio.gather(*under_way)
    assert {one.status for one in (first, *ended)} == {200}

    told = (await house.ask("GET", "/v1/key", key=secret)).json["data"]
    (name,) = [name for name, _, _ in spends_of(key.id, Caps(day=1), time.time_ns() // 1_000_000)]
    async with asyncio.timeout(5):
        while await balances_of(house.app.database, [name]) != {
            name: (-round(told["usage"] * TICKS_PER_USD), ANY)
        }:
            await asyncio.sleep(0.05)
    await house.app.loader.load_changes()
    assert (await ask(long)).status == 402


async def test_what_the_operator_changes_at_the_same_time_stays(house, token):
    _, key = await house.key(house.ada.id)
    for number in range(1, 6):
        theirs, ours = {"models": [f"grok-{number}"]}, {"caps": {"total": str(number)}}
        answers = await asyncio.gather(
            house.ask("PATCH", f"/v1/keys/{key.id}", theirs, key=token),
            house.ask("PATCH", f"/admin/api/keys/{key.id}", ours, key=ADMIN_KEY),
        )
        grant = (await find_key(house.app.database, key.id)).grant

        assert [answer.status for answer in answers] == [200, 200]
        assert grant.models == (f"grok-{number}",)
        assert grant.caps == Caps(total=number * TICKS_PER_USD)


async def test_a_provisioning_key_makes_keys_for_its_user(house, token):
    provisioning, _ = await house.key(house.ada.id, is_provisioning=True)

    made = await house.ask("POST", "/v1/keys", {"name": "Customer 1"}, key=provisioning)
    stored = await find_key(house.app.database, made.json["data"]["hash"])

    assert (made.status, stored.user_id) == (201, house.ada.id)
    listed = await house.ask("GET", "/v1/keys", key=provisioning)
    assert [one["name"] for one in listed.json["data"]] == ["Customer 1"]
    await house.app.loader.load_changes()
    assert (await house.ask("GET", "/v1/models", key=made.json["key"])).status == 200


async def test_a_rotated_key_has_another_secret_and_the_old_one_works_for_its_grace(house, token):
    made = await house.ask("POST", "/v1/keys", {"name": "One"}, key=token)
    path = f"/v1/keys/{made.json['data']['hash']}/rotate"

    graceful = await house.ask("POST", path, {"grace_s": 60}, key=token)
    await house.app.loader.load_changes()
    secrets = [made.json["key"], graceful.json["key"]]
    assert graceful.status == 200
    assert [(await house.ask("GET", "/v1/models", key=one)).status for one in secrets] == [200, 200]

    sudden = await house.ask("POST", path, key=token)
    await house.app.loader.load_changes()
    secrets.append(sudden.json["key"])
    statuses = [(await house.ask("GET", "/v1/models", key=one)).status for one in secrets]
    assert statuses == [401, 401, 200]
    assert len(set(secrets)) == 3


async def test_no_secret_is_in_any_later_answer(house, token):
    made = await house.ask("POST", "/v1/keys", {"name": "One"}, key=token)
    path = f"/v1/keys/{made.json['data']['hash']}"
    answers = [
        await house.ask("GET", "/v1/keys", key=token),
        await house.ask("GET", path, key=token),
        await house.ask("PATCH", path, {"name": "Two"}, key=token),
        await house.ask("DELETE", path, key=token),
    ]

    assert made.json["key"].encode() not in b"".join(one.body for one in answers)


# -------------------------------------------------------------------------------------- strangers


async def test_keys_of_others_are_not_there(house, token):
    _, bobs = await house.key(house.bob.id)
    _, nobodys = await house.key("")
    _, operators = await create_key(
        house.app.database, house.app.secret, name="ops", role=KeyRole.OPERATOR
    )
    provisioning, own = await house.key(house.ada.id, is_provisioning=True)
    unowned, itself = await house.key("", is_provisioning=True)
    forbidden = [
        *[(key, one) for key in (token, provisioning) for one in (bobs, nobodys, operators)],
        *[(unowned, one) for one in (bobs, operators, own, itself)],
        (provisioning, own),
    ]

    answers = []
    for key, stored in forbidden:
        path = f"/v1/keys/{stored.id}"
        answers += [
            await house.ask("GET", path, key=key),
            await house.ask("PATCH", path, {"disabled": True}, key=key),
            await house.ask("DELETE", path, key=key),
            await house.ask("POST", f"{path}/rotate", key=key),
        ]
    missing = await house.ask("GET", "/v1/keys/key_never", key=token)

    assert {answer.status for answer in answers} == {404}
    assert all(answer.error == missing.error for answer in answers)
    for stored in (bobs, nobodys, operators, own, itself):
        assert await find_key(house.app.database, stored.id) == stored


async def test_what_the_operator_disabled_its_owner_cannot_enable(house, token):
    _, key = await house.key(house.ada.id)
    path = f"/v1/keys/{key.id}"
    await update_key(house.app.database, key.id, {"suspended": True})
    refused = await house.ask("PATCH", path, {"disabled": False, "name": "Mine"}, key=token)

    assert (refused.status, refused.error["code"]) == (403, "key_suspended")
    assert "operator" in refused.error["message"]
    for change in ({"disabled": True}, {"name": "Other"}):
        changed = await house.ask("PATCH", path, change, key=token)
        assert (changed.status, changed.json["data"]["disabled"]) == (200, True)
    rotated = await house.ask("POST", f"{path}/rotate", key=token)
    used = await house.ask("GET", "/v1/key", key=rotated.json["key"])
    assert (used.status, "operator" in used.error["message"]) == (401, True)


@pytest.mark.parametrize("name", ["%00", "\0", "..", "' OR 1=1 --", "x" * 5_000, "key_*", "é"])
async def test_an_id_that_is_none_is_not_found(house, token, name):
    assert (await house.ask("GET", f"/v1/keys/{name}", key=token)).status == 404


async def test_any_other_key_manages_no_keys(house):
    plain, _ = await house.key(house.ada.id)
    answers = [
        await house.ask(method, path, {"name": "x"}, key=key)
        for method, path in (("GET", "/v1/keys"), ("POST", "/v1/keys"), ("DELETE", "/v1/keys/k"))
        for key in (plain, "sk-in-process")
    ]

    assert {(one.status, one.error["code"]) for one in answers} == {(403, "key_scope")}
    assert (await house.ask("GET", "/v1/keys")).status == 401
    assert (await house.ask("GET", "/v1/keys", key="ses_wrong")).status == 401


async def test_open_mode_manages_no_keys(tmp_path):
    async with household(tmp_path, app__api_key="") as house:
        answer = await house.ask("POST", "/v1/keys", {"name": "x"})

    assert answer.status in (401, 403)


async def test_a_provisioning_key_cannot_make_another_one_and_a_user_can(house, token):
    provisioning, _ = await house.key(house.ada.id, is_provisioning=True)
    body = {"name": "Next", "is_provisioning": True}

    refused = await house.ask("POST", "/v1/keys", body, key=provisioning)
    made = await house.ask("POST", "/v1/keys", body, key=token)
    path = f"/v1/keys/{made.json['data']['hash']}"
    changed = await house.ask("PATCH", path, {"is_provisioning": False}, key=token)

    assert (refused.status, refused.error["code"]) == (403, "key_scope")
    assert made.json["data"]["is_provisioning"] is True
    assert (changed.status, changed.error["param"]) == (400, "is_provisioning")


async def test_a_disabled_users_provisioning_key_and_session_make_nothing(house, token):
    provisioning, _ = await house.key(house.ada.id, is_provisioning=True)
    await update_user(house.app.database, house.ada.id, {"status": UserStatus.DISABLED})
    await house.app.loader.load_changes()

    answers = [
        await house.ask("POST", "/v1/keys", {"name": "x"}, key=key) for key in (provisioning, token)
    ]

    assert [answer.status for answer in answers] == [401, 401]


async def test_a_cookie_alone_makes_no_key_and_shows_them(house, token):
    body = {"name": "Made by another site"}
    alone = await house.ask("POST", "/v1/keys", body, headers=cookie(token))
    ours = {**cookie(token), "x-groxy-csrf": "1"}
    with_header = await house.ask("POST", "/v1/keys", body, headers=ours)
    looked = await house.ask("GET", "/v1/keys", headers=cookie(token))

    assert (alone.status, alone.error["code"]) == (403, "csrf_refused")
    assert with_header.status == 201
    assert len(looked.json["data"]) == 1


async def test_two_cookies_of_the_name_are_refused(house, token):
    both = {"cookie": f"groxy_session=ses_planted; groxy_session={token}"}

    assert (await house.ask("GET", "/v1/keys", headers=both)).status == 401


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("field", [one for one in NOT_THEIRS if one != "is_provisioning"])
async def test_fields_that_nobody_knows_are_refused_everywhere(house, token, field):
    _, stored = await house.key(house.ada.id)
    path, more = f"/v1/keys/{stored.id}", {field: NOT_THEIRS[field]}

    answers = [
        await house.ask("POST", "/v1/keys", {"name": "x", **more}, key=token),
        await house.ask("PATCH", path, {"name": "x", **more}, key=token),
        await house.ask("POST", f"{path}/rotate", more, key=token),
    ]

    assert [(one.status, one.error["param"]) for one in answers] == [(400, field)] * 3
    assert await find_key(house.app.database, stored.id) == stored


async def test_the_field_that_was_meant_is_named(house, token):
    answer = await house.ask("POST", "/v1/keys", {"name": "x", "limits": 1}, key=token)

    assert "Did you mean `limit`?" in answer.error["message"]


TRICKS = ["NaN", "Infinity", "-1", "-0.01", "1e3", "1E400", "true", '"1e3"', '""', "[]", "{}"]
TRICKS += ['" 1"', '"+1"', '"0x10"', "9223372036854775808", '"NaN"', '"1,5"', "1e309", '"\u0661"']


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("field", ["limit", "rpm", "tpm", "concurrency"])
async def test_number_tricks_are_refused_in_every_bound(house, token, field, trick):
    body = f'{{"name": "x", "{field}": {trick}}}'.encode()

    answer = await house.ask("POST", "/v1/keys", body, key=token)

    assert answer.status == 400
    assert answer.error["param"] == field or answer.error["code"] == "invalid_json"
    assert (await house.ask("GET", "/v1/keys", key=token)).json == {"data": []}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a\0b"),
        ("name", "x" * 257),
        ("name", None),
        ("limit_reset", "yearly"),
        ("limit_reset", 1),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "2030-01-01"),
        ("expires_at", "2030-01-01T00:00:00"),
        ("expires_at", "9" * 10_000),
        ("expires_at", 1_900_000_000),
        ("models", "grok-4"),
        ("models", [""]),
        ("models", ["a\0"]),
        ("models", ["x"] * 200 + [str(n) for n in range(200)]),
        ("endpoints", ["everything"]),
        ("ips", ["10.0.0.0/33"]),
        ("ips", ["fe80::1%eth0"]),
        ("ips", ["localhost"]),
        ("tags", ["x" * 65]),
        ("tags", [str(n) for n in range(21)]),
        ("rpm", 1_000_000_001),
        ("concurrency", 1_000_001),
        ("disabled", "yes"),
        ("limit", 100_000_001),
        ("limit", "0.00000000001"),
    ],
)
async def test_what_no_key_can_have_is_refused_and_named(house, token, field, value):
    _, stored = await house.key(house.ada.id)

    answer = await house.ask("PATCH", f"/v1/keys/{stored.id}", {field: value}, key=token)

    assert answer.status == 400
    assert str(answer.error["param"]).partition(".")[0] == field
    assert await find_key(house.app.database, stored.id) == stored


@pytest.mark.parametrize(
    "query", ["offset=-1", "offset=1e3", "offset=x", "include_disabled=maybe", "a=1&" * 60]
)
async def test_a_page_that_is_none_is_refused(house, token, query):
    assert (await house.ask("GET", "/v1/keys", key=token, query=query)).status == 400


@pytest.mark.parametrize("grace", ["-1", "true", "1.5", "99999999999", '"60"', "null"])
async def test_a_grace_that_is_none_is_refused(house, token, grace):
    _, stored = await house.key(house.ada.id)
    body = f'{{"grace_s": {grace}}}'.encode()

    answer = await house.ask("POST", f"/v1/keys/{stored.id}/rotate", body, key=token)

    assert (answer.status, answer.error["param"]) == (400, "grace_s")


async def test_a_huge_body_is_refused_before_it_is_read(house, token):
    answer = await house.ask("POST", "/v1/keys", b" " * 70_000, key=token)

    assert answer.status == 413


async def test_text_comes_back_as_it_was_and_as_json_only(house, token):
    name = "<img src=x onerror=alert(1)>"
    answer = await house.ask("POST", "/v1/keys", {"name": name, "tags": [name]}, key=token)

    assert answer.headers["content-type"] == "application/json"
    assert answer.json["data"]["name"] == name
    assert answer.json["data"]["tags"] == [name]


# ----------------------------------------------------------------------------- limits and spending


async def test_a_limit_is_taken_and_told_exactly(house, token):
    for given in ("0.1", '"0.1"', "0.10"):
        body = f'{{"name": "x", "limit": {given}}}'.encode()
        answer = await house.ask("POST", "/v1/keys", body, key=token)
        stored = await find_key(house.app.database, answer.json["data"]["hash"])
        assert stored.grant.caps == Caps(total=TICKS_PER_USD // 10)
        assert b'"limit":0.1,' in answer.body


async def test_limit_and_reset_change_one_by_one(house, token):
    made = await house.ask("POST", "/v1/keys", {"name": "x", "limit": 5}, key=token)
    path = f"/v1/keys/{made.json['data']['hash']}"
    told = []
    for body in (
        {"limit_reset": "daily"},
        {"limit": 7},
        {"limit_reset": None},
        {"limit": None},
        {"name": "y"},
    ):
        data = (await house.ask("PATCH", path, body, key=token)).json["data"]
        told.append((data["limit"], data["limit_reset"]))

    assert told == [(5, "daily"), (7, "daily"), (7, None), (None, None), (None, None)]


async def test_what_was_spent_and_what_is_left_is_told(house, token):
    _, stored = await house.key(house.ada.id, caps=Caps(day=10 * TICKS_PER_USD))
    await spend(house.app.database, stored.id, 3 * TICKS_PER_USD + 1)
    await spend(house.app.database, stored.id, 8 * TICKS_PER_USD, days_ago=400)

    answer = await house.ask("GET", f"/v1/keys/{stored.id}", key=token)
    data = answer.json["data"]

    assert b'"usage":11.0000000001,' in answer.body
    assert b'"usage_daily":3.0000000001,' in answer.body
    assert b'"limit_remaining":6.9999999999,' in answer.body
    assert (data["limit"], data["limit_reset"]) == (10, "daily")


async def test_of_several_caps_that_is_told_which_leaves_least(house, token):
    caps = Caps(day=5 * TICKS_PER_USD, total=10 * TICKS_PER_USD)
    _, stored = await house.key(house.ada.id, caps=caps)
    path = f"/v1/keys/{stored.id}"
    before = (await house.ask("GET", path, key=token)).json["data"]
    await spend(house.app.database, stored.id, 9 * TICKS_PER_USD, days_ago=40)
    after = (await house.ask("GET", path, key=token)).json["data"]

    assert (before["limit"], before["limit_reset"]) == (5, "daily")
    assert (after["limit"], after["limit_reset"], after["limit_remaining"]) == (10, None, 1)


async def test_nobody_raises_their_rates_above_those_of_the_plan(house, token):
    rates = Rates(requests=60, tokens=1_000, concurrency=2)
    await create_plan(
        house.app.database, name="P", grant=PlanGrant(key_rates=rates), is_default=True
    )
    await house.app.loader.load_changes()
    provisioning, _ = await house.key(house.ada.id, is_provisioning=True)

    for key in (token, provisioning):
        for field, value in (("rpm", 61), ("tpm", 1_001), ("concurrency", 3)):
            refused = await house.ask("POST", "/v1/keys", {"name": "x", field: value}, key=key)
            assert (refused.status, refused.error["param"]) == (403, field)
        made = await house.ask("POST", "/v1/keys", {"name": "x", "rpm": 5}, key=key)
        path = f"/v1/keys/{made.json['data']['hash']}"
        stored = await find_key(house.app.database, made.json["data"]["hash"])
        assert stored.grant.rates == Rates(requests=5, tokens=1_000, concurrency=2)
        cleared = await house.ask("PATCH", path, {"tpm": 0, "concurrency": None}, key=key)
        assert (cleared.json["data"]["tpm"], cleared.json["data"]["concurrency"]) == (1_000, 2)


async def test_every_restriction_is_kept(house, token):
    body = {
        "name": "x",
        "models": ["grok-4*", "grok-3", "grok-3"],
        "endpoints": ["chat"],
        "ips": ["10.0.0.0/8", "::ffff:1.2.3.4"],
        "rpm": 5,
        "tpm": 6,
        "concurrency": 7,
        "tags": ["team a"],
        "expires_at": "2099-01-01T00:00:00+01:00",
    }
    answer = await house.ask("POST", "/v1/keys", body, key=token)
    stored = await find_key(house.app.database, answer.json["data"]["hash"])

    assert stored.grant == KeyGrant(
        models=("grok-4*", "grok-3"),
        endpoints=("chat",),
        ips=("10.0.0.0/8", "1.2.3.4/32"),
        rates=Rates(requests=5, tokens=6, concurrency=7),
        tags=("team a",),
    )
    assert answer.json["data"]["expires_at"] == "2098-12-31T23:00:00.000Z"


async def test_the_newest_keys_come_first_a_hundred_at_a_time(house, token):
    now_ms = time.time_ns() // 1_000_000
    rows = [
        {
            "id": f"key_{number:06d}",
            "name": str(number),
            "role": "caller",
            "digest": number.to_bytes(32, "big"),
            "hint": "abcd",
            "created_ms": now_ms + number,
            "user_id": house.ada.id,
            "terms": json.dumps({"tags": ["is_provisioning"]}),
        }
        for number in range(9_000)
    ]
    async with house.app.database.transaction(timeout_s=60) as connection:
        await connection.execute(sa.insert(tables.keys), rows)
    provisioning, _ = await house.key(house.ada.id, is_provisioning=True)

    first = await house.ask("GET", "/v1/keys", key=provisioning)
    began = time.monotonic()
    last = await house.ask("GET", "/v1/keys", key=provisioning, query="offset=8950")
    took_s = time.monotonic() - began
    beyond = await house.ask("GET", "/v1/keys", key=provisioning, query="offset=9000")

    names = [one["name"] for one in first.json["data"]]
    assert names == [str(number) for number in range(8_999, 8_899, -1)]
    assert [one["name"] for one in last.json["data"]] == [str(n) for n in range(49, -1, -1)]
    assert beyond.json == {"data": []}
    assert took_s < 2
