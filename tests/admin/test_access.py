from urllib.parse import urlencode

import pytest

from groxy.admin.access import COMMAND_LINE, Operator, vouch
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
