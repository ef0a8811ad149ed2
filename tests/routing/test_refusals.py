import pytest

from groxy.core.errors import ErrorKind
from groxy.routing.refusals import all_resting, excluded
from tests.routing.fleet import (
    LIMITED,
    account,
    planned,
    refusal,
    rest,
    router_of,
)

# ---------------------------------------------------------------------------------- no way


@pytest.mark.parametrize(
    "asked", ["gpt-4o", "grok", "GROK-4.3", " grok-4.3", "grok-4.3 ", "x-ai/", "/", "\0", "größe"]
)
def test_a_model_that_does_not_exist_is_told_from_one_that_nobody_serves(asked):
    error = refusal(router_of(account()), asked)

    assert (error.kind, error.param) == (ErrorKind.UNKNOWN_MODEL, "model")
    assert "does not exist" in error.message
    assert "GET /v1/models" in error.message


def test_without_any_account_no_model_is_served():
    assert "not served by any account" in refusal(router_of(), "grok-4.3").message


@pytest.mark.parametrize(
    ("asked", "makes"),
    [
        ("grok-imagine-image", "image"),
        ("grok-imagine-image-edit", "image_edit"),
        ("grok-imagine-video", "video"),
    ],
)
def test_a_model_that_makes_no_text_is_refused_on_a_text_dialect(asked, makes):
    error = refusal(router_of(account(), account("b", "openai_compatible")), asked)

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "model")
    assert makes in error.message


@pytest.mark.parametrize("length", [1000, 1_000_000])
def test_a_name_of_any_length_leads_to_a_short_message(length):
    assert len(refusal(router_of(account()), "g" * length).message) < 300


@pytest.mark.parametrize("carriers", [("chat",), ("responses", "chat"), ("messages", "chat")])
def test_an_embedding_model_is_refused_on_a_text_dialect(carriers):
    error = refusal(router_of(account()), "v1", *carriers)

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "model")
    assert "makes no text but: embedding" in error.message


def test_a_text_model_is_refused_where_embeddings_are_asked_for():
    error = refusal(router_of(account()), "grok-4.3", "embeddings")

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "model")
    assert "makes no embeddings but: chat" in error.message


def test_a_wish_that_leaves_nobody_is_named_with_the_remedy():
    error = excluded("m" * 1000, "only")

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "provider")
    assert "`provider.only`" in error.message
    assert "leave it out" in error.message
    assert len(error.message) < 300


def test_no_message_names_an_account():
    one = account("secret-id", name="secret name")
    router = router_of(one)
    candidates = planned(router, "grok-4.3").candidates
    rest(one, 30, LIMITED)
    errors = [
        all_resting(candidates, 0.0),
        refusal(router, "grok-4.3"),
        refusal(router, "nonsense"),
    ]

    assert not any("secret" in error.message for error in errors)
