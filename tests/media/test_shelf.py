"""The shelf: what is found is all there, sums are exact, and the oldest go first."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.store import tables
from groxy.store.media import Sum, Wanted, add_media

MB = 1024 * 1024
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def limits_of(*, total=0, most=50 * MB, keep_days=0):
    return ShelfLimits(
        max_total_bytes={"image": total, "video": total, "file": total},
        max_bytes={"image": most, "video": most, "file": most},
        keep_days=keep_days,
    )


@pytest.fixture
def shelf(database, tmp_path):
    return Shelf("", tmp_path, database, limits_of())


def objects_in(folder):
    return sorted(path.name for path in (folder / "media").rglob("*") if path.is_file())


async def put(shelf, data=b"picture", kind="image", **changes):
    return await shelf.put(kind, data, **{"content_type": "image/png", "owner": "key_1", **changes})


async def change(database, **values):
    async with database.transaction() as connection:
        await connection.execute(sa.update(tables.media).values(values))


def turn_clock(monkeypatch, ms):
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + ms * 1_000_000)


async def parts_of(*parts, error=None):
    for part in parts:
        yield part
    if error is not None:
        raise error


# ----------------------------------------------------------------------------- there and back


async def test_what_was_stored_is_found_and_read(shelf):
    data = os.urandom(2 * MB)
    stored = await put(shelf, data, name="a.png")

    assert await shelf.find(stored.id) == stored
    assert await shelf.find(stored.id, "image") == stored
    assert await shelf.read(stored) == data
    assert (stored.size_bytes, stored.etag) == (len(data), hashlib.sha256(data).hexdigest())
    assert len(stored.id) == 32


async def test_what_comes_in_parts_is_stored_as_one(shelf):
    data = os.urandom(12 * MB)
    stored = await put(shelf, parts_of(data[:7], data[7 : 9 * MB], data[9 * MB :]), kind="video")

    assert (stored.size_bytes, stored.etag) == (12 * MB, hashlib.sha256(data).hexdigest())
    assert b"".join([part async for part in await shelf.open(stored, 5, 11)]) == data[5:11]
    assert b"".join([part async for part in await shelf.open(stored, 12 * MB - 3)]) == data[-3:]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (7, None), (3, 3), (9, 12)])
async def test_no_bytes_can_be_read_too(shelf, start, end):
    stored = await put(shelf, b"picture")
    assert [part async for part in await shelf.open(stored, start, end)] == []
    assert await shelf.read(await put(shelf, b"")) == b""


async def test_two_that_are_the_same_are_stored_twice(shelf):
    one, two = await put(shelf), await put(shelf)
    assert one.id != two.id
    assert one.etag == two.etag


@pytest.mark.parametrize("name", ["", "x", "F" * 32, "../" * 11, "0" * 31, "0" * 33, "\0" * 32])
async def test_ids_that_are_none_of_ours_are_not_found(shelf, name):
    await put(shelf)
    assert await shelf.find(name) is None
    assert await shelf.delete([name]) == []


async def test_something_of_another_kind_is_not_found(shelf):
    stored = await put(shelf)
    assert await shelf.find(stored.id, "video") is None
    assert await shelf.delete([stored.id], "video") == []


async def test_a_file_is_its_owners_only(shelf):
    stored = await put(shelf, kind="file")
    picture = await put(shelf)
    name = f"file-{stored.id}"

    assert await shelf.file(name, "key_1") == stored
    messages = set()
    for asked, owner in (
        (name, "key_2"),
        (stored.id, "key_1"),
        (f"file-{picture.id}", "key_1"),
        ("file-" + "0" * 32, "key_1"),
        ("", "key_1"),
    ):
        with pytest.raises(GroxyError) as caught:
            await shelf.file(asked, owner, param="file_id")
        assert (caught.value.kind, caught.value.param) == (ErrorKind.NOT_FOUND, "file_id")
        messages.add(caught.value.message)
    assert len(messages) == 1


# ------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("in_parts", [True, False])
async def test_something_too_large_is_refused_and_nothing_stays(shelf, tmp_path, in_parts):
    shelf.limits = limits_of(most=9 * MB)
    data = b"x" * (9 * MB + 1)
    with pytest.raises(GroxyError) as caught:
        await put(shelf, parts_of(data[: 8 * MB], data[8 * MB :]) if in_parts else data)

    assert caught.value.kind is ErrorKind.TOO_LARGE
    assert "media.max_image_bytes" in caught.value.message
    assert (await shelf.stats())["image"] == Sum(0, 0)
    assert objects_in(tmp_path) == []


async def test_a_source_that_breaks_off_leaves_nothing(shelf, tmp_path):
    with pytest.raises(ConnectionError, match="gone"):
        await put(shelf, parts_of(b"x" * 8 * MB, error=ConnectionError("gone")))

    assert (await shelf.stats())["image"].count == 0
    assert objects_in(tmp_path) == []


async def test_a_failing_store_enters_nothing(database, tmp_path):
    (tmp_path / "media").write_text("a file in its place")
    shelf = Shelf("", tmp_path, database, limits_of())
    with pytest.raises(GroxyError) as caught:
        await put(shelf)

    assert caught.value.code == "media_store_unavailable"
    assert (await shelf.stats())["image"] == Sum(0, 0)


async def test_bytes_that_are_gone_are_not_found_but_may_come_back(shelf, tmp_path):
    stored = await put(shelf)
    (tmp_path / "media").rename(tmp_path / "not mounted")

    with pytest.raises(GroxyError) as caught:
        await shelf.open(stored)

    assert caught.value.kind is ErrorKind.NOT_FOUND
    (tmp_path / "not mounted").rename(tmp_path / "media")
    assert await shelf.read(stored) == b"picture"


async def test_what_was_stored_is_told_even_if_no_room_can_be_made(shelf, monkeypatch):
    async def fail(*_args, **_more):
        raise GroxyError(ErrorKind.STORE_DOWN, "The database is not available right now.")

    shelf.limits = limits_of(total=10)
    await put(shelf)
    monkeypatch.setattr("groxy.media.shelf.oldest_beyond", fail)

    stored = await put(shelf)

    assert await shelf.find(stored.id) == stored
    monkeypatch.undo()
    newest = await put(shelf)
    assert await shelf.list("image", offset=0, limit=9) == (1, [newest])


async def test_what_cannot_be_deleted_from_the_store_is_gone_for_callers(database, tmp_path):
    shelf = Shelf("", tmp_path, database, limits_of())
    stored = await put(shelf)
    (tmp_path / "media" / "image" / stored.id).unlink()
    (tmp_path / "media" / "image" / stored.id).mkdir()  # which no store deletes as an object

    assert await shelf.delete([stored.id]) == [stored]
    assert await shelf.find(stored.id) is None


# --------------------------------------------------------------------------- how much, how long


async def test_statistics_are_exact_to_the_byte(shelf, tmp_path):
    sizes = [0, 1, 1023, 70_001]
    for size in sizes:
        await put(shelf, b"x" * size)
    film = await put(shelf, b"film", kind="video")

    stats = await shelf.stats()
    on_disk = [path.stat().st_size for path in (tmp_path / "media" / "image").iterdir()]
    assert stats == {"image": Sum(4, sum(sizes)), "video": Sum(1, 4), "file": Sum(0, 0)}
    assert sum(on_disk) == stats["image"].size_bytes
    await shelf.delete([film.id])
    assert (await shelf.stats())["video"] == Sum(0, 0)


async def test_beyond_the_bound_the_oldest_go_until_a_tenth_is_free(shelf, tmp_path):
    shelf.limits = limits_of(total=1_000)
    film = await put(shelf, b"f" * 500, kind="video")
    pictures = [await put(shelf, b"x" * 100) for _ in range(10)]
    assert (await shelf.stats())["image"].size_bytes == 1_000

    newest = await put(shelf, b"y")

    left = [one for one in pictures if await shelf.find(one.id)]
    assert len(left) == 8
    # Those of one millisecond have no order but that of their ids.
    assert max(one.created_ms for one in pictures if one not in left) <= left[0].created_ms
    assert (await shelf.stats())["image"].size_bytes == 801
    assert await shelf.find(newest.id)
    assert await shelf.find(film.id)
    assert len(objects_in(tmp_path)) == 10


async def test_what_was_just_stored_stays_even_if_it_is_alone_too_large(shelf):
    shelf.limits = limits_of(total=1_000)
    await put(shelf, b"x" * 100)
    large = await put(shelf, b"x" * 5_000)

    assert await shelf.list("image", offset=0, limit=9) == (1, [large])


async def test_many_who_store_at_once_stay_within_the_bound(shelf):
    shelf.limits = limits_of(total=1_000)
    await asyncio.gather(*(put(shelf, b"x" * 100) for _ in range(30)))

    assert (await shelf.stats())["image"].size_bytes <= 1_000


async def test_what_has_expired_is_not_found_and_then_purged(shelf, tmp_path, monkeypatch):
    in_an_hour = time.time_ns() // 1_000_000 + HOUR_MS
    stored = await put(shelf, kind="file", expires_ms=in_an_hour)
    lasting = await put(shelf, kind="file")
    assert await shelf.purge() == 0
    turn_clock(monkeypatch, HOUR_MS + 1)

    assert await shelf.find(stored.id) is None
    assert await shelf.purge() == 1
    assert await shelf.purge() == 0
    assert objects_in(tmp_path) == [lasting.id]


async def test_pictures_and_films_are_kept_for_some_days_and_files_for_ever(shelf, monkeypatch):
    shelf.limits = limits_of(keep_days=2)
    picture, film = await put(shelf), await put(shelf, kind="video")
    file = await put(shelf, kind="file")
    turn_clock(monkeypatch, 2 * DAY_MS - HOUR_MS)
    assert await shelf.find(picture.id) == picture
    turn_clock(monkeypatch, 2 * HOUR_MS)

    assert await shelf.find(picture.id) is None
    assert await shelf.find(file.id) == file
    assert await shelf.purge() == 2
    assert await shelf.delete([film.id]) == []


async def test_all_of_a_kind_are_cleared(shelf, tmp_path):
    for _ in range(5):
        await put(shelf)
    film = await put(shelf, kind="video")

    assert [await shelf.clear("image"), await shelf.clear("image")] == [5, 0]
    assert objects_in(tmp_path) == [film.id]


async def test_the_files_of_an_owner_are_listed(shelf):
    mine = await put(shelf, kind="file")
    await put(shelf, kind="file", owner="key_2")

    assert await shelf.files(Wanted(owner="key_1", now_ms=0, limit=9)) == [mine]


# ------------------------------------------------------------------------------------ reconciling


async def age(folder, name, kind="image"):
    path = folder / "media" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"orphan")
    seconds = time.time() - 7_200
    os.utime(path, (seconds, seconds))


async def test_bytes_without_a_row_go_when_they_are_old_and_are_ours(shelf, tmp_path):
    stored = await put(shelf)
    await age(tmp_path, "0" * 32)
    await age(tmp_path, "0" * 32 + "#1")
    await age(tmp_path, "a note of the operator")
    await age(tmp_path, "1" * 32, kind="other")
    (tmp_path / "media" / "image" / ("2" * 32)).write_bytes(b"on its way")

    assert await shelf.reconcile() == (1, 0)
    assert objects_in(tmp_path) == sorted([stored.id, "1" * 32, "2" * 32, "a note of the operator"])
    assert await shelf.reconcile() == (0, 0)


async def test_rows_without_bytes_go_when_they_are_old(shelf, database, tmp_path, monkeypatch):
    first, second, whole = await put(shelf), await put(shelf), await put(shelf)
    (tmp_path / "media" / "image" / first.id).unlink()
    assert await shelf.reconcile() == (0, 0)
    turn_clock(monkeypatch, 2 * HOUR_MS)
    (tmp_path / "media" / "image" / second.id).unlink()

    assert await shelf.reconcile() == (0, 2)
    assert await shelf.list("image", offset=0, limit=9) == (1, [whole])


async def test_a_store_that_seems_empty_costs_no_rows(shelf, tmp_path, monkeypatch):
    stored = await put(shelf)
    (tmp_path / "media").rename(tmp_path / "not mounted")
    turn_clock(monkeypatch, 2 * HOUR_MS)
    other = Shelf("", tmp_path, shelf._database, limits_of())

    assert await other.reconcile() == (0, 0)
    assert await other.find(stored.id) == stored


async def test_an_index_that_is_empty_costs_no_bytes(shelf, tmp_path):
    await age(tmp_path, "0" * 32)

    assert await shelf.reconcile() == (0, 0)
    assert objects_in(tmp_path) == ["0" * 32]


async def test_many_rows_are_gone_through(shelf, database, monkeypatch):
    stored = await put(shelf)
    monkeypatch.setattr("groxy.media.shelf._BATCH", 2)
    for number in range(5):
        row = {name: getattr(stored, name) for name in stored.__slots__}
        await add_media(database, type(stored)(**{**row, "id": f"{number:032x}", "created_ms": 1}))

    assert await shelf.reconcile() == (0, 5)


async def test_whoever_is_killed_while_storing_leaves_nothing_that_is_found(
    shelf, database, tmp_path
):
    await put(shelf)
    program = _KILLED.format(folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )

    assert done.returncode == -9, done.stderr
    half = [name for name in objects_in(tmp_path) if "#" in name]
    assert len(half) == 1
    for name in half:
        path = tmp_path / "media" / "video" / name
        os.utime(path, (1, 1))
    assert (await shelf.stats())["video"] == Sum(0, 0)
    assert await shelf.reconcile() == (0, 0)
    assert [name for name in objects_in(tmp_path) if "#" in name] == []


_KILLED = """
import asyncio, os, pathlib, signal
from groxy.media.objects import Objects

async def parts():
    for _ in range(12):
        yield b"x" * 1_000_000
    await asyncio.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Objects("", pathlib.Path({folder!r})).put("video/" + "0" * 32, parts()))
"""
