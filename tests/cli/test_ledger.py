import asyncio

import pytest

from tests.inprocess import application, ask

BODY = {"model": "grok-4", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def request_id(data_dir):
    """The id of a request that was served from this data folder."""

    async def serve():
        async with application(data_dir) as app:
            return await ask(app, "POST", "/v1/chat/completions", body=BODY)

    data_dir.mkdir()
    return asyncio.run(serve()).headers["x-request-id"]


def test_the_newest_requests_are_shown_on_a_line_each(groxy, request_id):
    lines = groxy("ledger", "last").output.splitlines()

    line = next(line for line in lines if request_id in line)
    assert "grok-4" in line
    assert " ok " in line


def test_the_attempts_of_a_request_are_shown(groxy, request_id):
    shown = groxy("ledger", "attempts", request_id).output

    assert "sandbox" in shown
    assert "(upstream)" in shown


def test_an_empty_ledger_shows_no_request(groxy):
    assert "req_" not in groxy("ledger", "last").output
