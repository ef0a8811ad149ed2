"""The helpers that all upstreams share, and the plain server that they start from."""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import (
    Credentials,
    ErrorReply,
    ErrorWords,
    KeyFacts,
    ModelFacts,
    RateFacts,
    RateWindow,
    Upstream,
    drop_fields,
    drop_rejected,
    error_by_status,
    error_of,
    retry_after_s,
    safe_message,
    words_of,
)
from groxy.wire.json import decode_fields, encode

PLAIN = Upstream()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"error": {"message": "m", "type": "t", "code": "c"}},
            ErrorWords(message="m", code="c"),
        ),
        ({"error": {"message": "m", "type": "t", "code": None}}, ErrorWords(message="m", code="t")),
        ({"code": "not found", "error": "m"}, ErrorWords(message="m", code="not found")),
        ({"error": "m"}, ErrorWords(message="m")),
        (
            {"error": {"message": "m", "code": 429, "metadata": {"error_type": "e"}}},
            ErrorWords(message="m", code="e", status=429),
        ),
        (
            {"error": {"message": "m", "http_status": 400, "error_type": "e"}},
            ErrorWords(message="m", code="e", status=400),
        ),
        ({"success": False, "error": [{"code": 2009, "message": "m"}]}, ErrorWords(message="m")),
        ({"errors": [{"code": 7003, "message": "m"}]}, ErrorWords(message="m")),
        ({"message": "m", "status": 503}, ErrorWords(message="m", status=503)),
        ({"detail": "m"}, ErrorWords(message="m")),
        ({"detail": [{"loc": ["body"], "msg": "m"}]}, ErrorWords()),
        ({"error": {"metadata": ["x"], "code": 999}}, ErrorWords()),
        ([], ErrorWords()),
    ],
)
def test_words_are_found_in_every_usual_shape(body, words):
    assert words_of(encode(body)) == words


def test_only_the_beginning_of_endless_words_is_read():
    words = words_of(encode({"error": {"message": "m" * 100_000, "code": "c" * 100_000}}))
    assert len(words.message) == len(words.code) == 4000


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ErrorKind.BAD_REPLY),
        (400, ErrorKind.BAD_REQUEST),
        (401, ErrorKind.UPSTREAM_AUTH),
        (402, ErrorKind.UPSTREAM_QUOTA),
        (403, ErrorKind.UPSTREAM_AUTH),
        (404, ErrorKind.MODEL_ABSENT),
        (405, ErrorKind.BAD_REPLY),
        (408, ErrorKind.UPSTREAM_TIMEOUT),
        (409, ErrorKind.BAD_REQUEST),
        (410, ErrorKind.UNSUPPORTED),
        (413, ErrorKind.TOO_LARGE),
        (415, ErrorKind.BAD_REPLY),
        (422, ErrorKind.BAD_REQUEST),
        (429, ErrorKind.UPSTREAM_LIMITED),
        (500, ErrorKind.UPSTREAM_DOWN),
        (501, ErrorKind.UNSUPPORTED),
        (502, ErrorKind.UPSTREAM_DOWN),
        (504, ErrorKind.UPSTREAM_TIMEOUT),
        (524, ErrorKind.UPSTREAM_TIMEOUT),
        (529, ErrorKind.UPSTREAM_DOWN),
    ],
)
def test_status_alone_tells_the_kind(status, kind):
    assert error_by_status(ErrorReply(status=status, body=b"")).kind is kind


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "maximum context length is 9"}, ErrorKind.CONTEXT_TOO_LONG),
        (400, {"message": "m", "code": "context_length_exceeded"}, ErrorKind.CONTEXT_TOO_LONG),
        (403, {"message": "flagged by moderation"}, ErrorKind.REFUSED),
        (429, {"message": "m", "code": "insufficient_quota"}, ErrorKind.UPSTREAM_QUOTA),
        (403, {"message": "m", "code": "insufficient_user_quota"}, ErrorKind.UPSTREAM_QUOTA),
        (503, {"message": "m", "code": "model_not_found"}, ErrorKind.MODEL_ABSENT),
        (400, {"message": "m", "code": "invalid_api_key"}, ErrorKind.UPSTREAM_AUTH),
        (200, {"message": "m", "code": 503}, ErrorKind.UPSTREAM_DOWN),
        (200, {"message": "m"}, ErrorKind.BAD_REPLY),
    ],
)
def test_body_tells_more_than_the_status(status, error, kind):
    body = encode({"error": error})
    assert error_by_status(ErrorReply(status=status, body=body)).kind is kind


