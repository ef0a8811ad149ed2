import pytest
from pydantic import ValidationError

from groxy.core.terms import NO_TERMS, Terms
from groxy.settings import AccountSettings


def account_of(**fields):
    return AccountSettings.model_validate({"name": "a", "upstream": "xai", **fields})


def test_an_account_may_serve_every_model_unless_it_says_otherwise():
    account = account_of()
    assert account.pool == "heavy"
    assert account.terms() == NO_TERMS


def test_terms_are_those_that_the_table_gives():
    account = account_of(
        tags=["eu", "paid"],
        weight=5,
        priority=-3,
        max_in_flight=7,
        models=["grok-4*"],
        rpm=60,
        tpm=100_000,
        quotas={"fast": "400/2h"},
    )
    assert account.terms() == Terms(
        tags=("eu", "paid"),
        weight=5,
        priority=-3,
        max_in_flight=7,
        models=("grok-4*",),
        rpm=60,
        tpm=100_000,
        quotas={"fast": "400/2h"},
    )


def test_terms_come_as_text_from_variables():
    account = account_of(tags="eu, paid", models='["grok-4*"]', quotas='{"fast": "400/2h"}')
    assert account.tags == ("eu", "paid")
    assert account.models == ("grok-4*",)
    assert account.quotas == {"fast": "400/2h"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", 0),
        ("weight", 1001),
        ("weight", True),
        ("priority", -1001),
        ("priority", 1001),
        ("max_in_flight", -1),
        ("max_in_flight", 1_000_001),
        ("rpm", -1),
        ("rpm", 1_000_000_001),
        ("tpm", -1),
        ("tpm", 1_000_000_000_001),
        ("tags", 5),
        ("models", [5]),
        ("quotas", {"fast": 400}),
    ],
)
def test_terms_out_of_bounds_are_refused(field, value):
    with pytest.raises(ValidationError) as caught:
        account_of(**{field: value})
    assert caught.value.errors()[0]["loc"][0] == field


def test_the_bounds_of_terms_are_taken():
    for field, values in {
        "weight": (1, 1000),
        "priority": (-1000, 1000),
        "max_in_flight": (0, 1_000_000),
        "rpm": (0, 1_000_000_000),
        "tpm": (0, 1_000_000_000_000),
    }.items():
        for value in values:
            assert getattr(account_of(**{field: value}).terms(), field) == value


def test_options_are_masked_until_the_upstream_asks_for_them():
    account = account_of(options={"provider_key": "xai-1"})
    assert "xai-1" not in f"{account!r} {account.model_dump()} {account.model_dump_json()}"
    assert account.option_values() == {"provider_key": "xai-1"}


def test_a_proxys_password_is_masked():
    account = account_of(proxy_url="socks5://user:SECRET@proxy:1080")
    assert "SECRET" not in f"{account!r} {account.model_dump()} {account.model_dump_json()}"
    assert account.proxy_url.reveal() == "socks5://user:SECRET@proxy:1080"


def test_a_model_error_does_not_repeat_its_input():
    with pytest.raises(ValidationError) as caught:
        account_of(api_keys="xai-1")
    assert "xai-1" not in str(caught.value)


def test_one_credential_is_enough():
    with pytest.raises(ValidationError, match="has api_key and api_key_file; keep one of them"):
        account_of(api_key="k", api_key_file="f")
