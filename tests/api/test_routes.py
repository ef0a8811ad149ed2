import pytest

from tests.inprocess import application, ask


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/chat/completions", "POST"), ("DELETE", "/v1/models", "GET")],
)
async def test_a_wrong_method_is_told_the_right_one(tmp_path, method, path, allowed):
    async with application(tmp_path) as app:
        answer = await ask(app, method, path)

    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert allowed in answer.error["message"]


@pytest.mark.parametrize(
    "path", ["/v2/x", "/v1/", "/v1/chat/completions/", "//v1/models", "/../v1"]
)
async def test_an_unknown_path_is_a_404_in_the_envelope(tmp_path, path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", path)

    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_a_base_url_without_v1_is_recognised(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "POST", "/chat/completions")

    assert "/v1/chat/completions" in answer.error["message"]


async def test_a_base_url_with_v1_too_much_is_recognised(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "POST", "/v1/v1/messages")

    assert "without /v1" in answer.error["message"]


async def test_clients_made_for_openrouter_find_the_same_under_api(tmp_path):
    async with application(tmp_path) as app:
        plain = await ask(app, "GET", "/v1/models")
        prefixed = await ask(app, "GET", "/api/v1/models")

    assert plain.json == prefixed.json


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/chat/completions", "POST"), ("/health", "GET, HEAD")]
)
async def test_the_methods_that_work_are_in_a_header(tmp_path, path, allowed):
    async with application(tmp_path) as app:
        answer = await ask(app, "PUT", path)

    assert answer.headers["allow"] == allowed


async def test_head_is_served_where_get_is(tmp_path):
    async with application(tmp_path) as app:
        assert (await ask(app, "HEAD", "/health")).status == 200


async def test_the_pattern_of_a_path_is_no_path(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", "/v1/models/{model_id:path}")

    assert (answer.status, answer.error["code"]) == (404, "not_found")