def test_words_about_an_account_do_not_reach_the_caller_but_the_log():
    body = encode({"error": {"message": "Your account is blocked", "code": "blocked"}})
    error = error_of(ErrorKind.UPSTREAM_AUTH, ErrorReply(status=403, body=body))
    assert error.message == "No upstream account could serve this request."
    assert error.detail == "status 403, code 'blocked', said 'Your account is blocked'"


def test_kinds_without_words_of_their_own_still_say_something():
    reply = ErrorReply(status=200, body=b"")
    assert all(error_of(kind, reply).message for kind in ErrorKind)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "Infinity"}, None),
        ({"retry-after": "99999999999"}, None),
    ],
)
def test_wait_is_read_from_either_header(headers, seconds):
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a\n b\t c", "a b c"),
        ("see https://console.x.ai/team/1 now", "see … now"),
        ("see console.x.ai/team/1 now", "see … now"),
        ("key xai-abcdef1234 is wrong", "key … is wrong"),
        ("key xa***yz is wrong", "key … is wrong"),
        ("team 16f2151a-40f4-4a80-8ad0-cae00c27e8dd", "team …"),
        ("bad (request id: 2025121521151664761470129816750)", "bad …"),
        ("id 2025121521151664761470129816750", "id …"),
        ("mail ops@example.com", "mail …"),
        ("Authorization: Bearer abc.def", "Authorization: …"),
    ],
)
def test_message_loses_addresses_keys_and_ids(text, safe):
    assert safe_message(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        "`messages.0.role` must be one of user, assistant",
        "Missing key name in object",
        "The xAI model grok-4.20-0309-non-reasoning is not there",
        "Use image/png or application/json, e.g. 1.5 MB",
        "tools[55].type: unknown variant `x_search`",
    ],
)
def test_message_keeps_ordinary_words(text):
    assert safe_message(text) == text


def test_long_message_is_cut():
    assert len(safe_message("word " * 1000)) == 600


def test_dropping_names_what_was_there_in_order():
    fields = decode_fields(b'{"b":1,"a":null,"c":[2],"d":3}')
    assert drop_fields(fields, {"c", "a", "b", "x"}) == ["b dropped", "c dropped"]
    assert set(fields) == {"d"}


def test_rejected_settings_are_dropped():
    fields = decode_fields(b'{"stop":["x"],"tools":[],"top_p":1}')
    facts = ModelFacts(rejects=frozenset({"stop", "tools"}))
    assert "stop dropped" in drop_rejected(fields, facts)
    assert set(fields) == {"top_p"}


def test_rejected_tools_are_refused():
    fields = decode_fields(b'{"tools":[{"type":"function"}]}')
    with pytest.raises(GroxyError) as raised:
        drop_rejected(fields, ModelFacts(rejects=frozenset({"tools"})))
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert raised.value.param == "tools"


def test_plain_server_is_reached_as_openai_is():
    account = Credentials(api_key="k", base_url="http://127.0.0.1:1/v1/")
    assert PLAIN.address(account) == "http://127.0.0.1:1/v1"
    assert PLAIN.headers(account) == {"Authorization": "Bearer k"}
    assert PLAIN.headers(Credentials(api_key="")) == {}
    assert PLAIN.model_id("m", account) == "m"
    assert PLAIN.prepare(decode_fields(b'{"stop":1}'), ModelFacts()) == []
    assert PLAIN.transport(account) is None


def test_plain_model_list_may_be_bare():
    assert PLAIN.read_models(b'[{"id":"a"},{"id":1}]') == {"a"}


def test_plain_server_tells_nothing_of_keys_and_keeps_no_files():
    assert (PLAIN.key_path, PLAIN.files_path, PLAIN.key_prefixes) == ("", "", ())
    assert not PLAIN.confirms_auth
    assert PLAIN.read_key(b"anything") == KeyFacts()


def test_plain_files_are_listed_as_openai_does():
    page = PLAIN.read_files(b'{"data":[{"id":"f"}],"has_more":true,"last_id":"f"}')
    assert page.next == "f"
    assert PLAIN.files_query("f") == "?limit=100&after=f"


def test_plain_limits_are_those_of_openai():
    headers = {"x-ratelimit-limit-tokens": "9", "x-ratelimit-remaining-tokens": "8"}
    assert PLAIN.read_limits(headers) == RateFacts(tokens=RateWindow(limit=9, remaining=8))
