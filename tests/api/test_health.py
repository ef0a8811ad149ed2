import pytest

from groxy import __version__
from groxy.state._base import CoolDown
from tests.inprocess import application, ask


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/api/v1/health"])
async def test_a_living_process_says_ok_without_a_key(tmp_path, path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", path, key=None)

    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/meta", "/"])
async def test_the_version_is_told(tmp_path, path):
    async with application(tmp_path) as app:
        assert (await ask(app, "GET", path, key=None)).json["version"] == __version__


async def test_a_gateway_that_can_serve_is_ready(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", "/ready", key=None)

    assert answer.status == 200
    assert answer.json["checks"] == {"store": "ok", "state": "ok", "accounts": "ok"}


async def test_a_gateway_whose_accounts_all_rest_is_not_ready_and_says_why(tmp_path):
    async with application(tmp_path) as app:
        rest = CoolDown(until=app.directory.now() + 60, reason="upstream_auth_failed")
        for account in app.directory.accounts:
            await app.state.cool(account.id, rest)
        app.directory.take_shared(await app.state.cooling())
        answer = await ask(app, "GET", "/ready", key=None)

    assert answer.status == 503
    assert answer.json["checks"]["accounts"] != "ok"


async def test_metrics_count_what_was_served(tmp_path):
    body = {"model": "grok-4", "messages": [{"role": "user", "content": "hi"}]}
    async with application(tmp_path) as app:
        await ask(app, "POST", "/v1/chat/completions", body=body)
        page = (await ask(app, "GET", "/metrics", key=None)).body.decode()

    assert 'groxy_requests_total{dialect="chat",outcome="ok"} 1.0' in page
    assert 'groxy_accounts{pool="heavy",state="active",upstream="sandbox"} 1.0' in page
