"""The operator's view of stored media, on a shelf with something on it."""

import pytest
from fastapi import FastAPI

from groxy.admin import errors
from groxy.admin.access import Operator, operator_of
from groxy.admin.audit import Auditor
from groxy.admin.cache import router
from groxy.admin.stored import OperatorShelf
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.store.database import Database
from tests.admin.window import ask

MB = 1024 * 1024


@pytest.fixture
async def shelf(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    limits = ShelfLimits(
        max_total_bytes={"image": 3 * MB, "video": 0, "file": 0},
        max_bytes={"image": MB, "video": MB, "file": MB},
    )
    yield Shelf("", tmp_path, database, limits)
    await database.close()


@pytest.fixture
def call(shelf):
    app = FastAPI()
    errors.install(app)
    app.include_router(router(Auditor(shelf._database), OperatorShelf(shelf)))
    app.dependency_overrides[operator_of] = lambda: Operator(key_id="key_1", name="ops")

    async def call(method, path, body=b"", query=""):
        headers = [("content-type", "application/json")]
        return await ask(app, method, path, body=body, query=query, headers=headers)

    return call


async def put(shelf, kind="image", content_type="image/jpeg", size=5):
    return await shelf.put(kind, b"x" * size, content_type=content_type, owner="key_1")


async def test_what_there_is_is_counted_to_the_byte(shelf, call):
    await put(shelf, size=MB - 1)
    await put(shelf, size=MB // 2 + 1)
    await put(shelf, "video", "video/mp4")
    await put(shelf, "file", "application/pdf")

    told = (await call("GET", "/cache")).json

    assert told["local_image"] == {
        "count": 2,
        "size_mb": 1.5,
        "size_bytes": MB + MB // 2,
        "limit_mb": 3.0,
        "limit_bytes": 3 * MB,
        "limited": True,
        "usage_ratio": 0.5,
        "usage_percent": 50.0,
    }
    video = told["local_video"]
    assert (video["count"], video["size_bytes"], video["limited"]) == (1, 5, False)


async def test_files_are_listed_with_the_names_of_their_types(shelf, call):
    picture = await put(shelf)
    film = await put(shelf, "video", "video/mp4")

    pictures = (await call("GET", "/cache/list")).json
    films = (await call("GET", "/cache/list", query="type=video")).json

    (item,) = pictures["items"]
    assert item == {
        "name": f"{picture.id}.jpg",
        "size_bytes": 5,
        "modified_at": picture.created_ms,
    }
    assert [one["name"] for one in films["items"]] == [f"{film.id}.mp4"]


async def test_files_are_deleted_by_their_names_with_or_without_an_ending(shelf, call):
    first, second = await put(shelf), await put(shelf)
    film = await put(shelf, "video", "video/mp4")

    one = await call("POST", "/cache/item/delete", {"type": "image", "name": f"{first.id}.jpg"})
    many = await call(
        "POST",
        "/cache/items/delete",
        {"type": "image", "names": [second.id, f"{first.id}.jpg", f"{film.id}.mp4", "x.png"]},
    )

    assert one.json["result"] == {"deleted": f"{first.id}.jpg"}
    assert many.json["result"] == {"deleted": 1, "missing": 3}
    assert await shelf.find(film.id) == film
    missing = await call("POST", "/cache/item/delete", {"type": "image", "name": "x.png"})
    assert missing.status == 404


async def test_a_kind_is_cleared(shelf, call):
    await put(shelf)
    film = await put(shelf, "video", "video/mp4")

    cleared = await call("POST", "/cache/clear", {"type": "image"})

    assert cleared.json["result"] == {"removed": 1}
    assert await shelf.find(film.id) == film
    assert (await shelf.stats())["image"].count == 0
