"""A text is told token by token, as an estimate where no upstream tells."""

import pytest


@pytest.mark.parametrize("path", ["/v1/tokenize", "/v1/tokenize-text"])
async def test_tokens_put_together_are_the_text(asker, path):
    text = "Hello wörld, 你好 🎉"
    answer = await asker.post(path, {"text": text, "model": "grok-4.3"})
    tokens = answer.json["token_ids"]
    assert bytes(byte for token in tokens for byte in token["token_bytes"]).decode() == text
    assert answer.json["token_count"] == len(tokens)
    assert answer.json["estimated"] is True
    assert answer.json["model"] == "grok-4.3"


async def test_an_empty_text_has_no_tokens(asker):
    answer = await asker.post("/v1/tokenize", {"text": ""})
    assert (answer.status, answer.json["token_count"]) == (200, 0)


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "text"), ({"text": 7}, "text"), ({"text": "x", "model": "no-such-model"}, "model")],
)
async def test_a_wrong_request_names_its_field(asker, body, param):
    answer = await asker.post("/v1/tokenize", body)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_a_stranger_is_refused(asker):
    assert (await asker.post("/v1/tokenize", {"text": "x"}, key=None)).status == 401
