import time

import pytest
import sqlalchemy as sa

from groxy.core.grants import Caps, KeyGrant
from groxy.core.money import TICKS_PER_USD
from groxy.store import tables
from groxy.store.keys import KeyRole, create_key, find_key, update_key
from groxy.store.ledger import Entry, Move, enter
from groxy.store.users import create_user
from tests.admin.window import SECRET, opened

NO_CAPS = {"day": None, "week": None, "month": None, "total": None}
NO_RATES = {"requests": 0, "tokens": 0, "concurrency": 0}
NOTHING = dict.fromkeys(NO_CAPS, "0")


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path) as it:
        yield it


async def make(window, **more):
    """Make a key behind the API's back."""
    given = {"name": "one", "role": KeyRole.CALLER, **more}
    return await create_key(window.desk.database, SECRET, **given)


async def test_a_key_lives_from_its_making_to_its_end(window):
    user = await create_user(window.desk.database, name="Ada")
    body = {
        "name": "One",
        "user_id": user.id,
        "models": ["grok-*"],
        "endpoints": ["chat"],
        "ips": ["10.0.0.0/8"],
        "caps": {"day": "5", "total": 0.25},
        "rates": {"requests": 10},
        "tags": ["team"],
        "expires_at": 4_000_000_000_000,
    }
    made = await window.post("/keys", body)
    told, secret = made.json["key"], made.json["secret"]
    path = f"/keys/{told['id']}"

    assert made.status == 200
    assert told == {
        **body,
        "id": told["id"],
        "role": "caller",
        "hint": secret[-4:],
        "caps": {**NO_CAPS, "day": "5", "total": "0.25"},
        "rates": {**NO_RATES, "requests": 10},
        "is_provisioning": False,
        "disabled": False,
        "disabled_by": None,
        "created_at": told["created_at"],
        "disabled_at": None,
        "old_secret_until": None,
        "spent": NOTHING,
        "left": {**NO_CAPS, "day": "5", "total": "0.25"},
    }
    assert (await window.get(path)).json == told
    changed = await window.ask("PATCH", path, body={"name": "Two", "caps": {}, "expires_at": None})
    assert changed.json == {
        **told,
        "name": "Two",
        "caps": NO_CAPS,
        "left": NO_CAPS,
        "expires_at": None,
    }
    assert (await window.ask("PATCH", path, body={})).json == changed.json
    resting = await window.post(f"{path}/disable")
    assert (resting.json["disabled"], resting.json["disabled_by"]) == (True, "operator")
    assert (await window.post(f"{path}/enable")).json == changed.json
    rotated = await window.post(f"{path}/rotate", {"grace_s": 60})
    assert rotated.json["secret"] != secret
    assert rotated.json["key"]["old_secret_until"] > time.time() * 1000
    assert (await window.ask("DELETE", path)).json == {"status": "success"}
    assert (await window.get(path)).status == 404
    actions = [line.action for line in await window.audit()]
    assert actions[::-1] == [
        *("key.add", "key.change", "key.disable", "key.enable", "key.rotate", "key.revoke"),
    ]
    assert len(window.reloads) == 6


@pytest.mark.parametrize("how", ["enable", "PATCH"])
async def test_a_key_that_the_operator_enables_works_whoever_disabled_it(window, how):
    made = await window.post("/keys", {"name": "One"})
    key_id = made.json["key"]["id"]
    path = f"/keys/{key_id}"
    await update_key(window.desk.database, key_id, {"disabled": True})
    assert (await window.get(path)).json["disabled_by"] == "owner"
    suspended = await window.ask("PATCH", path, body={"disabled": True})
    assert suspended.json["disabled_by"] == "operator"

    if how == "enable":
        await window.post(f"{path}/enable")
    else:
        await window.ask("PATCH", path, body={"disabled": False})
    told = (await window.get(path)).json
    assert (told["disabled"], told["disabled_by"], told["disabled_at"]) == (False, None, None)


async def test_no_secret_is_in_a_later_answer_the_log_or_the_audit(window, logged):
    made = await window.post("/keys", {"name": "One", "is_provisioning": True})
    path = f"/keys/{made.json['key']['id']}"
    rotated = await window.post(f"{path}/rotate")
    answers = [
        await window.get(path),
        await window.get("/keys"),
        await window.ask("PATCH", path, body={"name": "Two"}),
        await window.get("/audit"),
        await window.ask("DELETE", path),
    ]

    async with window.desk.database.transaction() as connection:
        rows = (await connection.execute(sa.select(tables.audit))).all()
    told = repr(rows) + repr(logged()) + repr([answer.body for answer in answers])
    assert "key.rotate" in told
    for secret in (made.json["secret"], rotated.json["secret"]):
        assert secret not in told
        assert secret[8:30] not in told
        assert SECRET.digest(secret).hex() not in told


async def test_keys_are_listed_of_all_of_a_user_and_of_nobody(window):
    user = await create_user(window.desk.database, name="Ada")
    _, hers = await make(window, user_id=user.id)
    _, nobodys = await make(window)
    _, operators = await make(window, role=KeyRole.OPERATOR)

    async def listed(query=""):
        return {one["id"] for one in (await window.get("/keys", query)).json["keys"]}

    assert await listed() == {hers.id, nobodys.id, operators.id}
    assert await listed(f"user={user.id}") == {hers.id}
    assert await listed("user=") == {nobodys.id, operators.id}
    assert (await window.get("/keys", "user=usr_none")).status == 404
    assert (await window.get("/keys", "user=%00")).status == 404


