"""Which keys work, and as whose, after something changed in the store."""

import pytest

from groxy.core.errors import GroxyError
from groxy.core.grants import KeyGrant, PlanGrant, Rates, UserGrant
from groxy.policy.access import group_of
from groxy.store import tables
from groxy.store.database import bump
from groxy.store.keys import (
    KEYS,
    KeyRole,
    create_key,
    revoke_key,
    rotate_key,
    update_key,
)
from groxy.store.plans import create_plan, delete_plan, update_plan
from groxy.store.users import UserStatus, create_user, update_user
from tests.awake import awake_s
from tests.inprocess import application, ask


@pytest.fixture
async def app(tmp_path):
    async with application(tmp_path) as running:
        yield running


async def new_key(app, **more):
    key, stored = await create_key(
        app.database, app.secret, name="theirs", role=KeyRole.CALLER, **more
    )
    await app.load_changes()
    return key, stored


def caller(app, key):
    return app.loader.callers.identify(None, key)


def refusal(app, key):
    with pytest.raises(GroxyError) as caught:
        caller(app, key)
    return caught.value.message


async def test_a_caller_has_what_key_user_and_plan_permit(app):
    plan = await create_plan(app.database, name="pro", grant=PlanGrant(markup_bp=500))
    grant = UserGrant(overdraft=5)
    user = await create_user(app.database, name="ada", plan_id=plan.id, grant=grant)
    key, stored = await new_key(
        app, user_id=user.id, grant=KeyGrant(models=("grok-4*",)), expires_ms=2**50
    )

    found = caller(app, key)

    assert (found.key_id, found.user_id, found.expires_ms) == (stored.id, user.id, 2**50)
    assert (found.grant, found.user) == (stored.grant, grant)
    assert (found.plan.id, found.plan.name, found.plan.grant) == (plan.id, "pro", plan.grant)
    assert app.loader.people.users[user.id] == user
    assert app.loader.people.plans[plan.id] == plan
    assert app.loader.people.plan_of(user.id) == found.plan


async def test_a_key_follows_its_user(app):
    user = await create_user(app.database, name="ada")
    key, _ = await new_key(app, user_id=user.id)
    other, _ = await new_key(app)

    await update_user(app.database, user.id, {"grant": UserGrant(overdraft=9)})
    await app.load_changes()
    assert caller(app, key).user.overdraft == 9

    await update_user(app.database, user.id, {"status": UserStatus.DISABLED})
    await app.load_changes()
    assert "user" in refusal(app, key)
    assert caller(app, other).user_id == ""

    await update_user(app.database, user.id, {"status": UserStatus.ACTIVE})
    await app.load_changes()
    assert caller(app, key).user.overdraft == 9


async def test_a_key_follows_its_plan_and_the_default_one(app):
    user = await create_user(app.database, name="ada")
    key, _ = await new_key(app, user_id=user.id)
    operators, _ = await new_key(app)
    assert caller(app, key).plan.id == ""

    default = await create_plan(app.database, name="free", is_default=True)
    await app.load_changes()
    assert caller(app, key).plan.id == default.id
    assert caller(app, operators).plan.id == ""

    grant = PlanGrant(user_rates=Rates(requests=3))
    await update_plan(app.database, default.id, {"grant": grant})
    await app.load_changes()
    assert caller(app, key).plan.grant == grant

    own = await create_plan(app.database, name="pro")
    await update_user(app.database, user.id, {"plan_id": own.id})
    await app.load_changes()
    assert caller(app, key).plan.id == own.id

    await delete_plan(app.database, default.id)
    await app.load_changes()
    assert set(app.loader.people.plans) == {own.id}


