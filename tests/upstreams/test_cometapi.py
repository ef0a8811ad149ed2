import pytest

from groxy.core.errors import ErrorKind
from groxy.dialects._base import BillField
from groxy.upstreams._base import ErrorReply, ModelFacts
from groxy.upstreams.cometapi import UPSTREAM
from groxy.wire.json import decode_fields, encode


def read(status, message, code=""):
    error = {"message": message, "type": "comet_api_error", "param": "", "code": code}
    return UPSTREAM.read_error(ErrorReply(status=status, body=encode({"error": error})))


def test_it_states_no_bill():
    assert UPSTREAM.usage_rules.bill is BillField.NONE


def test_requests_are_made_fit_for_xai():
    fields = decode_fields(b'{"logit_bias":{},"stop":["x"]}')
    facts = ModelFacts(rejects=frozenset({"stop"}))
    assert UPSTREAM.prepare(fields, facts) == ["logit_bias dropped", "stop dropped"]


def test_a_model_list_proves_that_the_key_works():
    assert UPSTREAM.check_path == "/models"
    assert UPSTREAM.confirms_auth


def test_only_the_500_that_says_so_is_the_callers():
    assert read(500, "m", "invalid_request").kind is ErrorKind.BAD_REQUEST
    assert read(500, "m").kind is ErrorKind.UPSTREAM_DOWN
    assert read(503, "m", "invalid_request").kind is ErrorKind.UPSTREAM_DOWN


@pytest.mark.parametrize(
    "message",
    ["bad top_p (request id: 20251215)", "bad top_p request id: 20251215", "bad top_p"],
)
def test_request_id_is_not_part_of_the_message(message):
    assert read(400, message).message == "bad top_p"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("user quota is not enough", ErrorKind.UPSTREAM_QUOTA),
        ("token quota not enough, need 5", ErrorKind.UPSTREAM_QUOTA),
        ("insufficient account balance", ErrorKind.UPSTREAM_QUOTA),
        ("Unsupported parameter: top_k", ErrorKind.BAD_REQUEST),
        ("flagged by content policy", ErrorKind.REFUSED),
        ("forbidden", ErrorKind.UPSTREAM_AUTH),
    ],
)
def test_403_means_what_its_words_say(message, kind):
    assert read(403, message).kind is kind


@pytest.mark.parametrize("status", [200, 301, 302, 401, 403, 404])
def test_page_in_place_of_a_reply_is_a_bad_reply(status):
    page = b"\n <!doctype html><title>x</title>"
    assert UPSTREAM.read_error(ErrorReply(status=status, body=page)).kind is ErrorKind.BAD_REPLY


def test_page_of_an_outage_or_limit_stays_one():
    page = b"<html>"
    kinds = [UPSTREAM.read_error(ErrorReply(status=s, body=page)).kind for s in (429, 502, 524)]
    assert kinds == [
        ErrorKind.UPSTREAM_LIMITED,
        ErrorKind.UPSTREAM_DOWN,
        ErrorKind.UPSTREAM_TIMEOUT,
    ]
