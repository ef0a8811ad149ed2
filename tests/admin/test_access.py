from urllib.parse import urlencode

import pytest

from groxy.admin.access import COMMAND_LINE, Operator, vouch
from groxy.store.sessions import close_session, open_session
from groxy.store.users import UserRole, UserStatus, create_user, update_user
from tests import inprocess
from tests.admin.window import ADMIN_KEY, CALLER_KEY, ask, opened
from tests.routing.fleet import account

EVERY_PATH = ["/verify", "/status", "/config", "/requests", "/audit", "/nowhere", "/cache/list"]


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path, account()) as it:
        yield it


async def test_a_key_is_taken_as_bearer_as_x_api_key_and_from_the_address(window):
    bearer = await window.get("/verify")
    plain = await window.get("/verify", key=None, headers=[("x-api-key", ADMIN_KEY)])
    query = await window.get("/verify", f"app_key={ADMIN_KEY}", key=None)

    assert [bearer.status, plain.status, query.status] == [200, 200, 200]
    assert bearer.json == {"status": "success"}


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_nothing_is_reached_without_a_key(window, method, path):
    answer = await window.ask(method, path, key=None)

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", [CALLER_KEY, "adm-wrong", "", " ", "ä", "x" * 5000])
async def test_any_other_key_is_refused(window, key):
    header = await window.get("/verify", key=None, headers=[("x-api-key", key)])
    query = await window.get("/verify", urlencode({"app_key": key}), key=None)

    assert (header.status, query.status) == (401, 401)


async def test_two_different_keys_are_refused_and_the_same_one_twice_is_not(window):
    right, wrong = ADMIN_KEY, "adm-other"
    different = [
        await window.get("/verify", f"app_key={wrong}"),
        await window.get("/verify", headers=[("x-api-key", wrong)]),
        await window.get("/verify", f"app_key={right}&app_key={wrong}", key=None),
    ]
    same = await window.get(
        "/verify", f"app_key={right}&app_key={right}", headers=[("x-api-key", right)]
    )

    assert [answer.status for answer in different] == [401, 401, 401]
    assert "different keys" in different[0].error["message"]
    assert same.status == 200


async def test_a_header_that_is_sent_twice_with_different_keys_is_refused(window):
    twice = [("x-api-key", ADMIN_KEY), ("x-api-key", "other")]
    answer = await window.get("/verify", key=None, headers=twice)

    assert answer.status == 401


async def test_the_address_can_be_switched_off(tmp_path):
    async with opened(tmp_path, account(), takes_key_in_query=lambda: False) as window:
        query = await window.get("/verify", f"app_key={ADMIN_KEY}", key=None)
        both = await window.get("/verify", "app_key=adm-something-else")

    assert query.status == 401
    assert "admin.query_key" in query.error["message"]
    assert both.status == 200


@pytest.mark.parametrize("name", ["app_key", "%61pp_key", "app%5Fkey"])
async def test_a_key_in_the_address_is_gone_from_the_scope_before_anything_reads_it(window, name):
    seen = []

    async def app(scope, receive, send):
        try:
            await window.app(scope, receive, send)
        finally:
            seen.append(scope["query_string"])

    path = "/admin/api/requests"
    good = await ask(app, "GET", path, key=None, query=f"limit=3&{name}={ADMIN_KEY}&model=ä%20b")
    bad = await ask(app, "GET", path, key=None, query=f"{name}={ADMIN_KEY}-wrong")

    assert (good.status, bad.status) == (200, 401)
    assert seen == ["limit=3&model=ä%20b".encode(), b""]


async def test_a_key_in_the_address_is_in_no_answer_log_line_or_audit_entry(window, logged):
    wrong = ADMIN_KEY + "-wrong"
    answers = [
        await window.get("/nowhere", f"app_key={ADMIN_KEY}", key=None),
        await window.get("/requests", f"limit=0&app_key={ADMIN_KEY}", key=None),
        await window.get("/verify", f"app_key={wrong}", key=None),
        await window.post(
            "/cache/clear", {"type": "image"}, query=f"app_key={ADMIN_KEY}", key=None
        ),
    ]

    assert [answer.status for answer in answers] == [404, 400, 401, 200]
    told = b"".join(answer.body for answer in answers)
    told += repr(logged()).encode() + repr(await window.audit()).encode()
    assert ADMIN_KEY.encode() not in told


async def test_who_asks_and_in_which_request_is_in_the_audit(window):
    answer = await window.post("/cache/clear", {"type": "video"})

    (line,) = await window.audit()
    assert line.actor == "settings-admin (settings-admin)"
    assert line.request_id == answer.headers["x-request-id"]


async def test_open_mode_for_callers_opens_nothing_here(tmp_path):
    async with inprocess.application(tmp_path, app__api_key="") as app:
        without = await inprocess.ask(app, "GET", "/admin/api/verify", key=None)
        right = await inprocess.ask(app, "GET", "/admin/api/verify", key=inprocess.ADMIN_KEY)

    assert (without.status, right.status) == (401, 200)


