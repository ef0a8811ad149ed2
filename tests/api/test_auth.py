import pytest

from groxy.api.attempts import OF_ADDRESS, OF_EMAIL
from groxy.store.keys import KeyRole, create_key, keys_of, revoke_key
from groxy.store.ledger import balances_of, user_side
from groxy.store.sessions import session_user
from groxy.store.users import UserStatus, find_user, update_user
from tests.api.household import PASSWORD, cookie, household


@pytest.fixture
async def house(tmp_path):
    async with household(tmp_path) as it:
        yield it


async def test_a_login_gives_a_token_a_user_and_a_cookie_that_no_script_can_read(house):
    answer = await house.login("ada@example.com")

    token = answer.json["token"]
    assert answer.status == 200
    assert answer.json["user"] == {
        "id": house.ada.id,
        "name": "Ada",
        "email": "ada@example.com",
        "role": "user",
        "status": "active",
        "plan": None,
        "balance": "0",
        "created_at": answer.json["user"]["created_at"],
    }
    assert answer.json["expires_at"].endswith("Z")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["set-cookie"] == (
        f"groxy_session={token}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax"
    )
    assert (await house.ask("GET", "/v1/user", key=token)).json["id"] == house.ada.id
    assert (await house.ask("GET", "/v1/user", headers=cookie(token))).json["id"] == house.ada.id


async def test_the_cookie_is_secure_where_browsers_come_over_https(tmp_path):
    async with household(tmp_path, app__app_url="https://groxy.example.com") as house:
        answer = await house.login("ada@example.com")

    assert answer.headers["set-cookie"].endswith("; Secure")


async def test_the_case_of_an_address_does_not_matter(house):
    assert (await house.login(" ADA@Example.COM ")).status == 200


async def test_every_login_that_fails_says_the_same(house):
    await update_user(house.app.database, house.ada.id, {"status": UserStatus.DISABLED})
    answers = [
        await house.login("ada@example.com"),
        await house.login("ada@example.com", "wrong password"),
        await house.login("bob@example.com", ""),
        await house.login("nobody@example.com"),
        await house.login("not an address\0"),
        await house.login("ada@example.com", "x" * 10_000),
    ]

    told = [{**answer.error} for answer in answers]
    assert {answer.status for answer in answers} == {401}
    assert all(one == told[0] for one in told)
    assert told[0]["code"] == "login_failed"


async def test_each_login_has_a_token_of_its_own_whatever_was_presented(house):
    planted = await house.session(house.bob)
    first = await house.login("ada@example.com", headers=cookie(planted))
    second = await house.login("ada@example.com", headers=cookie("ses_chosen-by-somebody"))

    tokens = {planted, "ses_chosen-by-somebody", first.json["token"], second.json["token"]}
    assert len(tokens) == 4
    chosen = await house.ask("GET", "/v1/user", key="ses_chosen-by-somebody")
    assert chosen.status == 401


@pytest.mark.parametrize("by_cookie", [True, False])
async def test_a_logout_ends_the_session_and_no_other(house, by_cookie):
    token, other = await house.session(house.ada), await house.session(house.ada)
    how = {"headers": {**cookie(token), "x-groxy-csrf": "1"}} if by_cookie else {"key": token}

    answer = await house.ask("POST", "/v1/auth/logout", **how)
    again = await house.ask("POST", "/v1/auth/logout", **how)

    assert (answer.status, again.status) == (200, 200)
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await house.ask("GET", "/v1/user", key=token)).status == 401
    assert (await house.ask("GET", "/v1/user", key=other)).status == 200


async def test_nobody_can_log_out_who_is_not_logged_in(house):
    answer = await house.ask("POST", "/v1/auth/logout")

    assert (answer.status, answer.error["code"]) == (401, "invalid_session")


async def test_another_site_can_neither_log_a_browser_out_nor_in(house):
    token = await house.session(house.ada)
    away = {"origin": "https://evil.example"}

    out = await house.ask("POST", "/v1/auth/logout", headers={**cookie(token), **away})
    into = await house.login("ada@example.com", headers=away)

    assert (out.status, out.error["code"]) == (403, "csrf_refused")
    assert (into.status, into.error["code"]) == (403, "csrf_refused")
    assert (await house.ask("GET", "/v1/user", key=token)).status == 200


async def test_guesses_at_one_address_are_few_and_the_right_password_does_not_help_then(house):
    statuses = [
        (await house.login("ada@example.com", f"guess {number}")).status
        for number in range(OF_EMAIL)
    ]
    late = await house.login("Ada@example.com")
    other = await house.login("bob@example.com")

    assert set(statuses) == {401}
    assert (late.status, late.error["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(late.headers["retry-after"]) <= 61
    assert other.status == 401


async def test_guesses_from_one_place_are_few_whatever_address_they_try(house, monkeypatch):
    tried = []

    async def nobody(database, email, password):
        tried.append(email)

    monkeypatch.setattr("groxy.api.auth.check_password", nobody)
    for number in range(OF_ADDRESS):
        await house.login(f"user{number}@example.com")
    late = await house.login("somebody-else@example.com")

    assert late.status == 429
    assert len(tried) == OF_ADDRESS


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"email": "ada@example.com"}', 400),
        (b'{"email": 1, "password": "x"}', 400),
        (b'{"email": ["ada@example.com"], "password": "x"}', 400),
        ({"email": "ada@example.com", "password": PASSWORD, "role": "admin"}, 400),
        (b'{"email": "' + b"a" * 100_000 + b'"}', 413),
        (b"[" * 60_000, 400),
    ],
)
async def test_a_body_that_is_no_login_is_refused(house, body, status):
    answer = await house.ask("POST", "/v1/auth/login", body)

    assert answer.status == status
    assert PASSWORD.encode() not in answer.body


