import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams import discover
from groxy.upstreams._base import Credentials
from groxy.upstreams._credentials import check_credentials, known_upstream

UPSTREAMS = discover()
CLOUD = {"account_id": "a", "gateway_id": "g"}


def test_an_upstream_is_found_by_name():
    assert known_upstream("xai", UPSTREAMS) is UPSTREAMS["xai"]


def test_an_unknown_upstream_is_refused_with_the_known_ones():
    with pytest.raises(GroxyError) as caught:
        known_upstream("nobody", UPSTREAMS)

    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.param == "upstream"
    assert "openrouter" in caught.value.message


@pytest.mark.parametrize(
    ("upstream", "credentials", "lacking"),
    [
        ("xai", Credentials(api_key=""), "api_key"),
        ("openai_compatible", Credentials(api_key=""), "base_url"),
        ("cloudflare", Credentials(api_key="k"), "options.account_id"),
        (
            "cloudflare",
            Credentials(api_key="k", options=CLOUD | {"endpoint": "x"}),
            "options.endpoint, one of provider, compat",
        ),
        ("cometapi", Credentials(api_key="k", options={"dialects": "latin"}), "wrong option"),
        ("sandbox", Credentials(api_key="", options={"tokens_per_s": "fast"}), "wrong option"),
        ("xai", Credentials(api_key="k", options={"colour": "red"}), "colour"),
    ],
)
def test_an_account_that_lacks_something_is_refused_and_told_what(upstream, credentials, lacking):
    with pytest.raises(GroxyError, match=lacking) as caught:
        check_credentials("mine", UPSTREAMS[upstream], credentials)

    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.param == "accounts"
    assert "'mine'" in caught.value.message


@pytest.mark.parametrize(
    ("upstream", "credentials"),
    [
        ("xai", Credentials(api_key="k")),
        ("openai_compatible", Credentials(api_key="", base_url="http://127.0.0.1:1/v1")),
        ("cloudflare", Credentials(api_key="k", options=CLOUD)),
        ("sandbox", Credentials(api_key="")),
    ],
)
def test_an_account_that_has_all_is_let_pass(upstream, credentials):
    check_credentials("mine", UPSTREAMS[upstream], credentials)
