from ipaddress import ip_network

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import ENDPOINTS, KeyGrant
from groxy.policy.access import check_access, client_address, group_of, read_network
from groxy.policy.keys import ANYONE, Caller


def caller(**grant):
    return Caller(key_id="k", name="n", grant=KeyGrant(**grant))


def refusal(who, path="/v1/chat/completions", ip="192.0.2.1"):
    with pytest.raises(GroxyError) as caught:
        check_access(who, path, ip)
    assert caught.value.kind is ErrorKind.FORBIDDEN
    return caught.value.code


# --------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/chat/deferred-completion/x", "chat"),
        ("/api/v1/chat/completions", "chat"),
        ("/v1/vision/analyze", "chat"),
        ("/v1/responses/resp_1/input_items", "responses"),
        ("/v1/messages/count_tokens", "messages"),
        ("/v1/tokenize-text", "tokenize"),
        ("/v1/language-models/grok", "models"),
        ("/v1/generation", "account"),
        ("/v1/keys", "keys"),
        ("/v1/keys/key_1", "keys"),
        ("/api/v1/keys", "keys"),
        ("/v1/", ""),
        ("/v1", ""),
        ("/", ""),
        ("", ""),
        ("/v2/chat/completions", ""),
        ("/V1/chat/completions", ""),
        ("/v1/Chat/completions", ""),
        ("//v1/chat", ""),
        ("/v1//chat", ""),
        ("/v1/./chat", ""),
        ("/api/api/v1/chat", ""),
        ("/admin/api/keys", ""),
        ("/v1/keys;x", ""),
        ("/v1/%6beys", ""),
    ],
)
def test_a_path_belongs_to_a_group_or_to_none(path, group):
    assert group_of(path) == group


def test_every_group_has_a_path():
    paths = "chat responses messages completions embeddings images videos files tokenize models key"

    assert {group_of(f"/v1/{name}") for name in paths.split()} == set(ENDPOINTS)


def test_a_key_that_is_bound_to_endpoints_gets_nothing_else():
    bound = caller(endpoints=("chat", "models"))
    for path in ("/v1/chat/completions", "/api/v1/models", "/v1/models/x-ai/grok-4"):
        check_access(bound, path, None)
    for path in ("/v1/responses", "/v1/unknown", "/v1//chat", "/v1/key", "", "/metrics"):
        assert refusal(bound, path) == "key_scope"


def test_a_key_without_bounds_gets_everything_but_keys():
    for path in ("/v1/chat/completions", "/v1/whatever", "/v1/credits"):
        check_access(caller(), path, None)
        check_access(ANYONE, path, None)
    for who in (caller(), ANYONE, caller(endpoints=ENDPOINTS)):
        assert refusal(who, "/v1/keys") == "key_scope"
        assert refusal(who, "/api/v1/keys/key_1") == "key_scope"


@pytest.mark.parametrize("endpoints", [(), ENDPOINTS])
def test_a_provisioning_key_gets_keys_and_nothing_else(endpoints):
    provisioning = caller(is_provisioning=True, endpoints=endpoints)

    check_access(provisioning, "/v1/keys", None)
    check_access(provisioning, "/api/v1/keys/key_1", None)
    for path in ("/v1/chat/completions", "/v1/key", "/v1/models", "/v1/unknown", ""):
        assert refusal(provisioning, path) == "key_scope"


# ----------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("ips", "address"),
    [
        (("192.0.2.1",), "192.0.2.1"),
        (("192.0.2.0/24",), "192.0.2.255"),
        (("192.0.2.0/24",), "::ffff:192.0.2.7"),
        (("::ffff:192.0.2.0/120",), "192.0.2.7"),
        (("::ffff:192.0.2.0/120",), "::ffff:c000:207"),
        (("2001:db8::/32",), "2001:DB8::1"),
        (("fe80::/10",), "fe80::1%eth0"),
        (("fe80::/10",), "fe80::1%25eth0"),
        (("10.0.0.0/8", "192.0.2.1"), "192.0.2.1"),
        (("0.0.0.0/0",), "192.0.2.1"),
    ],
)
def test_an_address_in_the_list_may_use_the_key(ips, address):
    check_access(caller(ips=ips), "/v1/models", address)


@pytest.mark.parametrize(
    ("ips", "address"),
    [
        (("192.0.2.1",), "192.0.2.2"),
        (("192.0.2.1",), "192.0.2.10"),
        (("192.0.2.0/24",), "192.0.3.0"),
        (("0.0.0.0/0",), "2001:db8::1"),
        (("::/0",), "192.0.2.1"),
        (("::/0",), "::ffff:192.0.2.1"),
        (("192.0.2.1",), None),
        (("192.0.2.1",), ""),
        (("0.0.0.0/0",), "unknown"),
        (("0.0.0.0/0",), "3221225985"),
        (("0.0.0.0/0",), "0x7f.1"),
        (("127.0.0.1",), "127.1"),
        (("127.0.0.1",), "127.0.0.01"),
        (("192.0.2.1",), "192.0.2.1, 10.0.0.1"),
        (("192.0.2.1",), "::192.0.2.1"),
        (("nonsense",), "192.0.2.1"),
        (("",), "192.0.2.1"),
    ],
)
def test_any_other_address_may_not_nor_what_is_none(ips, address):
    assert refusal(caller(ips=ips), "/v1/models", address) == "ip_not_allowed"


@given(st.text(max_size=60))
def test_no_text_whatever_is_let_in_by_accident(text):
    assert refusal(caller(ips=("203.0.113.77",)), "/v1/models", "x" + text) == "ip_not_allowed"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
    ],
)
def test_networks_are_read_in_plain_form(text, network):
    assert read_network(text, "ips") == network


@pytest.mark.parametrize("text", ["", "*", "10.0.0.1/8", "fe80::1%eth0", "1.2.3.4 or", "\0"])
def test_what_is_no_network_is_refused_and_named(text):
    with pytest.raises(GroxyError) as caught:
        read_network(text, "ips")

    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, "ips")


# ------------------------------------------------------------------------------------- proxies

PROXIES = tuple(ip_network(text) for text in ("10.0.0.0/8", "::1"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.5"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("::1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.5, 10.9.9.9"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.9", "203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("10.0.0.1", ["2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5, unknown"], None),
        ("10.0.0.1", ["203.0.113.5,"], None),
        ("10.0.0.1", ["' OR 1=1"], None),
        ("unix:", ["203.0.113.5"], "unix:"),
        (None, ["203.0.113.5"], None),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_came_from(peer, forwarded, address):
    assert client_address(peer, forwarded, PROXIES) == address


def test_without_trusted_proxies_nobody_is_believed():
    assert client_address("10.0.0.1", ["203.0.113.5"], ()) == "10.0.0.1"
