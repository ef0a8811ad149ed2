from collections.abc import Sequence

import pytest
from fastapi import FastAPI

from groxy.admin import errors
from groxy.admin.access import Operator, operator_of
from groxy.admin.audit import Auditor
from groxy.admin.cache import Kind, ShelfStats, StoredFile, router
from tests.admin.window import ask, opened

NOTHING = {
    "count": 0,
    "size_mb": 0.0,
    "size_bytes": 0,
    "limit_mb": 0.0,
    "limit_bytes": 0,
    "limited": False,
    "usage_ratio": None,
    "usage_percent": None,
}


class FullShelf:
    """A shelf with three pictures and a limit."""

    def __init__(self) -> None:
        self.names = ["c.png", "b.jpg", "a.jpg"]

    async def stats(self, kind: Kind) -> ShelfStats:
        return ShelfStats(count=3, size_bytes=1_572_864, limit_bytes=3_145_728)

    async def files(self, kind: Kind, *, offset: int, limit: int) -> tuple[int, list[StoredFile]]:
        page = self.names[offset : offset + limit]
        return 3, [StoredFile(name=name, size_bytes=5, modified_ms=9) for name in page]

    async def clear(self, kind: Kind) -> int:
        return len(self.names)

    async def delete(self, kind: Kind, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.names]


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path) as it:
        yield it


@pytest.fixture
def full(window):
    """The endpoints over a shelf that has something."""
    app = FastAPI()
    errors.install(app)
    app.include_router(router(Auditor(window.desk.database), FullShelf()))
    app.dependency_overrides[operator_of] = lambda: Operator(key_id="key_1", name="ops")

    async def call(method, path, body=b"", query=""):
        headers = [("content-type", "application/json")]
        return await ask(app, method, path, body=body, query=query, headers=headers)

    return call


async def test_nothing_is_stored_at_first(window):
    told = (await window.get("/cache")).json

    assert told == {"local_image": NOTHING, "local_video": NOTHING}


@pytest.mark.parametrize("query", ["", "type=image", "type=video", "cache_type=video"])
async def test_an_empty_list_has_the_contracts_shape(window, query):
    told = (await window.get("/cache/list", query)).json

    assert told == {
        "status": "success",
        "total": 0,
        "page": 1,
        "page_size": 1000,
        "items": [],
        "pagination": {
            "page": 1,
            "page_size": 1000,
            "total": 0,
            "total_pages": 0,
            "has_more": False,
        },
    }


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("type=audio", "invalid_value", "type"),
        ("cache_type=", "invalid_value", "cache_type"),
        ("page=0", "invalid_page", "page"),
        ("page_size=1001", "invalid_page_size", "page_size"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(window, query, code, param):
    answer = await window.get("/cache/list", query)

    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)


async def test_usage_and_pages_of_a_shelf_are_told(full):
    stats = (await full("GET", "/cache")).json["local_image"]
    page = (await full("GET", "/cache/list", query="page=2&page_size=2")).json

    assert (stats["size_mb"], stats["limit_mb"], stats["limited"]) == (1.5, 3.0, True)
    assert (stats["usage_ratio"], stats["usage_percent"]) == (0.5, 50.0)
    assert page["items"] == [{"name": "a.jpg", "size_bytes": 5, "modified_at": 9}]
    assert page["pagination"]["total_pages"] == 2
    assert page["pagination"]["has_more"] is False


async def test_deleting_is_told_and_in_the_audit(window, full):
    cleared = await full("POST", "/cache/clear", {"type": "image"})
    one = await full("POST", "/cache/item/delete", {"type": "image", "name": "a.jpg"})
    names = ["b.jpg", "b.jpg", "none.jpg", "c.png"]
    many = await full("POST", "/cache/items/delete", {"type": "image", "names": names})

    assert cleared.json == {"status": "success", "result": {"removed": 3}}
    assert one.json == {"status": "success", "result": {"deleted": "a.jpg"}}
    assert many.json == {"status": "success", "result": {"deleted": 2, "missing": 1}}
    assert [(line.action, line.target) for line in await window.audit()] == [
        ("cache.delete", "2 image files"),
        ("cache.delete", "image/a.jpg"),
        ("cache.clear", "image"),
    ]


@pytest.mark.parametrize(
    "name", ["../a.jpg", "a/b.jpg", "a\\b.jpg", "..", ".hidden", "a\u0000.jpg", "x" * 256]
)
async def test_a_name_that_may_mean_another_place_is_refused(full, name):
    one = await full("POST", "/cache/item/delete", {"name": name})
    many = await full("POST", "/cache/items/delete", {"names": ["a.jpg", name]})

    assert (one.status, one.error["code"], one.error["param"]) == (400, "invalid_file_name", "name")
    assert (many.error["code"], many.error["param"]) == ("invalid_file_name", "names.1")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/cache/item/delete", {}, 400, "missing_file_name"),
        ("/cache/item/delete", {"name": " "}, 400, "missing_file_name"),
        ("/cache/item/delete", {"name": "none.jpg"}, 404, "file_not_found"),
        ("/cache/item/delete", {"name": "a.jpg", "type": "audio"}, 400, "invalid_value"),
        ("/cache/items/delete", {}, 400, "missing_file_names"),
        ("/cache/items/delete", {"names": []}, 400, "missing_file_names"),
        ("/cache/items/delete", {"names": ["a"] * 1001}, 400, "too_many_names"),
        ("/cache/clear", {"type": "all"}, 400, "invalid_value"),
        ("/cache/clear", {"typ": "image"}, 400, "invalid_value"),
    ],
)
async def test_a_deletion_that_cannot_be_is_refused(window, full, path, body, status, code):
    answer = await full("POST", path, body)

    assert (answer.status, answer.error["code"]) == (status, code)
    assert await window.audit() == []


async def test_files_that_are_all_missing_are_counted_without_an_error(window):
    answer = await window.post("/cache/items/delete", {"type": "video", "names": ["a.mp4"]})

    assert answer.json["result"] == {"deleted": 0, "missing": 1}
