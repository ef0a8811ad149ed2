import subprocess
import sys

import pytest

from groxy.admin.application import admin_app, build
from tests.admin.window import opened
from tests.routing.fleet import account


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path, account()) as it:
        yield it


@pytest.mark.parametrize(
    ("path", "status"), [("/verify", 200), ("/requests/none", 404), ("/nowhere", 404), ("", 404)]
)
async def test_no_answer_is_stored_on_the_way(window, path, status):
    answer = await window.get(path)

    assert (answer.status, answer.headers["cache-control"]) == (status, "no-store")
    assert "access-control-allow-origin" not in answer.headers


async def test_a_method_that_is_not_there_says_which_are(window):
    answer = await window.ask("DELETE", "/config")

    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")


async def test_errors_have_one_form_whatever_client_asks(window):
    headers = [("anthropic-version", "2023-06-01")]
    without_key = await window.get("/verify", key=None, headers=headers)
    not_there = await window.get("/nowhere", headers=headers)

    assert without_key.error["code"] == "invalid_api_key"
    assert not_there.error["code"] == "not_found"


async def test_nobody_hears_of_the_document_or_the_pages_below_the_api(window):
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert (await window.get(path)).status == 404


async def test_every_path_and_method_is_there_once(window):
    app = build(window.desk, spawn=lambda work: work.close())
    pairs = [
        (path, method) for path, methods in app.openapi()["paths"].items() for method in methods
    ]

    assert len(pairs) == len(set(pairs))
    assert all(path.startswith("/admin/api/") for path, _ in pairs)


async def test_a_websocket_is_closed(window):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    app = admin_app(window.desk, spawn=lambda work: work.close())
    await app({"type": "websocket", "path": "/admin/api/verify", "headers": []}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_nothing_outside_the_admin_api_imports_fastapi():
    code = "import sys, groxy.gateway, groxy.api.errors; sys.exit('fastapi' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
