"""What an account is given, from options to the fields of the admin API."""

import pytest

from groxy.cli.account_terms import fields_of, read_api_key
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.pools import Pool
from tests.cli.accounts import ADDRESS, shown

NOT_GIVEN = dict.fromkeys(
    (
        "base_url",
        "proxy_url",
        "pool",
        "option",
        "tag",
        "weight",
        "priority",
        "max_in_flight",
        "model",
        "rpm",
        "tpm",
        "quota",
    )
)


def fields(**given):
    """Return the fields that some options make."""
    return fields_of(**NOT_GIVEN | given)


def error_of(**given):
    with pytest.raises(GroxyError) as caught:
        fields(**given)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    return caught.value


def test_what_was_not_given_is_no_field():
    assert fields() == {}
    assert fields(tag=[], model=[], quota=[], option=[]) == {}


def test_every_option_has_its_field():
    given = fields(
        base_url="http://127.0.0.1:9/v1",
        proxy_url="socks5://proxy.test:1",
        pool=Pool.SUPER,
        option=["region=eu"],
        tag=["fast"],
        weight=3,
        priority=-2,
        max_in_flight=4,
        model=["grok-4*"],
        rpm=60,
        tpm=9000,
        quota=["fast=400/2h"],
    )

    assert given == {
        "base_url": "http://127.0.0.1:9/v1",
        "proxy_url": "socks5://proxy.test:1",
        "pool": "super",
        "options": {"region": "eu"},
        "tags": ["fast"],
        "weight": 3,
        "priority": -2,
        "max_in_flight": 4,
        "models": ["grok-4*"],
        "rpm": 60,
        "tpm": 9000,
        "quotas": {"fast": "400/2h"},
    }


@pytest.mark.parametrize("name", ["weight", "priority", "max_in_flight", "rpm", "tpm"])
def test_zero_is_a_number_that_was_given(name):
    assert fields(**{name: 0}) == {name: 0}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"base_url": ""}, {"base_url": None}),
        ({"proxy_url": " "}, {"proxy_url": None}),
        ({"tag": [""]}, {"tags": []}),
        ({"model": [" "]}, {"models": []}),
        ({"quota": [""]}, {"quotas": {}}),
        ({"option": ["region="]}, {"options": {"region": None}}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_an_empty_text_takes_a_value_back(given, field):
    assert fields(**given) == field


def test_blanks_around_words_names_and_values_do_not_count():
    given = fields(tag=[" a ", "", "b"], model=[" m "], quota=[" fast = 4/1h "], option=[" x = y "])

    assert given == {
        "tags": ["a", "b"],
        "models": ["m"],
        "quotas": {"fast": "4/1h"},
        "options": {"x": "y"},
    }


def test_a_value_may_hold_what_parts_it_from_its_name():
    assert fields(option=["query=a=b"]) == {"options": {"query": "a=b"}}


@pytest.mark.parametrize("option", ["option", "quota"])
def test_a_value_without_a_name_is_refused_and_not_repeated(option):
    error = error_of(**{option: ["good=1", "my-very-secret-value"]})

    assert error.param == option
    assert f"--{option} is not name=value" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize("address", ["localhost:9", "http://h:99999/v1", "ftp://h/v1"])
def test_an_address_that_is_none_is_refused_by_the_name_of_its_option(address):
    assert error_of(base_url=address).message.startswith("--base-url ")


def test_an_option_that_cannot_travel_is_refused_by_its_name_without_its_value():
    message = error_of(option=["account_id=se\x07cret"]).message

    assert message.startswith("--option account_id ")
    assert "cret" not in message


@pytest.mark.parametrize("key", ["two words", "k\x07ey", ""])
def test_a_key_that_cannot_travel_is_refused_and_not_repeated(key):
    with pytest.raises(GroxyError) as caught:
        read_api_key(key)

    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.message.startswith("The key ")
    assert not key or key not in caught.value.message


def test_a_key_loses_the_line_end_that_it_was_typed_with():
    assert read_api_key("xai-0123456789\n") == "xai-0123456789"


# ------------------------------------------------------------------------------ as far as the store


def test_every_term_can_be_given_when_an_account_is_added(groxy):
    terms = "--tag fast --tag eu --weight 3 --priority -2 --max-in-flight 4 --rpm 60 --tpm 9000"
    more = "--model grok-4* --quota fast=400/2h --quota heavy=30/1d --pool super"
    proxy = "--proxy-url http://user:proxy-secret@proxy.test:3128"
    added = groxy("account", "add", "full", *ADDRESS, *f"{terms} {more} {proxy}".split())

    assert (added.exit_code, added.stdout) == (0, "Added full.\n")
    account = shown(groxy, "full")
    assert account["tags"] == ["fast", "eu"]
    assert (account["weight"], account["priority"], account["max_in_flight"]) == (3, -2, 4)
    assert (account["rpm"], account["tpm"], account["pool"]) == (60, 9000, "super")
    assert account["models"] == ["grok-4*"]
    assert account["quotas"] == {"fast": "400/2h", "heavy": "30/1d"}
    assert account["proxy"] == "proxy.test:3128"


def test_an_empty_value_takes_a_term_back(groxy):
    address = ("--upstream", "sandbox", "--proxy-url", "http://proxy.test:1")
    groxy("account", "add", "x", *address, "--tag", "a", "--quota", "fast=1/1m", "--model", "m")
    empty = ("--tag", "", "--quota", "", "--model", "", "--proxy-url", "")

    assert groxy("account", "edit", "x", *empty).exit_code == 0

    account = shown(groxy, "x")
    assert (account["tags"], account["quotas"], account["models"]) == ([], {}, [])
    assert account["proxy"] == ""
