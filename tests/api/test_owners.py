import pytest

from groxy.api.owners import Registry, nothing_to_load
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import KeyGrant, Plan, PlanGrant, Rates
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.store.database import Database
from groxy.store.plans import create_plan
from groxy.store.secrets import InstallationSecret
from groxy.store.sessions import open_session
from groxy.store.users import create_user

SECRET = InstallationSecret(b"s" * 32)
RATES = Rates(requests=5)


@pytest.fixture
async def registry(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    keyring = Keyring(SECRET.digest)
    plan = Plan(id="plan_1", grant=PlanGrant(key_rates=RATES))
    keyring.replace(
        KnownKey(
            digest=SECRET.digest(f"sk-{name}"),
            caller=Caller(
                key_id=name,
                name=name,
                user_id="usr_of_a_key",
                plan=plan,
                grant=KeyGrant(is_provisioning=name == "provisioning"),
            ),
        )
        for name in ("plain", "provisioning")
    )

    async def ask(claim):
        raise AssertionError("nobody logs in here")

    yield Registry(
        keyring=keyring, database=database, secret=SECRET, ask=ask, app_url=lambda: "https://a.b"
    )
    await database.close()


def scope(key, method="GET", path="/v1/keys", **headers):
    given = {"host": "groxy", **headers} | ({"authorization": f"Bearer {key}"} if key else {})
    return {
        "method": method,
        "path": path,
        "client": ("1.2.3.4", 1),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


async def test_a_session_is_its_user_with_their_plan(registry):
    plan = await create_plan(
        registry.database, name="P", grant=PlanGrant(key_rates=RATES), is_default=True
    )
    user = await create_user(registry.database, name="Ada")
    token = await open_session(registry.database, SECRET, user.id, ttl_ms=60_000)

    owner = await registry.owner(scope(token))

    assert (owner.user_id, owner.is_session, owner.plan) == (user.id, True, plan.grant)
    assert (await registry.session(scope(token))).user == user


async def test_a_provisioning_key_is_its_user_with_their_plan(registry):
    owner = await registry.owner(scope("sk-provisioning"))

    assert (owner.user_id, owner.is_session) == ("usr_of_a_key", False)
    assert owner.plan.key_rates == RATES


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("sk-plain", ErrorKind.FORBIDDEN),
        ("sk-wrong", ErrorKind.BAD_KEY),
        ("ses_wrong", ErrorKind.BAD_KEY),
        (None, ErrorKind.BAD_KEY),
    ],
)
async def test_nobody_else_owns_anything(registry, key, kind):
    with pytest.raises(GroxyError) as caught:
        await registry.owner(scope(key))

    assert caught.value.kind is kind


async def test_a_plain_key_owns_nothing_even_where_its_path_is_not_checked(registry):
    with pytest.raises(GroxyError) as caught:
        await registry.owner(scope("sk-plain", path="/v1/models"))

    assert caught.value.code == "key_scope"


async def test_a_key_is_no_session(registry):
    for key in ("sk-provisioning", "sk-plain", None):
        with pytest.raises(GroxyError) as caught:
            await registry.session(scope(key))
        assert caught.value.code == "invalid_session"


async def test_the_address_of_the_gateway_is_our_own(registry):
    user = await create_user(registry.database, name="Ada")
    token = await open_session(registry.database, SECRET, user.id, ttl_ms=60_000)
    cookie = {"cookie": f"groxy_session={token}"}

    owner = await registry.owner(scope(None, "POST", **cookie, origin="https://a.b"))

    assert owner.user_id == user.id
    with pytest.raises(GroxyError):
        await registry.owner(scope(None, "POST", **cookie, origin="https://b.a"))


async def test_a_plan_that_is_gone_gives_way_to_the_default_one(registry):
    user = await create_user(registry.database, name="Ada")
    assert await registry.plan_of(user) is None
    plan = await create_plan(registry.database, name="P", is_default=True)

    assert await registry.plan_of(user) == plan
    await nothing_to_load()
