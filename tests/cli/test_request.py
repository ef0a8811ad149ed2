import asyncio
import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from tests.inprocess import application, ask

BODY = {"model": "grok-4", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def served(data_dir):
    """The ids of two requests that were served from this data folder, oldest first."""

    async def serve():
        async with application(data_dir) as app:
            answers = [
                await ask(app, "POST", "/v1/chat/completions", body=BODY | {"model": model})
                for model in ("grok-4", "grok-3-mini")
            ]
        return [answer.headers["x-request-id"] for answer in answers]

    data_dir.mkdir()
    return asyncio.run(serve())


def test_requests_are_listed_newest_first(groxy, served):
    lines = groxy("request", "list").stdout.splitlines()

    rows = [line for line in lines if "req_" in line]
    assert [row.split()[2] for row in rows] == served[::-1]
    assert " ok " in rows[0]
    assert " sandbox " in rows[0]


def test_requests_can_be_filtered_and_paged(groxy, served):
    by_model = groxy("request", "list", "--model", "grok-4").stdout
    newest = groxy("request", "list", "-n", "1").stdout

    assert served[0] in by_model
    assert served[1] not in by_model
    assert f"--before {served[1]}" in newest
    assert served[0] in groxy("request", "list", "--before", served[1]).stdout


def test_one_request_is_shown_with_its_attempts_and_its_route(groxy, served):
    shown = groxy("request", "show", served[0]).stdout

    assert "grok-4 → " in shown
    assert "(upstream)" in shown
    assert "Chosen by quota of 1 that can serve the model." in shown


def test_json_is_what_the_admin_api_answers(groxy, served):
    trail = json.loads(groxy("request", "show", served[0], "--json").stdout)
    lines = json.loads(groxy("request", "list", "--json").stdout)

    assert trail["request"]["id"] == served[0]
    assert [line["id"] for line in lines["requests"]] == served[::-1]


def test_a_request_that_nobody_knows_is_an_error(groxy):
    error = groxy("request", "show", "req_nobody").exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.NOT_FOUND