async def test_a_disabled_and_a_rotated_and_a_revoked_key(app):
    key, stored = await new_key(app)
    await update_key(app.database, stored.id, {"disabled": True})
    await app.load_changes()
    assert "disabled" in refusal(app, key)

    await update_key(app.database, stored.id, {"disabled": False, "suspended": True})
    await app.load_changes()
    assert "operator" in refusal(app, key)

    await update_key(app.database, stored.id, {"suspended": False})
    newer, _ = await rotate_key(app.database, app.secret, stored.id, grace_ms=60_000)
    await app.load_changes()
    assert caller(app, key) == caller(app, newer)

    newest, _ = await rotate_key(app.database, app.secret, stored.id, grace_ms=0)
    await app.load_changes()
    for old in (key, newer):
        assert "not valid" in refusal(app, old)
    assert caller(app, newest).key_id == stored.id

    await revoke_key(app.database, stored.id)
    await app.load_changes()
    assert "not valid" in refusal(app, newest)


async def test_a_revoked_key_stays_out_when_its_user_changes(app):
    user = await create_user(app.database, name="ada")
    key, stored = await new_key(app, user_id=user.id)
    kept, _ = await new_key(app, user_id=user.id)
    await revoke_key(app.database, stored.id)
    await app.load_changes()
    await update_user(app.database, user.id, {"grant": UserGrant(overdraft=9)})
    await app.load_changes()

    assert "not valid" in refusal(app, key)
    assert caller(app, kept).user.overdraft == 9


async def test_a_key_of_the_operator_opens_the_other_door_alone(app):
    key, stored = await create_key(app.database, app.secret, name="n", role=KeyRole.OPERATOR)
    await app.load_changes()

    assert app.loader.operators.identify(None, key).key_id == stored.id
    assert "not valid" in refusal(app, key)
    assert (await ask(app, "GET", "/v1/models", key=key)).status == 401
    caller_key, _ = await new_key(app)
    answer = await ask(app, "GET", "/admin/api/status", key=caller_key)
    assert answer.status == 401

    await revoke_key(app.database, stored.id)
    await app.load_changes()
    with pytest.raises(GroxyError):
        app.loader.operators.identify(None, key)


async def test_a_change_is_read_alone_among_many(app):
    count = 20_000
    user = await create_user(app.database, name="ada")
    rows = [
        {
            "id": f"key_{n}",
            "name": "n",
            "role": "caller",
            "digest": app.secret.digest(f"sk-{n}"),
            "hint": "x",
            "created_ms": n,
            "revision": 1,
            "user_id": user.id,
        }
        for n in range(count)
    ]
    async with app.database.transaction(timeout_s=60) as connection:
        await connection.execute(tables.keys.insert(), rows)
        await bump(connection, KEYS)
    await app.load_changes()
    assert caller(app, f"sk-{count - 1}").user_id == user.id
    untouched = caller(app, "sk-5")

    began = awake_s()
    await update_key(app.database, "key_7", {"disabled": True})
    await app.load_changes()
    assert awake_s() - began < 0.5
    assert caller(app, "sk-5") is untouched
    assert "disabled" in refusal(app, "sk-7")

    await update_user(app.database, user.id, {"status": UserStatus.DISABLED})
    await app.load_changes()
    assert "user" in refusal(app, "sk-5")


async def test_when_the_store_went_back_all_is_read_again(app):
    key, stored = await new_key(app)
    gone, _ = await new_key(app)
    async with app.database.transaction() as connection:
        await connection.execute(tables.keys.delete().where(tables.keys.c.id != stored.id))
        await connection.execute(tables.keys.update().values(revision=1))
        await connection.execute(
            tables.revisions.update().where(tables.revisions.c.name == KEYS).values(value=1)
        )
    await app.load_changes()

    assert caller(app, key).key_id == stored.id
    assert "not valid" in refusal(app, gone)


async def test_keys_of_the_settings_have_no_user_and_no_bounds(app):
    found = caller(app, "sk-in-process")

    assert (found.user_id, found.grant, found.plan.id) == ("", KeyGrant(), "")


async def test_no_public_path_is_without_a_group_of_endpoints(app):
    """It would be closed to every key that is bound to groups. Webhooks ask for no key."""
    paths = {route.path for route in app.asgi._app._router.routes}
    public = {path for path in paths if path.startswith("/v1/")}
    without = {path for path in public if group_of(path) == ""}

    assert {"/v1/chat/completions", "/v1/keys", "/v1/credits"} <= public
    assert {path for path in without if not path.startswith("/v1/webhooks/")} == {"/v1/health"}