async def test_no_password_or_token_is_logged(house, logged):
    answer = await house.login("ada@example.com")
    await house.login("ada@example.com", "a wrong password")
    await house.ask("POST", "/v1/auth/logout", key=answer.json["token"])

    told = repr(logged())
    assert "logged in" in told
    for secret in (PASSWORD, "a wrong password", answer.json["token"], "ada@example.com"):
        assert secret not in told


async def test_a_session_is_over_when_its_user_is_disabled(house):
    token = await house.session(house.ada)
    await update_user(house.app.database, house.ada.id, {"status": UserStatus.DISABLED})
    found = await session_user(house.app.database, house.app.secret, token)
    answer = await house.ask("GET", "/v1/user", key=token)

    assert found is None
    assert (answer.status, answer.error["code"]) == (401, "invalid_session")


# --------------------------------------------------------------------------- in the very moment


async def test_a_login_with_the_old_password_fails_when_it_changes_in_the_same_moment(
    house, monkeypatch
):
    async def changed(database, now_ms):
        await update_user(database, house.ada.id, {"password": "quite another one"})

    monkeypatch.setattr("groxy.api.auth.purge_sessions", changed)
    answer = await house.login("ada@example.com")

    assert (answer.status, answer.error["code"]) == (401, "login_failed")


# --------------------------------------------------------------------------- bodies that come late


CHAT = {"model": "grok-4.3", "messages": [{"role": "user", "content": "Hello"}]}
FORM = {"content-type": "multipart/form-data; boundary=x"}
FILE = (
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n'
    b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--x--\r\n'
)


@pytest.fixture
def _slow_at_once(monkeypatch):
    monkeypatch.setattr("groxy.wire.asgi.SLOW_BODY_S", 0.0)


@pytest.mark.usefixtures("_slow_at_once")
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/keys", {"name": "back door"}),
        ("PATCH", "/v1/user", {"email": "eve@example.com"}),
    ],
)
async def test_a_session_that_ends_before_the_body_is_there_changes_nothing(
    house, method, path, body
):
    stolen = await house.session(house.ada)

    async def thrown_out():
        await update_user(house.app.database, house.ada.id, {"password": "quite another one"})

    answer = await house.ask(method, path, body, key=stolen, meanwhile=thrown_out)

    assert (answer.status, answer.error["code"]) == (401, "invalid_session")
    assert (await find_user(house.app.database, house.ada.id)).email == "ada@example.com"
    assert await keys_of(house.app.database, house.ada.id) == []


@pytest.mark.usefixtures("_slow_at_once")
@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/chat/completions", CHAT, {}),
        ("/v1/messages", {**CHAT, "max_tokens": 9}, {}),
        ("/v1/responses", {"model": "grok-4.3", "input": "Hello"}, {}),
        ("/v1/images/generations", {"model": "grok-imagine-image", "prompt": "a cat"}, {}),
        ("/v1/files", FILE, FORM),
        ("/v1/quote", CHAT, {"idempotency-key": "once"}),
        ("/v1/chat/completions", CHAT, {"idempotency-key": "once"}),
    ],
)
async def test_a_key_that_is_revoked_before_the_body_is_there_gets_nothing(
    house, path, body, headers
):
    secret, key = await house.key("")

    async def revoked():
        await revoke_key(house.app.database, key.id)
        await house.app.loader.load_changes()

    early = await house.ask("POST", path, body, key=secret, headers=headers)
    late = await house.ask(
        "POST", path, body, key=secret, headers={**headers, "x": "y"}, meanwhile=revoked
    )

    assert (early.status, late.status) == (200, 401)


@pytest.mark.usefixtures("_slow_at_once")
async def test_an_operators_key_that_is_revoked_before_the_body_is_there_gives_nothing(house):
    secret, key = await create_key(
        house.app.database, house.app.secret, name="op", role=KeyRole.OPERATOR
    )
    await house.app.loader.load_changes()
    path = f"/admin/api/users/{house.bob.id}/credits"

    async def revoked():
        await revoke_key(house.app.database, key.id)
        await house.app.loader.load_changes()

    gift = {"usd": "5000", "reason": "x"}
    answer = await house.ask("POST", path, gift, key=secret, meanwhile=revoked)
    side = user_side(house.bob.id)

    assert answer.status == 401
    assert (await balances_of(house.app.database, [side]))[side][0] == 0
