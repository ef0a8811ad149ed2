"""Tokens of a Messages request are counted without asking anybody."""

import pytest

MODEL = "grok-4.3"


def asked(**fields):
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hello there!"}]} | fields


async def count(asker, **fields):
    answer = await asker.post("/v1/messages/count_tokens", asked(**fields), query="beta=true")
    assert answer.status == 200
    assert answer.json.keys() == {"input_tokens"}
    return answer.json["input_tokens"]


PICTURE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD" * 300},
}
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    "more",
    [
        {"system": "Be brief and kind."},
        {"tools": [TOOL]},
        {"messages": [{"role": "user", "content": [PICTURE, {"type": "text", "text": "Hello"}]}]},
        {"messages": [{"role": "user", "content": [PDF, {"type": "text", "text": "Hello"}]}]},
    ],
    ids=["system", "tools", "picture", "document"],
)
async def test_everything_counts(asker, more):
    assert await count(asker, **more) > await count(asker)


async def test_max_tokens_is_not_needed_to_count(asker):
    assert await count(asker) > 0


async def test_a_wrong_request_gets_anthropics_envelope(asker):
    answer = await asker.post("/v1/messages/count_tokens", {"model": MODEL})
    assert answer.status == 400
    assert answer.json["type"] == "error"
    assert answer.json["error"]["type"] == "invalid_request_error"


async def test_a_stranger_is_refused(asker):
    answer = await asker.post("/v1/messages/count_tokens", asked(), key="sk-wrong")
    assert (answer.status, answer.json["error"]["type"]) == (401, "authentication_error")
