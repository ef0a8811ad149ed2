import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import ErrorReply
from groxy.upstreams._xai_replies import read_xai_error, read_xai_models
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
