import pytest

from groxy.admin.drafts import draft_of, located, read_token, terms_of, usual_of
from groxy.admin.token_shapes import AddTokens, PatchToken
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import NO_TERMS, Terms
from groxy.upstreams import discover
from tests.admin.office import key_of


def drafted(office, item, **usual):
    return draft_of(office.desk, item, usual_of(AddTokens(tokens=[], **usual)))


async def test_what_an_account_says_itself_comes_before_what_goes_for_all(office):
    usual = {"tags": ["all"], "weight": 2, "proxy_url": "http://p:1", "rpm": 9}
    own = {"token": "xai-1", "tags": ["own"], "proxy_url": None, "rpm": None}

    draft = drafted(office, own, **usual)

    assert draft.terms == Terms(tags=("own",), weight=2)
    assert draft.proxy_url == ""


async def test_options_of_the_request_and_the_account(office):
    item = {
        "token": "k" * 30,
        "upstream": "openai_compatible",
        "base_url": "http://127.0.0.1:9/v1",
    }

    draft = drafted(office, item, options={"dialects": "chat"})

    assert dict(draft.options) == {"dialects": "chat"}


@pytest.mark.parametrize("prefix", ["xai-", "sk-or-"])
async def test_the_upstream_is_known_by_how_a_credential_begins(office, prefix):
    draft = drafted(office, prefix + "1" * 20)

    assert prefix in discover()[draft.upstream].key_prefixes


async def test_who_names_no_upstream_is_told_which_there_are(office):
    with pytest.raises(GroxyError) as caught:
        drafted(office, "gsk-1")

    assert caught.value.code == "unknown_upstream"
    assert all(name in caught.value.message for name in discover())
    assert "gsk-1" not in caught.value.message


@pytest.mark.parametrize("name", ["a\nb", "a\x00b", "n" * 129])
async def test_a_name_is_words_on_one_line(office, name):
    with pytest.raises(GroxyError) as caught:
        drafted(office, {"token": key_of("a"), "name": name})

    assert caught.value.param == "name"


@pytest.mark.parametrize("token", ["xai-abcd...wxyz", "..."])
def test_a_masked_credential_is_none(token):
    with pytest.raises(GroxyError) as caught:
        read_token(token)

    assert caught.value.param == "token"


def test_terms_change_where_something_was_given():
    before = Terms(tags=("t",), weight=3, rpm=5)

    assert terms_of(PatchToken(), before) is before
    assert terms_of(PatchToken(weight=4, rpm=None), before) == Terms(tags=("t",), weight=4)
    assert terms_of(PatchToken(tags=[], weight=None, rpm=None), before) == NO_TERMS


def test_terms_that_cannot_be_name_their_field():
    with pytest.raises(GroxyError) as caught:
        terms_of(PatchToken(quotas={"fast": "many"}), NO_TERMS)

    assert caught.value.param == "quotas.fast"


@pytest.mark.parametrize(("param", "whole"), [("name", "tokens.3.name"), (None, "tokens.3")])
def test_an_error_of_a_part_is_one_of_the_whole(param, whole):
    error = GroxyError(ErrorKind.BAD_REQUEST, "It is bad.", param=param, code="c")

    found = located(error, "tokens.3")

    assert (found.param, found.code, found.message) == (whole, "c", "It is bad.")
