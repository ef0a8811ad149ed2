"""Deferred chat: a receipt, then 202, then the reply once."""

import asyncio

import pytest

from tests.api.conftest import OTHER_KEY

CHAT = "/v1/chat/completions"


def asked(said="Hello!", **fields):
    return {"model": "grok-4.3", "messages": [{"role": "user", "content": said}]} | fields


async def receipt(asker, **fields):
    answer = await asker.post(CHAT, asked(deferred=True, **fields))
    assert answer.status == 200
    assert answer.json.keys() == {"request_id"}
    return f"/v1/chat/deferred-completion/{answer.json['request_id']}"


async def fetched(asker, path):
    async with asyncio.timeout(5):
        while (answer := await asker.get(path)).status == 202:
            assert answer.body == b""
            await asyncio.sleep(0.01)
    return answer


async def test_a_reply_is_there_once(asker):
    path = await receipt(asker, said="Later [[sandbox: slow_first=0.2]]")
    assert (await asker.get(path)).status == 202
    answer = await fetched(asker, path)
    assert answer.json["object"] == "chat.completion"
    assert "You wrote: “Later”" in answer.json["choices"][0]["message"]["content"]
    assert (await asker.get(path)).status == 404


async def test_nobody_else_can_fetch_it(asker):
    path = await receipt(asker)
    assert (await asker.get(path, key=OTHER_KEY)).status == 404
    assert (await fetched(asker, path)).status == 200


async def test_a_failure_is_fetched_with_its_status(asker):
    path = await receipt(asker, said="Hi [[sandbox: status=429]]")
    answer = await fetched(asker, path)
    assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")


async def test_a_wrong_request_is_refused_at_once(asker):
    answer = await asker.post(CHAT, {"model": "grok-4.3", "messages": [], "deferred": True})
    assert (answer.status, answer.error["param"]) == (400, "messages")


async def test_a_deferred_stream_makes_no_sense(asker):
    answer = await asker.post(CHAT, asked(deferred=True, stream=True))
    assert (answer.status, answer.error["param"]) == (400, "deferred")


@pytest.mark.parametrize("said", ['say "deferred"', "hi"])
async def test_the_word_alone_defers_nothing(asker, said):
    answer = await asker.post(CHAT, asked(said, deferred=False))
    assert answer.json["object"] == "chat.completion"


async def test_an_unknown_id_is_not_found(asker):
    answer = await asker.get("/v1/chat/deferred-completion/nothing")
    assert (answer.status, answer.error["param"]) == (404, "request_id")
