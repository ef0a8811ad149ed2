"""What an upstream says never tells the credential that it was sent."""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.enquiries import ask
from groxy.routing.secrecy import conceal
from groxy.upstreams._base import Credentials
from groxy.wire.json import encode
from tests.routing.scripted import Reply, account_at

KEY = "Odd+form+of+a+secret+9"
"""Patterns find only parts of it, if any."""


def holder(answer=lambda _: Reply(b"")):
    account = account_at(answer)
    account.credentials = Credentials(api_key=KEY)
    return account


def test_a_credential_is_taken_out_of_what_callers_and_logs_are_told():
    error = GroxyError(ErrorKind.BAD_REQUEST, f"No: {KEY}.", detail=f"said '{KEY}' and '{KEY}'")

    assert conceal(holder(), error) is error

    assert (error.message, error.detail) == ("No: ***.", "said '***' and '***'")


def test_the_beginning_of_a_credential_at_the_end_of_a_text_that_was_cut_is_taken_out():
    error = GroxyError(ErrorKind.UPSTREAM_AUTH, "No.", detail=f"said 'Who is {KEY[:15]}…'")

    assert conceal(holder(), error).detail == "said 'Who is ***…'"


@pytest.mark.parametrize("key", ["", "key"])
def test_what_is_no_secret_leaves_words_as_they_are(key):
    account = holder()
    account.credentials = Credentials(api_key=key)
    error = GroxyError(ErrorKind.UPSTREAM_AUTH, "Which key?", detail="The key is wrong.")

    conceal(account, error)

    assert (error.message, error.detail) == ("Which key?", "The key is wrong.")


async def test_an_enquiry_that_fails_does_not_repeat_the_credential():
    body = encode({"error": {"message": f"Unknown credential {KEY}"}})

    with pytest.raises(GroxyError) as caught:
        await ask(holder(lambda _: Reply(body, 401)), "/models")

    assert KEY not in f"{caught.value.message} {caught.value.detail}"
    assert "Unknown credential ***" in caught.value.detail