async def test_what_was_spent_and_what_caps_leave_is_told_as_the_limits_count_it(window):
    caps = Caps(day=TICKS_PER_USD, total=2 * TICKS_PER_USD)
    _, key = await make(window, grant=KeyGrant(caps=caps))
    async with window.desk.database.transaction() as connection:
        ticks = 3 * TICKS_PER_USD
        entry = Entry("charge:1", 1, "charge", "house", "sales", ticks, "", key.id, "", "")
        await enter(connection, [entry], [Move(f"spend:{key.id}:total", -ticks)])

    told = (await window.get(f"/keys/{key.id}")).json

    assert told["left"] == {**NO_CAPS, "day": "1", "total": "0"}


async def test_an_operators_key_has_no_bounds_and_no_user(window):
    user = await create_user(window.desk.database, name="Ada")
    made = await window.post("/keys", {"name": "ops", "role": "operator"})
    path = f"/keys/{made.json['key']['id']}"
    refused = [
        await window.post("/keys", {"name": "x", "role": "operator", "user_id": user.id}),
        await window.post("/keys", {"name": "x", "role": "operator", "models": ["a"]}),
        await window.post("/keys", {"name": "x", "role": "operator", "is_provisioning": True}),
        await window.ask("PATCH", path, body={"caps": {"day": 1}}),
    ]

    assert made.json["secret"].startswith("adm-")
    params = [(one.status, one.error["param"]) for one in refused]
    assert params == [(400, name) for name in ("user_id", "models", "is_provisioning", "caps")]


@pytest.mark.parametrize("field", ["user_id", "role", "is_provisioning", "hint", "digest", "user"])
async def test_what_cannot_change_of_a_key_is_an_unknown_field(window, field):
    _, key = await make(window)

    answer = await window.ask("PATCH", f"/keys/{key.id}", body={field: "x"})

    assert (answer.status, answer.error["param"]) == (400, field)
    assert await find_key(window.desk.database, key.id) == key


@pytest.mark.parametrize("trick", ["-1", "true", '"1e3"', '"NaN"', "9223372036854775808", '""'])
@pytest.mark.parametrize(
    "field", ["caps.day", "caps.week", "caps.month", "caps.total", "rates.requests", "rates.tokens"]
)
async def test_number_tricks_are_refused_in_every_cap_and_rate(window, field, trick):
    _, key = await make(window)
    outer, _, inner = field.partition(".")
    body = f'{{"{outer}": {{"{inner}": {trick}}}}}'.encode()

    answer = await window.ask("PATCH", f"/keys/{key.id}", body=body)

    assert (answer.status, answer.error["param"]) == (400, field)
    assert await find_key(window.desk.database, key.id) == key


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\0"}, "name"),
        ({"models": [""]}, "models"),
        ({"endpoints": ["all"]}, "endpoints"),
        ({"ips": ["10.0.0.0/40"]}, "ips"),
        ({"tags": ["x" * 65]}, "tags"),
        ({"expires_at": 1}, "expires_at"),
        ({"expires_at": 2**63}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": True}, "expires_at"),
        ({"disabled": "yes"}, "disabled"),
        ({"caps": {"year": 1}}, "caps.year"),
    ],
)
async def test_what_no_key_can_have_is_refused_and_named(window, body, param):
    _, key = await make(window)

    answer = await window.ask("PATCH", f"/keys/{key.id}", body=body)

    assert (answer.status, answer.error["param"]) == (400, param)
    assert await find_key(window.desk.database, key.id) == key


@pytest.mark.parametrize("grace", ["-1", "true", "1.5", '"60"', "7776001"])
async def test_a_grace_that_is_none_is_refused(window, grace):
    _, key = await make(window)

    answer = await window.post(f"/keys/{key.id}/rotate", f'{{"grace_s": {grace}}}'.encode())

    assert (answer.status, answer.error["param"]) == (400, "grace_s")


@pytest.mark.parametrize(
    ("method", "below"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/enable"),
        ("POST", "/disable"),
    ],
)
@pytest.mark.parametrize("key_id", ["key_none", "\0", "x" * 3_000])
async def test_a_key_that_is_not_there_is_not_found(window, method, below, key_id):
    body = {"name": "x"} if method == "PATCH" else b""

    answer = await window.ask(method, f"/keys/{key_id}{below}", body=body)

    assert (answer.status, answer.error["code"]) == (404, "key_not_found")


async def test_a_hundred_thousand_keys_are_paged_through_fast(window):
    rows = [
        {
            "id": f"key_{number:06d}",
            "name": "bulk",
            "role": "caller",
            "digest": number.to_bytes(32, "big"),
            "hint": "abcd",
            "created_ms": 1,
        }
        for number in range(100_000)
    ]
    async with window.desk.database.transaction(timeout_s=60) as connection:
        await connection.execute(sa.insert(tables.keys), rows)

    began = time.monotonic()
    first = (await window.get("/keys", "limit=500")).json
    last = (await window.get("/keys", "limit=500&after=key_099499")).json
    took_s = time.monotonic() - began

    assert first["next"] == "key_000499"
    assert [one["id"] for one in last["keys"]] == [f"key_{n:06d}" for n in range(99_500, 100_000)]
    assert not last["has_more"]
    assert took_s < 3
