"""The running application: how it starts and stops, and what it notices meanwhile."""

import asyncio
import json
import time
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Status
from groxy.state._base import CoolDown
from groxy.store.accounts import add_account, remove_account
from groxy.store.database import Database
from groxy.store.entries import last_requests
from groxy.store.keys import KeyRole, create_key, revoke_key
from groxy.store.secrets import InstallationSecret
from tests.awake import awake_s
from tests.inprocess import KEY, application, ask

URL = "sqlite+aiosqlite:///groxy.db"


@pytest.fixture
async def elsewhere(tmp_path):
    """The same data folder, as another process has it open."""
    database = await Database.open(URL, tmp_path)
    yield database, InstallationSecret.of(tmp_path)
    await database.close()


async def within_a_second(check):
    """Wait until `check` is true; it must be so within the second that is promised."""
    ends_at = awake_s() + 1.0
    while not await check():
        assert awake_s() < ends_at, "it took longer than a second"
        await asyncio.sleep(0.01)


def chat(text="Hi", **fields):
    return {"model": "grok-4.3", "messages": [{"role": "user", "content": text}]} | fields


async def said(app):
    answer = await ask(app, "POST", "/v1/chat/completions", body=chat())
    return answer.json["choices"][0]["message"]["content"] if answer.status == 200 else ""


async def stored(account, database, secret):
    """Add an account at the sandbox; it needs no network and can be told by its id."""
    return await add_account(
        database,
        secret,
        name=account,
        upstream="sandbox",
        pool="heavy",
        base_url="",
        api_key="",
        options={},
    )


# ------------------------------------------------------------------- what other processes change


async def test_a_key_made_elsewhere_works_within_a_second(tmp_path, elsewhere):
    async with application(tmp_path) as app:
        key, _ = await create_key(*elsewhere, name="new", role=KeyRole.CALLER)

        async def works():
            return (await ask(app, "GET", "/v1/models", key=key)).status == 200

        await within_a_second(works)


async def test_a_key_revoked_elsewhere_is_refused_within_a_second(tmp_path, elsewhere):
    key, made = await create_key(*elsewhere, name="old", role=KeyRole.CALLER)
    async with application(tmp_path) as app:
        assert (await ask(app, "GET", "/v1/models", key=key)).status == 200
        await revoke_key(elsewhere[0], made.id)

        async def is_refused():
            return (await ask(app, "GET", "/v1/models", key=key)).status == 401

        await within_a_second(is_refused)


async def test_a_revoked_key_is_refused_after_a_start_too(tmp_path, elsewhere):
    key, made = await create_key(*elsewhere, name="old", role=KeyRole.CALLER)
    await revoke_key(elsewhere[0], made.id)

    async with application(tmp_path) as app:
        assert (await ask(app, "GET", "/v1/models", key=key)).status == 401


async def test_callers_keys_and_operators_keys_open_their_own_doors_only(tmp_path, elsewhere):
    caller, _ = await create_key(*elsewhere, name="c", role=KeyRole.CALLER)
    operator, _ = await create_key(*elsewhere, name="o", role=KeyRole.OPERATOR)

    async with application(tmp_path) as app:
        for key, models, verify in ((caller, 200, 401), (operator, 401, 200)):
            assert (await ask(app, "GET", "/v1/models", key=key)).status == models
            assert (await ask(app, "GET", "/admin/api/verify", key=key)).status == verify


async def test_an_account_added_elsewhere_serves_and_the_sandbox_leaves(tmp_path, elsewhere):
    async with application(tmp_path) as app:
        assert [account.id for account in app.directory.accounts] == ["sandbox"]
        added = await stored("mine", *elsewhere)

        async def serves():
            return [account.id for account in app.directory.accounts] == [added.id]

        await within_a_second(serves)
        assert await said(app)


