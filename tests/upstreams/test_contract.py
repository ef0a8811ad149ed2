"""What every upstream keeps to; runs on each one that is found."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams import discover
from groxy.upstreams._base import (
    AccountField,
    Credentials,
    ErrorReply,
    FileList,
    KeyFacts,
    ModelFacts,
    RateFacts,
    Upstream,
)
from groxy.wire.json import Fields, decode_fields, encode

FOUND = discover()
upstreams = pytest.mark.parametrize("upstream", FOUND.values(), ids=FOUND)
# The sandbox is nobody's service, so there is nothing to have checked; its page is in the guide.
services = pytest.mark.parametrize("upstream", [FOUND[name] for name in FOUND if name != "sandbox"])
telling_of_keys = pytest.mark.parametrize(
    "upstream", [each for each in FOUND.values() if each.key_path], ids=lambda each: each.name
)
keeping_files = pytest.mark.parametrize(
    "upstream", [each for each in FOUND.values() if each.files_path], ids=lambda each: each.name
)
any_upstream = st.sampled_from(list(FOUND.values()))
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "type", "status", "metadata", "choices"])
            | st.text(st.characters(codec="utf-8"), max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
some_facts = st.builds(
    ModelFacts,
    rejects=st.frozensets(st.sampled_from(["stop", "tools", "reasoning_effort", "tool_choice"])),
    efforts=st.sampled_from([None, (), ("low",), ("none", "low", "high"), ("strange",)]),
    reasons=st.sampled_from([None, True, False]),
)

MAIL = "ops@example.com"
TEAM = "16f2151a-40f4-4a80-8ad0-cae00c27e8dd"
SECRETS = [
    "xai-AbCdEf0123456789",
    "xai-...b14o",
    "xa***yz",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "Q8zT5cD0fG7hJ2kL4mN6pR9s",
    "https://api.x.ai/v1/chat/completions",
    f"console.x.ai/team/{TEAM}",
    TEAM,
    TEAM.upper(),
    MAIL,
    "2025121521151664761470129816750",
]
LEAKS = re.compile(
    r"https?:|://|console\.x\.ai/|" + "|".join(re.escape(secret) for secret in SECRETS),
    re.IGNORECASE,
)
ALL_OF_THEM = "Bearer eyJhbGciOi.J9 said: " + ", ".join(SECRETS) + " (request id: 20251215)."
BODIES = [
    {"code": "permission-denied", "error": ALL_OF_THEM},
    {"error": {"message": ALL_OF_THEM, "type": "t", "param": ALL_OF_THEM, "code": ALL_OF_THEM}},
    {"error": {"message": ALL_OF_THEM, "metadata": {"error_type": "invalid_request"}}},
    {"success": False, "error": [{"code": 2016, "message": ALL_OF_THEM}]},
    {"success": False, "errors": [{"code": 7003, "message": ALL_OF_THEM}]},
    {"error": f"Failed to deserialize the JSON body into the target type: {ALL_OF_THEM}"},
    {"error": f"Content violates usage guidelines. Team: {TEAM}, API key ID: {TEAM}, {MAIL}"},
    {"error": f"Model {TEAM} does not support parameter {TEAM}"},
    {"message": ALL_OF_THEM},
    {"detail": ALL_OF_THEM},
]
HOSTILE = [
    b"",
    b"\x00",
    b"\xff\xfe\xfa",
    b'{"error":"\xff"}',
    b"[" * 200_000,
    b'{"error":' * 100_000,
    b'{"error":' * 900 + b"1" + b"}" * 900,
    b"[]",
    b"[1, 2]",
    b'"error"',
    b"null",
    b'{"error":[]}',
    b'{"error":[[[1]]]}',
    b'{"error":{"code":{"a":1},"message":["x"],"status":true}}',
    b'{"error":{"code":-1e300,"message":1e300}}',
    b'{"error":{"code":' + b"9" * 6000 + b"}}",
    b'{"choices":{"a":1}}',
    b'{"choices":[null,1,{"finish_reason":"error","error":[1]}]}',
    b'{"error":"' + b"a" * 4_000_000 + b'"}',
    b'{"error":"' + b"a." * 2_000_000 + b'"}',
    b'{"error":"' + b"a@" * 2_000_000 + b'"}',
    b'{"error":"' + b"x**" * 1_000_000 + b'"}',
    b'{"error":{"message":"m","code":"' + b"0a-" * 1_000_000 + b'"}}',
    b"<html>" + b"<p>" * 100_000,
]


def _value_for(field: AccountField) -> str:
    """Return something that the field takes."""
    if field.name == "dialects":
        return "chat, responses"
    return field.choices[0] if field.choices else f"value-of-{field.name}"


def account_of(upstream: Upstream, api_key: str = "secret-key-12345") -> Credentials:
    """Return an account with everything that the upstream needs."""
    return Credentials(
        api_key=api_key,
        base_url="" if upstream.base_url else "http://127.0.0.1:9001/v1",
        options={field.name: _value_for(field) for field in upstream.account_fields},
    )


def fields_of(**values: object) -> Fields:
    return decode_fields(encode(values))


@upstreams
def test_upstream_is_named_after_its_file(upstream):
    folder = Path(__file__).parents[2] / "src" / "groxy" / "upstreams"
    assert FOUND[upstream.name] is upstream
    assert (folder / f"{upstream.name}.py").is_file() or (folder / upstream.name).is_dir()
    assert upstream.title
    assert upstream.dialects


@services
def test_upstream_has_a_page_that_says_when_it_was_checked(upstream):
    page = Path(__file__).parents[2] / "docs" / "upstreams" / f"{upstream.name}.md"
    text = page.read_text()
    assert "Last checked: " in text
    headings = ["Get a key", "What works", "What is changed", "What does not work", "Errors"]
    assert re.findall("^## (.*)$", text, re.MULTILINE) == headings


@upstreams
def test_account_fields_have_names_and_help(upstream):
    names = [field.name for field in upstream.account_fields]
    assert len(set(names)) == len(names)
    for field in upstream.account_fields:
        assert re.fullmatch(r"[a-z][a-z_]*", field.name)
        assert field.help.endswith(".")


@upstreams
def test_addresses_and_paths_fit_together(upstream):
    assert not upstream.address(account_of(upstream)).endswith("/")
    own = Credentials(api_key="k", base_url="http://127.0.0.1:9001/v1/")
    assert upstream.address(own) == "http://127.0.0.1:9001/v1"
    paths = (upstream.models_path, upstream.check_path, upstream.key_path, upstream.files_path)
    for path in paths:
        assert path == "" or re.fullmatch(r"/[^?#]*[^/?#]", path)


@upstreams
def test_no_header_is_empty_with_or_without_a_key(upstream):
    for key in ("secret-key-12345", ""):
        for name, value in upstream.headers(account_of(upstream, key)).items():
            assert name.strip() == name != ""
            assert value.strip() == value != ""
            assert value != "Bearer"
    bare = Credentials(api_key="", base_url="http://127.0.0.1:9001/v1")
    assert all(value.strip() != "Bearer" for value in upstream.headers(bare).values())


@upstreams
def test_upstream_that_needs_a_key_sends_it(upstream):
    if upstream.needs_key:
        headers = upstream.headers(account_of(upstream))
        assert any("secret-key-12345" in value for value in headers.values())


@upstreams
def test_credentials_never_show_in_a_repr(upstream):
    account = account_of(upstream)
    assert "secret-key" not in repr(account)
    assert not any(value in repr(account) for value in account.options.values())


@upstreams
def test_model_ids_are_never_empty_and_keep_the_official_name(upstream):
    account = account_of(upstream)
    for official in ("grok-4.7", "grok-4.20-0309-reasoning", "maker/model"):
        assert official in upstream.model_id(official, account)


@upstreams
def test_prepare_keeps_what_nobody_knows(upstream):
    unknown = {"x_own": {"b": [1, 2.50, None], "a": "é"}, "temperature": 0.50, "max_tokens": 9}
    fields = fields_of(model="m", messages=[{"role": "user", "content": "hi"}], **unknown)
    before = {name: bytes(raw) for name, raw in fields.items()}
    upstream.prepare(fields, ModelFacts(rejects=frozenset({"stop"}), efforts=("low",)))
    assert {name: bytes(fields[name]) for name in before} == before


@upstreams
def test_prepare_leaves_a_plain_request_alone(upstream):
    fields = fields_of(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    before = dict(fields)
    assert upstream.prepare(fields, ModelFacts()) == []
    assert fields == before


KNOWN = (
    "tools tool_choice reasoning reasoning_effort search_parameters web_search_options plugins "
    "stop logit_bias messages provider include_reasoning parallel_tool_calls"
)


@given(
    upstream=any_upstream,
    values=st.dictionaries(st.sampled_from(KNOWN.split()), any_json, max_size=6),
    facts=some_facts,
)
@settings(max_examples=150, deadline=None)
def test_prepare_of_anything_changes_or_refuses_and_does_it_once(upstream, values, facts):
    fields = fields_of(model="m", **values)
    refusal = None
    try:
        words = upstream.prepare(fields, facts)
    except GroxyError as error:
        words, refusal = [], error
    if refusal is not None:
        assert refusal.kind in (ErrorKind.UNSUPPORTED, ErrorKind.BAD_REQUEST)
        assert refusal.param
        return
    assert all(re.fullmatch(r"[ -+\--~]+", word) for word in words)
    after = dict(fields)
    assert upstream.prepare(fields, facts) == []
    assert fields == after


@upstreams
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_every_status_has_a_kind_and_no_message_leaks(upstream, body):
    content = encode(body)
    for status in (200, *range(300, 600)):
        error = upstream.read_error(ErrorReply(status=status, body=content))
        assert isinstance(error.kind, ErrorKind)
        assert error.message
        for text in (error.message, error.param or "", error.detail):
            assert not LEAKS.search(text), text
        assert len(error.message) <= 700
        assert "\n" not in error.message


@upstreams
def test_every_status_has_a_kind_without_a_body(upstream):
    for status in range(300, 600):
        error = upstream.read_error(ErrorReply(status=status, body=b""))
        assert error.kind is not ErrorKind.INTERNAL


@upstreams
@pytest.mark.parametrize("status", [200, 400, 403, 500])
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies_are_read_quickly_and_without_a_crash(upstream, body, status):
    began = time.perf_counter()
    error = upstream.read_error(ErrorReply(status=status, body=body))
    assert time.perf_counter() - began < 2
    assert len(error.message) <= 700
    assert len(error.detail) <= 1500


@given(upstream=any_upstream, body=any_json, status=st.sampled_from([200, 301, 400, 403, 429, 500]))
@settings(max_examples=300, deadline=None)
def test_any_json_is_an_error_of_some_kind(upstream, body, status):
    error = upstream.read_error(ErrorReply(status=status, body=encode(body)))
    assert isinstance(error.kind, ErrorKind)
    assert error.message


@upstreams
def test_caller_errors_pass_on_what_was_said(upstream):
    body = encode({"error": {"message": "top_p must be at most 1", "type": "t", "code": None}})
    error = upstream.read_error(ErrorReply(status=400, body=body))
    assert error.kind is ErrorKind.BAD_REQUEST
    assert error.message == "top_p must be at most 1"


@upstreams
def test_limits_pass_on_how_long_to_wait(upstream):
    body = encode({"error": {"message": "slow down", "code": 429}})
    headers = {"retry-after": "7"}
    error = upstream.read_error(ErrorReply(status=429, body=body, headers=headers))
    assert error.kind is ErrorKind.UPSTREAM_LIMITED
    assert error.retry_after_s == 7


@upstreams
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b"null", b'"x"', b'{"data":1}', b'{"data":["a"]}', b'{"data":[{}]}',
     b"<html>", b"\xff", b"[" * 200_000, b'{"data":[null]}'],
)  # fmt: skip
def test_model_list_that_makes_no_sense_is_a_bad_reply(upstream, body):
    with pytest.raises(GroxyError) as raised:
        upstream.read_models(body)
    assert raised.value.kind is ErrorKind.BAD_REPLY


@upstreams
def test_model_list_gives_its_ids(upstream):
    listed = encode({"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]})
    assert upstream.read_models(listed) == {"a", "b"}
    assert upstream.read_models(b'{"data":[]}') == frozenset()


@upstreams
def test_reply_without_special_headers_is_an_ordinary_one(upstream):
    assert not upstream.read_headers({}).is_cached


@telling_of_keys
@pytest.mark.parametrize("body", [*HOSTILE, b"{}", b'{"data":{}}', b'{"acls":1}', b'{"data":null}'])
def test_what_is_no_key_is_a_bad_reply(upstream, body):
    began = time.perf_counter()
    with pytest.raises(GroxyError) as raised:
        upstream.read_key(body)
    assert raised.value.kind is ErrorKind.BAD_REPLY
    assert time.perf_counter() - began < 2


some_money = st.none() | st.decimals() | st.floats() | st.integers() | st.text(max_size=9)
some_key = st.fixed_dictionaries(
    {},
    optional={
        "acls": any_json | st.lists(st.text(max_size=20), max_size=4),
        "team_blocked": any_json | st.booleans(),
        "api_key_blocked": any_json | st.booleans(),
        "data": any_json
        | st.fixed_dictionaries(
            {"limit": some_money, "limit_remaining": some_money}, optional={"limit_reset": any_json}
        ),
    },
)


@telling_of_keys
@given(body=some_key.map(encode))
@settings(max_examples=150, deadline=None)
def test_any_json_is_a_key_or_a_bad_reply(upstream, body):
    refusal = None
    try:
        facts = upstream.read_key(body)
    except GroxyError as error:
        facts, refusal = KeyFacts(), error
    if refusal is not None:
        assert refusal.kind is ErrorKind.BAD_REPLY
    assert facts.standing in (None, ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_QUOTA)
    assert len(facts.note) < 100
    assert not facts.standing or facts.note
    for window in facts.windows.values():
        assert 0 <= window.remaining <= window.total
        assert window.window_s >= 0


@telling_of_keys
def test_nothing_of_a_key_itself_is_kept(upstream):
    told = {
        "redacted_api_key": "xai-...b14o",
        "name": MAIL,
        "team_id": TEAM,
        "acls": ["api-key:model:*"],
        "team_blocked": True,
        "data": {"label": "sk-or-v1-0e6…1c96", "limit": 1, "limit_remaining": 0},
    }
    facts = upstream.read_key(encode(told))
    assert facts.standing is not None
    assert not LEAKS.search(repr(facts))
    assert "sk-or" not in repr(facts)


@upstreams
def test_upstream_that_tells_of_keys_is_checked_there(upstream):
    if upstream.key_path:
        assert upstream.check_path == upstream.key_path
        assert upstream.confirms_auth
    else:
        assert upstream.read_key(b"") == KeyFacts()


def test_no_two_upstreams_claim_the_same_keys():
    prefixes = [prefix for upstream in FOUND.values() for prefix in upstream.key_prefixes]
    assert len(set(prefixes)) == len(prefixes) > 0
    assert all(len(prefix) >= 3 for prefix in prefixes)


@keeping_files
def test_files_are_read_page_by_page(upstream):
    listed = [{"id": f"f{number}", "bytes": number, "created_at": 1} for number in range(100)]
    page = upstream.read_files(
        encode({"data": listed, "pagination_token": "t", "has_more": True, "last_id": "t"})
    )
    assert len(page.files) == 100
    assert page.next == "t"
    assert upstream.files_query(page.next).endswith("=t")
    assert upstream.files_query("") == "?limit=100"
    assert upstream.read_files(b'{"data":[],"pagination_token":"t","has_more":false}') == FileList()


@keeping_files
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_list_of_files_is_a_bad_reply(upstream, body):
    with pytest.raises(GroxyError) as raised:
        upstream.read_files(body)
    assert raised.value.kind is ErrorKind.BAD_REPLY


@keeping_files
def test_a_file_is_deleted_below_the_list(upstream):
    assert upstream.file_path("a b/c") == f"{upstream.files_path}/a%20b%2Fc"


@upstreams
def test_a_reply_without_limits_tells_of_none(upstream):
    assert upstream.read_limits({}) is None
    assert upstream.read_limits({"content-type": "application/json"}) is None


@upstreams
def test_limits_are_read_in_the_upstreams_own_words(upstream):
    for style in upstream.rate_styles:
        headers = {style.requests.limit: "9", style.requests.remaining: "8"}
        facts = upstream.read_limits(headers)
        assert isinstance(facts, RateFacts)
        assert facts.requests is not None
        assert (facts.requests.limit, facts.requests.remaining) == (9, 8)