async def test_a_command_of_this_process_needs_no_key_and_is_named_in_the_audit(tmp_path):
    async with inprocess.application(tmp_path) as app:

        async def vouched(scope, receive, send):
            vouch(scope)
            await app(scope, receive, send)

        cleared = await inprocess.ask(
            vouched, "POST", "/admin/api/cache/clear", body={"type": "video"}, key=None
        )
        audit = await inprocess.ask(vouched, "GET", "/admin/api/audit", key=None)

    assert (cleared.status, audit.status) == (200, 200)
    assert "command line" in audit.json["audit"][0]["actor"]
    assert audit.json["audit"][0]["request_id"] == cleared.headers["x-request-id"]


@pytest.mark.parametrize("claim", ["command line", COMMAND_LINE.key_id, True, {"key_id": "x"}])
async def test_what_a_client_could_say_of_itself_vouches_for_nothing(tmp_path, claim):
    async with inprocess.application(tmp_path) as app:

        async def claiming(scope, receive, send):
            scope["groxy.operator"] = claim
            await app(scope, receive, send)

        in_scope = await inprocess.ask(claiming, "GET", "/admin/api/verify", key=None)
        in_header = await inprocess.ask(
            app, "GET", "/admin/api/verify", key=None, headers={"groxy.operator": str(claim)}
        )

    assert (in_scope.status, in_header.status) == (401, 401)


async def test_an_operator_that_is_not_the_command_line_is_not_believed_either(tmp_path):
    async with inprocess.application(tmp_path) as app:

        async def claiming(scope, receive, send):
            scope["groxy.operator"] = Operator(key_id="command-line", name="command line")
            await app(scope, receive, send)

        answer = await inprocess.ask(claiming, "GET", "/admin/api/verify", key=None)

    assert answer.status == 401


# -------------------------------------------------------------------------------------- sessions


async def somebody(window, role=UserRole.ADMIN):
    """Open a session of a user of a role."""
    user = await create_user(window.desk.database, name="Grace", role=role)
    token = await open_session(window.desk.database, window.desk.secret, user.id, ttl_ms=60_000)
    return user, token


async def test_a_logged_in_admin_is_an_operator_by_token_and_by_cookie(window):
    user, token = await somebody(window)
    cookie = [("cookie", f"a=b; groxy_session={token}")]

    bearer = await window.get("/verify", key=token)
    plain = await window.get("/verify", key=None, headers=[("x-api-key", token)])
    browser = await window.get("/verify", key=None, headers=cookie)
    cleared = await window.post("/cache/clear", {"type": "video"}, key=token)

    assert [one.status for one in (bearer, plain, browser, cleared)] == [200, 200, 200, 200]
    (line,) = await window.audit()
    assert line.actor == f"Grace ({user.id})"


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_any_other_user_is_forbidden_everything_here(window, method, path):
    _, token = await somebody(window, UserRole.USER)

    answers = [
        await window.ask(method, path, key=token),
        await window.ask(
            method,
            path,
            key=None,
            headers=[("cookie", f"groxy_session={token}"), ("x-groxy-csrf", "1")],
        ),
    ]

    assert [(one.status, one.error["code"]) for one in answers] == [(403, "forbidden")] * 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 403),
        ([("x-groxy-csrf", "1")], 200),
        ([("origin", "http://testserver")], 200),
        ([("referer", "https://testserver/console/keys")], 200),
        ([("origin", "https://evil.example")], 403),
        ([("origin", "null"), ("referer", "https://testserver/")], 403),
    ],
)
async def test_a_cookie_alone_changes_nothing(window, headers, status):
    _, token = await somebody(window)
    cookie = ("cookie", f"groxy_session={token}")

    answer = await window.post(
        "/cache/clear", {"type": "video"}, key=None, headers=[cookie, *headers]
    )

    assert answer.status == status
    assert len(await window.audit()) == {200: 1, 403: 0}[status]


async def test_a_session_that_is_over_opens_nothing(window):
    user, token = await somebody(window)
    _, other = await somebody(window)
    await close_session(window.desk.database, window.desk.secret, other)
    await update_user(window.desk.database, user.id, {"status": UserStatus.DISABLED})

    for gone in (token, other, "ses_", "ses_never", "ses_" + "x" * 5_000, "ses_ä"):
        answer = await window.get("/verify", key=gone)
        assert answer.status == 401


async def test_a_session_is_not_taken_from_the_address(window):
    _, token = await somebody(window)

    assert (await window.get("/verify", f"app_key={token}", key=None)).status == 401


async def test_an_admin_who_becomes_a_user_is_shut_out_at_once(window):
    user, token = await somebody(window)
    await update_user(window.desk.database, user.id, {"role": UserRole.USER})

    assert (await window.get("/verify", key=token)).status == 403