async def test_the_sandbox_returns_when_the_last_account_is_removed(tmp_path, elsewhere):
    await stored("mine", *elsewhere)
    async with application(tmp_path) as app:
        await remove_account(elsewhere[0], "mine")

        async def is_back():
            return [account.id for account in app.directory.accounts] == ["sandbox"]

        await within_a_second(is_back)


async def test_an_account_that_goes_is_forgotten_after_its_last_request(tmp_path, elsewhere):
    await stored("mine", *elsewhere)
    async with application(tmp_path) as app:
        (account,) = app.directory.accounts
        account.in_flight += 1
        await remove_account(elsewhere[0], "mine")
        await app.load_changes()
        assert app.loader.leaving == [account]

        account.in_flight -= 1

        async def is_forgotten():
            return app.loader.leaving == []

        await within_a_second(is_forgotten)


async def test_a_change_made_while_it_was_being_loaded_is_not_missed(
    tmp_path, elsewhere, monkeypatch
):
    async with application(tmp_path) as app:
        made: list[Any] = []
        load_keys = app.loader.load_keys

        async def load_and_be_overtaken():
            await load_keys()
            if not made:
                made.append(await create_key(*elsewhere, name="late", role=KeyRole.CALLER))

        monkeypatch.setattr(type(app.loader), "load_keys", lambda _self: load_and_be_overtaken())
        await create_key(*elsewhere, name="first", role=KeyRole.CALLER)
        await app.load_changes()
        await app.load_changes()

        ((key, _),) = made
        assert (await ask(app, "GET", "/v1/models", key=key)).status == 200


async def test_what_did_not_change_is_not_loaded_again(tmp_path, monkeypatch):
    async with application(tmp_path) as app:
        loaded = []

        async def note():
            loaded.append(1)

        monkeypatch.setattr(type(app.loader), "load_keys", lambda _self: note())
        await app.load_changes()

        assert loaded == []


async def test_a_database_that_fails_for_a_while_stops_no_one(tmp_path, elsewhere, monkeypatch):
    async with application(tmp_path) as app:
        revisions = app.database.revisions

        async def fail():
            raise GroxyError(ErrorKind.STORE_DOWN, "Down.")

        monkeypatch.setattr(app.database, "revisions", fail)
        await asyncio.sleep(0.6)
        assert await said(app)
        monkeypatch.setattr(app.database, "revisions", revisions)
        key, _ = await create_key(*elsewhere, name="new", role=KeyRole.CALLER)

        async def works():
            return (await ask(app, "GET", "/v1/models", key=key)).status == 200

        await within_a_second(works)


# --------------------------------------------------------------------------------- shared state


async def test_a_rest_that_another_process_began_is_kept_here(tmp_path):
    async with application(tmp_path) as app:
        rest = CoolDown(until=time.time() + 60, reason=ErrorKind.UPSTREAM_LIMITED.value)
        await app.state.cool("sandbox", rest)

        async def rests():
            (account,) = app.directory.accounts
            return account.status(app.directory.now()) is Status.COOLING

        await within_a_second(rests)
        answer = await ask(app, "POST", "/v1/chat/completions", body=chat())
        assert answer.status == 429
        assert (await ask(app, "GET", "/ready")).status == 503


