"""What a request would hold is told without asking anybody."""

import pytest

ASK = {"model": "grok-4.3", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}


async def test_a_chat_is_quoted(asker):
    answer = await asker.post("/v1/quote", ASK)

    assert answer.status == 200
    told = answer.json
    assert (told["object"], told["endpoint"], told["model"]) == ("quote", "chat", "grok-4.3")
    assert told["max_output_tokens"] == 50
    assert told["hold_ticks"] > 0
    assert told["would_pass"] is True


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("responses", {"model": "grok-4.3", "input": "Hello"}),
        ("messages", {**ASK, "max_tokens": 10}),
        ("completions", {"model": "grok-4.3", "prompt": "Hello"}),
        ("images", {"model": "grok-imagine-image", "prompt": "a cat"}),
        ("videos", {"model": "grok-imagine-video", "prompt": "a cat", "seconds": "6"}),
    ],
)
async def test_every_endpoint_is_quoted(asker, endpoint, body):
    answer = await asker.post("/v1/quote", body, query=f"endpoint={endpoint}")

    assert (answer.status, answer.json["endpoint"]) == (200, endpoint)
    assert answer.json["hold_ticks"] > 0


async def test_an_endpoint_that_is_none_is_refused(asker):
    answer = await asker.post("/v1/quote", ASK, query="endpoint=lottery")

    assert (answer.status, answer.error["param"]) == (400, "endpoint")


async def test_too_many_parameters_are_refused(asker):
    answer = await asker.post(
        "/v1/quote", ASK, query="&".join(f"p{number}=1" for number in range(60))
    )

    assert answer.status == 400


async def test_a_stranger_is_refused(asker):
    assert (await asker.post("/v1/quote", ASK, key=None)).status == 401
