"""What one request used and cost, for its caller alone."""

from typing import Any

import pytest

from tests.api.conftest import OTHER_KEY

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
