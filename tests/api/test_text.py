from ipaddress import ip_network
from typing import cast

import pytest

from groxy.api.text import TextEndpoint, identify, read_tags
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import KeyGrant
from groxy.dialects.chat import DIALECT
from groxy.gateway import Gateway
from groxy.policy.keys import Caller, Keyring, KnownKey
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


# ----------------------------------------------------------------------- which key, and from where

ENDPOINT_SCOPE = {"path": "/v1/chat/completions", "client": ("192.0.2.1", 5)}


def keyring_with(**grant) -> tuple[Keyring, Caller]:
    keyring = Keyring(lambda key: key.encode())
    caller = Caller(key_id="k", name="n", grant=KeyGrant(**grant))
    keyring.replace_stored([KnownKey(digest=b"sk-a", caller=caller)])
    return keyring, caller


def asked(*headers, **more):
    sent = [(b"authorization", b"Bearer sk-a"), *headers]
    return {**ENDPOINT_SCOPE, "headers": sent, **more}


def code_of(keyring, scope):
    with pytest.raises(GroxyError) as caught:
        identify(keyring, scope)
    return caught.value.code


def test_a_key_without_bounds_is_its_caller():
    keyring, caller = keyring_with()

    assert identify(keyring, asked()) is caller


def test_a_key_is_bound_to_endpoints_and_addresses():
    keyring, caller = keyring_with(endpoints=("chat",), ips=("192.0.2.0/24",))

    assert identify(keyring, asked()) is caller
    assert code_of(keyring, asked(path="/v1/models")) == "key_scope"
    assert code_of(keyring, asked(client=("198.51.100.1", 5))) == "ip_not_allowed"
    assert code_of(keyring, asked(client=None)) == "ip_not_allowed"
    forwarded = (b"x-forwarded-for", b"192.0.2.1")
    assert code_of(keyring, asked(forwarded, client=("198.51.100.1", 5))) == "ip_not_allowed"


def test_behind_a_trusted_proxy_the_address_is_the_one_that_it_tells():
    keyring, caller = keyring_with(ips=("192.0.2.0/24",))
    keyring.trusted_proxies = (ip_network("10.0.0.0/8"),)
    proxy = ("10.0.0.1", 5)

    told = (b"x-forwarded-for", b"198.51.100.1, 192.0.2.1")
    assert identify(keyring, asked(told, client=proxy)) is caller
    lied = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-for", b"198.51.100.1")]
    assert code_of(keyring, asked(*lied, client=proxy)) == "ip_not_allowed"
    assert code_of(keyring, asked(client=proxy)) == "ip_not_allowed"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer sk-b")],
        [(b"authorization", b"Bearer sk-b"), (b"x-api-key", b"sk-a")],
        [(b"x-api-key", b"sk-b")],
        [(b"x-api-key", b"sk-a"), (b"x-api-key", b"sk-b")],
    ],
)
def test_two_keys_in_one_request_are_refused_although_one_is_good(headers):
    keyring, _ = keyring_with()

    assert code_of(keyring, asked(*headers)) == "invalid_api_key"


def test_the_same_header_twice_is_one():
    keyring, caller = keyring_with()

    assert identify(keyring, asked((b"authorization", b"Bearer sk-a"))) is caller


@pytest.mark.parametrize(
    "key",
    [
        b"' OR '1'='1",
        b"sk-a\0",
        b"\0sk-a",
        b"+AHM-k-a",
        b"sk-+AGE-",
        b"a" * 2**16,
        b"sk-a" * 2**14,
        b"\xff\xfe",
        b"sk-\xc3\xa4",
        b"%73k-a",
    ],
)
def test_what_only_looks_like_a_key_is_refused(key):
    keyring, _ = keyring_with()
    scope = {**ENDPOINT_SCOPE, "headers": [(b"authorization", b"Bearer " + key)]}

    assert code_of(keyring, scope) == "invalid_api_key"


async def test_trusted_proxies_come_from_the_settings(tmp_path):
    async with application(tmp_path, server__trusted_proxies="10.0.0.0/8, ::1") as app:
        proxies = app.loader.callers.trusted_proxies

    assert [str(proxy) for proxy in proxies] == ["10.0.0.0/8", "::1/128"]
