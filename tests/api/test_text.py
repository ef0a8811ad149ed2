from typing import cast

import pytest

from groxy.api.text import TextEndpoint, read_tags
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat import DIALECT
from groxy.gateway import Gateway
from groxy.policy.keys import Keyring
from tests.inprocess import ADMIN_KEY, KEY, application, ask

BODY = {"model": "grok-4", "messages": [{"role": "user", "content": "hi"}]}


async def test_a_request_is_answered(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "POST", "/v1/chat/completions", body=BODY)

    assert (answer.status, answer.json["object"]) == (200, "chat.completion")


@pytest.mark.parametrize("key", [None, "sk-wrong", ADMIN_KEY])
async def test_a_stranger_is_refused(tmp_path, key):
    async with application(tmp_path) as app:
        answer = await ask(app, "POST", "/v1/chat/completions", body=BODY, key=key)

    assert (answer.status, answer.error["type"]) == (401, "authentication_error")


async def test_the_key_may_come_as_x_api_key(tmp_path):
    headers = {"x-api-key": KEY}
    async with application(tmp_path) as app:
        answer = await ask(
            app, "POST", "/v1/chat/completions", body=BODY, key=None, headers=headers
        )

    assert answer.status == 200


async def test_open_mode_asks_for_no_key(tmp_path):
    async with application(tmp_path, app__api_key="") as app:
        answer = await ask(app, "POST", "/v1/chat/completions", body=BODY, key=None)

    assert answer.status == 200


async def test_a_strangers_body_is_not_read():
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b""}

    async def send(message):
        raise AssertionError("nothing is to be sent")

    keyring = Keyring(lambda key: key.encode())
    endpoint = TextEndpoint(cast("Gateway", None), keyring, DIALECT, max_body_bytes=10)

    with pytest.raises(GroxyError) as caught:
        await endpoint({"headers": []}, receive, send)

    assert (caught.value.kind, read) == (ErrorKind.BAD_KEY, [])


async def test_a_body_over_the_limit_is_refused(tmp_path):
    async with application(tmp_path, server__max_body_bytes=1024) as app:
        answer = await ask(app, "POST", "/v1/chat/completions", body=b" " * 1025)

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert "server.max_body_bytes" in answer.error["message"]


@pytest.mark.parametrize(
    ("text", "tags"), [("a", ("a",)), (" a , b,a,, ", ("a", "b")), ("", ()), (",", ())]
)
def test_preferred_tags_are_read_from_a_header(text, tags):
    assert read_tags(text) == tags


@pytest.mark.parametrize(
    ("text", "code"),
    [(",".join(map(str, range(11))), "too_many_tags"), ("x" * 65, "tag_too_long")],
)
def test_too_many_and_too_long_tags_are_refused(text, code):
    with pytest.raises(GroxyError) as caught:
        read_tags(text)

    assert (caught.value.code, caught.value.param) == (code, "x-groxy-prefer-tags")
