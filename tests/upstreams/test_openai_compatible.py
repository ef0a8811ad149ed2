from groxy.upstreams._base import Credentials, ModelFacts
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
