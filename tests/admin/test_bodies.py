import pytest

from groxy.admin.bodies import MAX_BYTES, MAX_IMPORT_BYTES
from tests.admin.window import opened
from tests.routing.fleet import account


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path, account()) as it:
        yield it


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None]
)
async def test_json_is_read_whatever_it_is_called(window, content_type):
    headers = [] if content_type is None else [("content-type", content_type)]

    answer = await window.post("/cache/clear", {"type": "video"}, headers=headers)

    assert (answer.status, answer.json["result"]) == (200, {"removed": 0})


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'type': 'image'}",
        b'{"type": "image",}',
        b'{"type": NaN}',
        b'{"type": "\\ud800"}',
        b'\xff{"type": "image"}',
        b'{"type": "image"} {}',
        b"[" * 100_000,
    ],
)
async def test_what_is_no_json_is_refused(window, body):
    answer = await window.post("/cache/clear", body)

    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


async def test_a_body_that_is_missing_is_asked_for(window):
    answer = await window.post("/cache/clear")

    assert (answer.status, answer.error["code"]) == (400, "invalid_value")
    assert "Send a JSON object" in answer.error["message"]


async def test_a_body_beyond_a_megabyte_is_refused_and_one_of_a_megabyte_is_not(window):
    around = len(b'{"type":"image"}')
    fits = b'{"type":"image"' + b" " * (MAX_BYTES - around) + b"}"

    good = await window.post("/cache/clear", fits)
    bad = await window.post("/cache/clear", fits + b" ")

    assert good.status == 200
    assert (bad.status, bad.error["code"]) == (413, "request_too_large")
    assert str(MAX_BYTES) in bad.error["message"]


async def test_an_import_may_be_larger_and_need_not_be_json(window):
    large = await window.post("/import", b"#" + b"x" * MAX_BYTES)
    declared = [("content-length", str(MAX_IMPORT_BYTES + 1))]
    too_large = await window.post("/import", b"x", headers=declared)

    assert (large.status, large.error["code"]) == (400, "no_tokens")
    assert too_large.status == 413


async def test_a_compressed_body_is_refused(window):
    answer = await window.post("/cache/clear", {}, headers=[("content-encoding", "gzip")])

    assert (answer.status, answer.error["param"]) == (400, "content-encoding")
