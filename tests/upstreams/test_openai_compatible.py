import pytest

from groxy.upstreams._base import Credentials, ModelFacts, RateWindow
from groxy.upstreams.openai_compatible import UPSTREAM
from groxy.wire.json import decode_fields


def test_account_says_where_it_is_and_may_do_without_a_key():
    account = Credentials(api_key="", base_url="http://127.0.0.1:8080/v1")
    assert UPSTREAM.base_url == ""
    assert not UPSTREAM.needs_key
    assert UPSTREAM.address(account) == "http://127.0.0.1:8080/v1"
    assert UPSTREAM.headers(account) == {}


def test_it_has_only_what_its_own_list_names():
    assert not UPSTREAM.serves_catalog


def test_nothing_of_a_request_is_changed():
    fields = decode_fields(b'{"stop":1,"logit_bias":{},"tools":[{"type":"web_search"}],"top_k":1}')
    before = dict(fields)
    facts = ModelFacts(rejects=frozenset({"stop", "tools"}), efforts=())
    assert UPSTREAM.prepare(fields, facts) == []
    assert fields == before


def test_a_list_that_anybody_may_see_proves_nothing():
    assert not UPSTREAM.confirms_auth


def test_files_are_those_of_openai():
    page = UPSTREAM.read_files(b'{"data":[{"id":"file-1"}],"has_more":true,"last_id":"file-1"}')
    assert UPSTREAM.files_query(page.next) == "?limit=100&after=file-1"
    assert UPSTREAM.file_path("file-1") == "/files/file-1"


@pytest.mark.parametrize("name", ["x-ratelimit-limit-requests", "x-ratelimit-limit"])
def test_limits_may_be_those_of_whoever_is_behind_it(name):
    facts = UPSTREAM.read_limits({name: "9", name.replace("it-limit", "it-remaining"): "8"})
    assert facts is not None
    assert facts.requests == RateWindow(limit=9, remaining=8)
