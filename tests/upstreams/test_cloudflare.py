import pytest

from groxy.core.errors import ErrorKind
from groxy.upstreams._base import Credentials, ErrorReply, ModelFacts
from groxy.upstreams.cloudflare import UPSTREAM
from groxy.wire.json import decode_fields, encode

IDS = {"account_id": "acc", "gateway_id": "my gw/1"}
PROVIDER = Credentials(api_key="CF", options=IDS | {"provider_key": "XK"})
COMPAT = Credentials(api_key="CF", options=IDS | {"endpoint": "compat"})


def read(status, code, message="words"):
    body = {"success": False, "error": [{"code": code, "message": message}]}
    return UPSTREAM.read_error(ErrorReply(status=status, body=encode(body)))


def test_each_endpoint_has_its_address_and_names():
    host = "https://gateway.ai.cloudflare.com/v1/acc/my%20gw%2F1"
    assert UPSTREAM.address(PROVIDER) == f"{host}/grok/v1"
    assert UPSTREAM.address(COMPAT) == f"{host}/compat"
    assert UPSTREAM.model_id("grok-4.7", PROVIDER) == "grok-4.7"
    assert UPSTREAM.model_id("grok-4.7", COMPAT) == "grok/grok-4.7"
    assert UPSTREAM.model_id("dynamic/mine", COMPAT) == "dynamic/mine"


@pytest.mark.parametrize(
    "options", [{}, {"account_id": "a"}, {"account_id": "a", "gateway_id": ""}]
)
def test_account_without_its_ids_has_no_address(options):
    with pytest.raises(ValueError, match="account_id and gateway_id"):
        UPSTREAM.address(Credentials(api_key="CF", options=options))


def test_both_keys_are_sent_where_there_are_both():
    both = {"cf-aig-authorization": "Bearer CF", "Authorization": "Bearer XK"}
    assert UPSTREAM.headers(PROVIDER) == both
    assert UPSTREAM.headers(COMPAT) == {"cf-aig-authorization": "Bearer CF"}
    alone = Credentials(api_key="", options={"provider_key": "XK"})
    assert UPSTREAM.headers(alone) == {"Authorization": "Bearer XK"}


def test_fields_are_declared_for_the_forms():
    fields = {field.name: field for field in UPSTREAM.account_fields}
    assert [name for name, field in fields.items() if field.required] == [
        "account_id",
        "gateway_id",
    ]
    assert [name for name, field in fields.items() if field.secret] == ["provider_key"]
    assert fields["endpoint"].choices == ("provider", "compat")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 2001, ErrorKind.UPSTREAM_AUTH),
        (401, 2009, ErrorKind.UPSTREAM_AUTH),
        (424, 2016, ErrorKind.REFUSED),
        (424, 2017, ErrorKind.REFUSED),
        (424, 2029, ErrorKind.REFUSED),
        (402, 2021, ErrorKind.UPSTREAM_QUOTA),
        (503, 7013, ErrorKind.UPSTREAM_DOWN),
        (429, 1, ErrorKind.UPSTREAM_LIMITED),
        (400, 7003, ErrorKind.BAD_REQUEST),
        (500, 0, ErrorKind.UPSTREAM_DOWN),
    ],
)
def test_errors_of_the_gateway_are_known_by_their_code(status, code, kind):
    assert read(status, code).kind is kind


def test_budget_that_is_used_up_is_no_rate_limit():
    assert read(429, 1, "Spend limit exceeded").kind is ErrorKind.UPSTREAM_QUOTA


def test_gateway_error_without_an_entry_goes_by_its_status():
    reply = ErrorReply(status=429, body=b'{"success":false,"error":[]}')
    assert UPSTREAM.read_error(reply).kind is ErrorKind.UPSTREAM_LIMITED


def test_errors_of_xai_pass_through():
    reply = ErrorReply(status=400, body=b'{"code":"c","error":"Incorrect API key provided: x"}')
    assert UPSTREAM.read_error(reply).kind is ErrorKind.UPSTREAM_AUTH


@pytest.mark.parametrize(("status", "is_cached"), [("HIT", True), ("hit", True), ("MISS", False)])
def test_reply_from_the_cache_is_told_by_its_header(status, is_cached):
    assert UPSTREAM.read_headers({"cf-aig-cache-status": status}).is_cached is is_cached


def test_requests_are_made_fit_for_xai_and_lists_have_aliases():
    fields = decode_fields(b'{"logit_bias":{}}')
    assert UPSTREAM.prepare(fields, ModelFacts()) == ["logit_bias dropped"]
    assert UPSTREAM.read_models(b'{"data":[{"id":"grok/a","aliases":["b"]}]}') == {"grok/a", "b"}
