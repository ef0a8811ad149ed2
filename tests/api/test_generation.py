"""What one request used and cost, for its caller alone."""

from typing import Any

import pytest

from groxy.core.amounts import usd_text
from groxy.core.grants import PlanGrant
from groxy.store.entries import last_requests
from groxy.store.plans import create_plan
from tests.api.conftest import OTHER_KEY
from tests.api.purses import USD, balance_of, give, person

HEADERS = {"x-title": "My application", "http-referer": "https://example.com"}
ASKS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello!"}]},
    "/v1/responses": {"input": "Hello!"},
    "/v1/messages": {"max_tokens": 99, "messages": [{"role": "user", "content": "Hello!"}]},
    "/v1/completions": {"prompt": "Hello!"},
}


@pytest.mark.parametrize("path", ASKS)
async def test_a_reply_is_found_by_its_own_id_and_its_request_id(asker, path):
    reply = await asker.post(path, ASKS[path] | {"model": "grok-4.3"}, headers=HEADERS)
    for asked in (reply.json["id"], reply.headers["x-request-id"]):
        answer = await asker.get("/api/v1/generation", query=f"id={asked}")
        found = answer.json["data"]
        assert found["request_id"] == reply.headers["x-request-id"]
        assert found["total_cost"] > 0
        assert found["app_title"] == "My application"
        assert found["http_referer"] == "https://example.com"
        assert found["finish_reason"] in ("stop", "length")


async def test_nobody_else_finds_it(asker):
    body = ASKS["/v1/responses"] | {"model": "grok-4.3"}
    reply = await asker.post("/v1/responses", body)
    query = f"id={reply.headers['x-request-id']}"
    assert (await asker.get("/v1/generation", query=query, key=OTHER_KEY)).status == 404


async def test_no_account_is_named(asker):
    reply = await asker.post("/v1/completions", ASKS["/v1/completions"] | {"model": "grok-4.3"})
    answer = await asker.get("/v1/generation", query=f"id={reply.json['id']}")
    assert b"sandbox" not in answer.body


@pytest.mark.parametrize(("query", "status"), [("", 400), ("id=", 400), ("id=gen-1", 404)])
async def test_a_wrong_id_is_told(asker, query, status):
    answer = await asker.get("/v1/generation", query=query)
    assert (answer.status, answer.error["param"]) == (status, "id")


async def test_who_pays_is_told_what_was_charged_and_not_what_it_cost(asker):
    app = asker.app
    plan = await create_plan(app.database, name="dear", grant=PlanGrant(markup_bp=5_000))
    ada = await person(app, plan_id=plan.id)
    await give(app, ada.id, 5 * USD, "grant:1")
    ask = ASKS["/v1/chat/completions"] | {"model": "grok-4.3"}
    reply = await asker.post("/v1/chat/completions", ask, key=ada.key)

    answer = await asker.get("/v1/generation", key=ada.key, query=f"id={reply.json['id']}")

    charged = 5 * USD - await balance_of(app, ada.id)
    (entry,) = await last_requests(app.database, 1)
    assert entry.cost_ticks < entry.charge_ticks == charged
    assert f'"total_cost":{usd_text(charged)},"usage":{usd_text(charged)},'.encode() in answer.body
    assert usd_text(entry.cost_ticks).encode() + b"," not in answer.body


async def test_amounts_are_exact(asker):
    reply = await asker.post("/v1/completions", ASKS["/v1/completions"] | {"model": "grok-4.3"})

    answer = await asker.get("/v1/generation", query=f"id={reply.json['id']}")

    (entry,) = await last_requests(asker.app.database, 1)
    assert f'"total_cost":{usd_text(entry.cost_ticks)},'.encode() in answer.body
