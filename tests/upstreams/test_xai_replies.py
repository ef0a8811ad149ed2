import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import ErrorReply, KeyFacts
from groxy.upstreams._xai_replies import read_xai_error, read_xai_key, read_xai_models
from groxy.wire.json import encode

UNREAD = "Failed to deserialize the JSON body into the target type: "


def read(status: int, text: str, code: str = "") -> GroxyError:
    return read_xai_error(ErrorReply(status=status, body=encode({"code": code, "error": text})))


@pytest.mark.parametrize("status", [200, 400, 403, 429])
@pytest.mark.parametrize(
    "text",
    [
        "Your team t has either used all available credits or reached its monthly spending limit.",
        "Your newly created team doesn't have any credits or licenses yet.",
        "You have run out of credits or need a Grok subscription.",
    ],
)
def test_missing_credits_are_known_by_their_words_at_any_status(status, text):
    assert read(status, text).kind is ErrorKind.UPSTREAM_QUOTA


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("The service is currently unavailable", ErrorKind.UPSTREAM_DOWN),
        ("unavailable", ErrorKind.UPSTREAM_DOWN),
        ("Internal error", ErrorKind.UPSTREAM_DOWN),
        ("Client specified an invalid argument", ErrorKind.BAD_REQUEST),
        ("Some resource has been exhausted", ErrorKind.UPSTREAM_LIMITED),
        ("permission-denied", ErrorKind.UPSTREAM_AUTH),
        ("Deadline expired before operation could complete", ErrorKind.UPSTREAM_TIMEOUT),
        ("Operation is not implemented or not supported", ErrorKind.UNSUPPORTED),
        ("anything else", ErrorKind.BAD_REPLY),
    ],
)
def test_code_stands_for_the_status_when_an_error_comes_as_a_200(code, kind):
    assert read(200, "words", code).kind is kind


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("Model grok-4 does not support parameter reasoningEffort", "reasoning_effort"),
        ("Argument not supported on this model: presencePenalty", "presence_penalty"),
        ("Argument not supported: external_web_access", "external_web_access"),
        (
            UNREAD + "messages[0].role: unknown variant `x`, expected `user` at line 1 column 9",
            "messages.0.role",
        ),
        (
            UNREAD + "missing field `messages` at line 1 column 17",
            "messages",
        ),
        (
            UNREAD + "tools[2].function: missing field `name`",
            "tools.2.function.name",
        ),
        (
            UNREAD + "data did not match any variant of untagged enum Stop",
            None,
        ),
        ("Something else", None),
    ],
)
def test_field_at_fault_is_named(text, param):
    error = read(422, text)
    assert error.kind is ErrorKind.BAD_REQUEST
    assert error.param == param
    assert "line 1" not in error.message


def test_refusal_says_why_but_not_whose_account_it_was():
    error = read(403, "Content violates usage guidelines. Team: my-team, API key ID: my-key, X")
    assert error.kind is ErrorKind.REFUSED
    assert error.message == "Content violates usage guidelines. X"


def test_model_list_has_aliases_and_either_name():
    model = {"id": "grok-4.5", "aliases": ["grok-4.5-latest"], "context_length": 500_000}
    names = {"grok-4.5", "grok-4.5-latest"}
    assert read_xai_models(encode({"data": [model]})) == names
    assert read_xai_models(encode({"models": [model]})) == names


# GET /v1/api-key (xAI's OpenAPI document, 2026-08)
KEY = {
    "redacted_api_key": "xai-...b14o",
    "user_id": "59fbe5f2-040b-46d5-8325-868bb8f23eb2",
    "name": "My API Key",
    "create_time": "2024-01-01T12:55:18.139305Z",
    "modify_time": "2024-08-28T17:20:12.343321Z",
    "modified_by": "3d38b4dc-4eb7-4785-ae26-c3fa8997ffc7",
    "team_id": "5ea6f6bd-7815-4b8a-9135-28b2d7ba6722",
    "acls": ["api-key:model:*", "api-key:endpoint:*"],
    "api_key_id": "ae1e1841-4326-4b36-a8a9-8a1a7237db11",
    "team_blocked": False,
    "api_key_blocked": False,
    "api_key_disabled": False,
}


def key_with(**changes: object) -> KeyFacts:
    return read_xai_key(encode(KEY | changes))


def test_a_key_in_good_order_may_use_all_models():
    assert key_with() == KeyFacts()


@pytest.mark.parametrize(
    ("blocks", "note"),
    [
        (["team_blocked"], "the team is blocked"),
        (["api_key_blocked"], "the key is blocked"),
        (["api_key_disabled"], "the key is disabled"),
        (["team_blocked", "api_key_disabled"], "the team is blocked, the key is disabled"),
    ],
)
def test_a_blocked_key_says_who_is_blocked(blocks, note):
    facts = key_with(**dict.fromkeys(blocks, True))
    assert (facts.standing, facts.note) == (ErrorKind.UPSTREAM_AUTH, note)


@pytest.mark.parametrize(
    ("acls", "models"),
    [
        (["api-key:model:grok-4.7", "api-key:endpoint:*"], {"grok-4.7"}),
        (["api-key:model:grok-4.7", "api-key:model:grok-4.3"], {"grok-4.7", "grok-4.3"}),
        (["api-key:model:grok-4.7", "api-key:model:*"], None),
        (["api-key:model:*"], None),
        (None, None),
    ],
)
def test_acls_name_the_models_that_a_key_may_use(acls, models):
    assert key_with(acls=acls).models == models


@pytest.mark.parametrize("acls", [[], ["api-key:endpoint:*"], ["api-key:model:"]])
def test_acls_without_a_model_are_noted_and_bound_nothing(acls):
    facts = key_with(acls=acls)
    assert (facts.standing, facts.models) == (None, None)
    assert facts.note == "its ACLs name no model"


def test_what_is_not_told_of_a_key_is_fine():
    assert read_xai_key(b'{"api_key_blocked":null}') == KeyFacts()
    assert read_xai_key(b'{"acls":["api-key:model:*"],"new":[1]}') == KeyFacts()


@pytest.mark.parametrize(
    "body", [b"{}", b'{"name":"x"}', b'{"team_blocked":"no"}', b'{"acls":[1]}', b'{"error":"x"}']
)
def test_what_is_no_key_is_a_bad_reply(body):
    with pytest.raises(GroxyError) as raised:
        read_xai_key(body)
    assert raised.value.kind is ErrorKind.BAD_REPLY
