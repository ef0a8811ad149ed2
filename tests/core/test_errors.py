"""What each kind of error means to a caller, to the attempt loop and to the metrics."""

import re

import pytest

from groxy.core.errors import ErrorKind, Fault, GroxyError, NextStep, facts_of

_TRIES_ANOTHER_THOUGH_THE_CALLER_ASKED_FOR_IT = {ErrorKind.UNSUPPORTED, ErrorKind.MODEL_ABSENT}


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_has_the_status_of_an_error(kind):
    assert 400 <= facts_of(kind).status <= 599


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_code_is_fit_for_a_metric_label(kind):
    assert re.fullmatch(r"[a-z_]+", kind.value)


@pytest.mark.parametrize("kind", ErrorKind)
def test_who_is_at_fault_shows_in_the_status(kind):
    facts = facts_of(kind)
    is_client_error = facts.status < 500
    is_limit_of_an_account = kind is ErrorKind.UPSTREAM_LIMITED
    assert is_client_error == (facts.fault is Fault.CALLER or is_limit_of_an_account)


@pytest.mark.parametrize("kind", ErrorKind)
def test_only_what_another_account_could_mend_goes_to_another_account(kind):
    facts = facts_of(kind)
    may_help = facts.fault in (Fault.ACCOUNT, Fault.UPSTREAM)
    may_help |= kind in _TRIES_ANOTHER_THOUGH_THE_CALLER_ASKED_FOR_IT
    assert (facts.next_step is NextStep.OTHER_ACCOUNT) == may_help


@pytest.mark.parametrize(
    ("kind", "status", "wire_type"),
    [
        (ErrorKind.BAD_JSON, 400, "validation_error"),
        (ErrorKind.UNKNOWN_MODEL, 400, "validation_error"),
        (ErrorKind.TOO_LARGE, 413, "validation_error"),
        (ErrorKind.BAD_KEY, 401, "authentication_error"),
        (ErrorKind.NO_CREDITS, 402, "billing_error"),
        (ErrorKind.FORBIDDEN, 403, "permission_error"),
        (ErrorKind.NOT_FOUND, 404, "not_found_error"),
        (ErrorKind.RATE_LIMITED, 429, "rate_limit_error"),
        (ErrorKind.UPSTREAM_AUTH, 502, "upstream_error"),
        (ErrorKind.UPSTREAM_TIMEOUT, 504, "upstream_error"),
        (ErrorKind.STORE_DOWN, 503, "server_error"),
        (ErrorKind.INTERNAL, 500, "server_error"),
    ],
)
def test_kind_has_the_status_and_type_that_clients_know(kind, status, wire_type):
    facts = facts_of(kind)
    assert (facts.status, facts.type) == (status, wire_type)


def test_an_accounts_bad_credential_is_not_shown_as_the_callers():
    assert facts_of(ErrorKind.UPSTREAM_AUTH).status != facts_of(ErrorKind.BAD_KEY).status


def test_an_error_has_the_facts_of_its_kind():
    error = GroxyError(ErrorKind.RATE_LIMITED, "Wait a little.", retry_after_s=1.5)
    assert error.facts == facts_of(ErrorKind.RATE_LIMITED)


def test_an_error_reads_as_its_message_and_never_as_its_detail():
    error = GroxyError(ErrorKind.INTERNAL, "It broke.", detail="the secret is 42")
    assert str(error) == "It broke."
    assert "42" not in repr(error)
