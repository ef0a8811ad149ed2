import re

import pytest

from tests.admin.window import ask, opened

PATHS = [
    "/docs",
    "/openapi.json",
    "/docs/start.js",
    "/docs/swagger-ui-bundle.js",
    "/docs/swagger-ui.css",
    "/docs/favicon.png",
]


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path) as it:
        yield it


async def read(window, path, method="GET"):
    return await ask(window.app, method, path, key=None)


@pytest.mark.parametrize("path", PATHS)
async def test_pages_are_shown_without_a_key_and_bound_to_this_origin(window, path):
    answer = await read(window, path)

    assert answer.status == 200
    assert int(answer.headers["content-length"]) == len(answer.body) > 0
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_everything_that_the_page_loads_is_here_and_no_script_stands_in_it(window):
    page = (await read(window, "/docs")).body.decode()

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sorted(f"/{one}" for one in loaded) == sorted(PATHS[2:])
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == ["", ""]
    assert " on" not in re.sub(r">[^<]*<", "><", page)


async def test_the_script_shows_the_document_that_is_served(window):
    script = (await read(window, "/docs/start.js")).body.decode()
    document = (await read(window, "/openapi.json")).json

    assert 'url: "openapi.json"' in script
    assert "/admin/api/route" in document["paths"]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_shown_unless_the_settings_say_so(tmp_path, path):
    async with opened(tmp_path, shows_docs=lambda: False) as window:
        answer = await read(window, path)

    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/../../etc/passwd", "/docs/index.html", "/docs/swagger-ui.js.map"]
)
async def test_no_other_file_is_shown(window, path):
    assert (await read(window, path)).status == 404


async def test_only_reading_is_allowed(window):
    answer = await read(window, "/docs", "POST")

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (await read(window, "/docs", "HEAD")).status == 200
