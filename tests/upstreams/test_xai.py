from groxy.core.errors import ErrorKind
from groxy.dialects._base import BillField
from groxy.upstreams._base import ErrorReply, ModelFacts
from groxy.upstreams.xai import UPSTREAM
from groxy.wire.json import decode_fields


def test_bill_is_read_in_ticks_and_reasoning_stands_apart():
    assert UPSTREAM.usage_rules.bill is BillField.TICKS
    assert UPSTREAM.usage_rules.reasoning_apart


def test_key_is_checked_where_nothing_is_spent():
    assert UPSTREAM.check_path == UPSTREAM.key_path == "/api-key"


def test_requests_errors_and_lists_are_those_of_xai():
    fields = decode_fields(b'{"logit_bias":{}}')
    assert UPSTREAM.prepare(fields, ModelFacts()) == ["logit_bias dropped"]
    body = b'{"code":"Client specified an invalid argument","error":"Incorrect API key provided"}'
    reply = ErrorReply(status=400, body=body)
    assert UPSTREAM.read_error(reply).kind is ErrorKind.UPSTREAM_AUTH
    assert UPSTREAM.read_models(b'{"data":[{"id":"a","aliases":["b"]}]}') == {"a", "b"}


def test_key_is_read_as_xai_tells_of_it():
    facts = UPSTREAM.read_key(b'{"acls":["api-key:model:grok-4.7"],"team_blocked":true}')
    assert facts.standing is ErrorKind.UPSTREAM_AUTH
    assert facts.models == frozenset({"grok-4.7"})


def test_files_go_on_by_a_token_that_is_always_there():
    page = UPSTREAM.read_files(b'{"data":[{"id":"file_1"}],"pagination_token":"t"}')
    assert [file.id for file in page.files] == ["file_1"]
    assert page.next == ""
    assert UPSTREAM.files_query("t") == "?limit=100&pagination_token=t"
    assert UPSTREAM.file_path("file_1") == "/files/file_1"