async def test_a_rest_that_began_here_is_told_to_the_others(tmp_path):
    plain = {"name": "a", "upstream": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"}
    async with application(tmp_path, accounts=[plain]) as app:
        (account,) = app.directory.accounts
        app.directory.note_failure(account, GroxyError(ErrorKind.UPSTREAM_AUTH, "Wrong key."))

        async def is_known():
            return "a" in await app.state.cooling()

        await within_a_second(is_known)


# ------------------------------------------------------------------------------- start and stop


async def test_an_account_that_cannot_work_refuses_the_start_and_leaves_nothing_open(tmp_path):
    with pytest.raises(GroxyError) as caught:
        async with application(
            tmp_path,
            accounts=[{"name": "a", "upstream": "sandbox", "options": {"tokens_per_s": "fast"}}],
        ):
            raise AssertionError("it started")

    assert "tokens_per_s" in caught.value.message


async def test_an_account_that_comes_in_broken_stops_no_one(tmp_path, elsewhere):
    """Another version of the command line, or of an upstream, may have stored it."""
    async with application(tmp_path) as app:
        await add_account(
            *elsewhere,
            name="odd",
            upstream="sandbox",
            pool="heavy",
            base_url="",
            api_key="",
            options={"tokens_per_s": "fast"},
        )
        await asyncio.sleep(0.7)

        assert await said(app)


async def test_stopping_waits_for_open_requests_and_enters_them(tmp_path, elsewhere):
    async with application(tmp_path) as app:
        body = chat("[[sandbox: slow_first=0.5]]")
        asking = asyncio.ensure_future(ask(app, "POST", "/v1/chat/completions", body=body))
        await asyncio.sleep(0.1)
        assert len(app.open_requests) == 1

    assert (await asking).status == 200
    (row,) = await last_requests(elsewhere[0], 10)
    assert row.outcome == "ok"


async def test_what_outlives_the_grace_is_ended_and_entered(tmp_path, elsewhere):
    began = time.monotonic()
    async with application(tmp_path, server__shutdown_grace_s=0.2) as app:
        body = chat("[[sandbox: slow_first=50]]")
        asking = asyncio.ensure_future(ask(app, "POST", "/v1/chat/completions", body=body))
        await asyncio.sleep(0.1)

    assert time.monotonic() - began < 5
    answer = await asking
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    (row,) = await last_requests(elsewhere[0], 10)
    assert (row.outcome, row.cost_ticks) == ("internal_error", 0)


async def test_a_crash_of_the_server_around_it_still_enters_what_was_asked(tmp_path, elsewhere):
    async def crash():
        async with application(tmp_path) as app:
            await said(app)
            raise RuntimeError("the server broke")

    with pytest.raises(ExceptionGroup):
        await crash()

    assert len(await last_requests(elsewhere[0], 10)) == 1


async def test_two_starts_one_after_the_other_share_everything(tmp_path):
    async with application(tmp_path, app__api_key="sk-a") as app:
        key, _ = await create_key(app.database, app.secret, name="k", role=KeyRole.CALLER)
    async with application(tmp_path, app__api_key="sk-b") as app:
        assert (await ask(app, "GET", "/v1/models", key=key)).status == 200
        assert (await ask(app, "GET", "/v1/models", key="sk-a")).status == 401


async def test_limits_of_the_settings_reach_the_gateway(tmp_path):
    async with application(
        tmp_path, features__stream=True, attempts__idle_timeout_s=7.0, streams__keepalive_s=3.0
    ) as app:
        answer = await ask(app, "POST", "/v1/chat/completions", body=chat())

        assert answer.headers["content-type"].startswith("text/event-stream")
        deadlines = app.gateway.limits.deadlines
        assert (deadlines.idle_s, deadlines.keepalive_s) == (7.0, 3.0)


async def test_an_asgi_server_may_send_a_body_in_any_pieces(tmp_path):
    content = json.dumps(chat()).encode()
    pieces = [content[at : at + 7] for at in range(0, len(content), 7)]
    sent = []

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    async with application(tmp_path, app__api_key="") as app:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": [],
        }
        await app(scope, receive, send)

    assert sent[0]["status"] == 200


async def test_who_waits_for_a_client_that_has_gone_is_ended_with_the_grace(tmp_path):
    async with application(tmp_path) as app:
        headers = [(b"authorization", f"Bearer {KEY}".encode())]
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
        scope |= {"root_path": "", "query_string": b"", "headers": headers}

        async def silence() -> Any:
            await asyncio.Event().wait()

        waiting = asyncio.ensure_future(app(scope, silence, lambda _: asyncio.sleep(0)))
        await asyncio.sleep(0.05)
        assert len(app.open_requests) == 1

        async with asyncio.timeout(5):
            await app.drain(0.1)

        assert not app.open_requests
        await asyncio.wait([waiting])
