"""Every path of the design answers, with the methods that it should."""

import pytest

from tests.inprocess import application, ask

PATHS = {
    "/v1/chat/completions": "POST",
    "/v1/chat/deferred-completion/x": "GET, HEAD",
    "/v1/responses": "POST",
    "/v1/responses/input_tokens": "POST",
    "/v1/responses/compact": "POST",
    "/v1/responses/resp_1": "DELETE, GET, HEAD",
    "/v1/responses/resp_1/input_items": "GET, HEAD",
    "/v1/responses/resp_1/cancel": "POST",
    "/v1/messages": "POST",
    "/v1/messages/count_tokens": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/tokenize": "POST",
    "/v1/tokenize-text": "POST",
    "/v1/vision/analyze": "POST",
    "/v1/models": "GET, HEAD",
    "/v1/language-models": "GET, HEAD",
    "/v1/language-models/grok-4.7": "GET, HEAD",
    "/v1/embedding-models": "GET, HEAD",
    "/v1/generation": "GET, HEAD",
    "/v1/health": "GET, HEAD",
}


@pytest.mark.parametrize("path", [*PATHS, "/api/v1/responses", "/api/v1/messages"])
async def test_a_path_answers_and_names_its_methods(tmp_path, path):
    async with application(tmp_path) as app:
        answer = await ask(app, "PATCH", path)
    assert answer.status == 405
    assert answer.headers["allow"] == PATHS[path.removeprefix("/api")]


async def test_no_path_below_v1_answers_a_stranger(tmp_path):
    async with application(tmp_path) as app:
        for path, methods in PATHS.items():
            if path != "/v1/health":
                method = methods.partition(",")[0]
                assert (await ask(app, method, path, key=None)).status == 401, path
