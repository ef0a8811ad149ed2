"""The object store: whole or not at all, and one error for all that it has against it."""

import asyncio
import os
import resource
from contextlib import contextmanager

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.objects import AbsentError, Objects
from tests.servers import free_port

MB = 1_000_000


@pytest.fixture(params=["folder", "memory", "file url"])
def objects(request, tmp_path):
    urls = {"folder": "", "memory": "memory://", "file url": f"file://{tmp_path}"}
    return Objects(urls[request.param], tmp_path)


@pytest.fixture
def local(tmp_path):
    return Objects("", tmp_path)


def files_in(folder):
    return sorted(path.name for path in (folder / "media").rglob("*") if path.is_file())


async def parts_of(*parts, error=None):
    for part in parts:
        yield part
    if error is not None:
        raise error


async def all_of(objects, name, start, end):
    return b"".join([part async for part in await objects.read(name, start, end)])


async def names_in(objects):
    return sorted([one.name async for some in objects.list() for one in some])


async def test_what_was_written_is_read_whole_and_in_part(objects):
    data = os.urandom(3 * MB)
    await objects.put("image/a", data)

    assert await all_of(objects, "image/a", 0, len(data)) == data
    assert await all_of(objects, "image/a", 5, 6) == data[5:6]
    assert await all_of(objects, "image/a", MB, 2 * MB) == data[MB : 2 * MB]
    assert await objects.has("image/a")
    assert not await objects.has("image/b")


async def test_what_comes_in_parts_is_put_together(objects):
    data = os.urandom(12 * MB)
    await objects.put("video/a", parts_of(*(data[at : at + MB] for at in range(0, 12 * MB, MB))))

    assert await all_of(objects, "video/a", 0, 12 * MB) == data


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("error", [ValueError("mine"), OSError("mine"), FileNotFoundError("mine")])
async def test_an_error_of_the_source_is_passed_on_and_nothing_is_written(objects, count, error):
    with pytest.raises(type(error), match="mine"):
        await objects.put("video/a", parts_of(*[b"x" * MB] * count, error=error))

    assert await names_in(objects) == []
    assert not await objects.has("video/a")


async def test_whoever_is_cancelled_leaves_nothing(local, tmp_path):
    written = asyncio.Event()

    async def endless():
        yield b"x" * 6 * MB
        written.set()
        await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(local.put("video/a", endless()))
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        while files_in(tmp_path):
            await asyncio.sleep(0.01)


async def test_objects_are_listed_and_deleted(objects):
    for name in ("image/a", "image/b", "video/c"):
        await objects.put(name, b"x")

    assert await names_in(objects) == ["image/a", "image/b", "video/c"]
    await objects.delete(["image/a", "image/x", "video/c"])
    await objects.delete([])
    assert await names_in(objects) == ["image/b"]


async def test_what_is_not_there_is_told_apart(objects):
    with pytest.raises(AbsentError):
        await objects.read("image/x", 0, 1)


@contextmanager
def full_disk(most_bytes):
    """No file of this process may grow beyond some bytes, as if there were no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("in_parts", [True, False])
async def test_a_full_disk_is_told_and_leaves_nothing_half_written(local, tmp_path, in_parts):
    await local.put("image/a", b"a")
    data = parts_of(*[b"x" * MB] * 9) if in_parts else b"x" * 9 * MB
    with full_disk(4 * MB), pytest.raises(GroxyError) as caught:
        await local.put("image/b", data)

    assert (caught.value.kind, caught.value.code) == (
        ErrorKind.STORE_DOWN,
        "media_store_unavailable",
    )
    assert str(tmp_path) not in caught.value.message
    assert "File too large" in caught.value.detail
    assert files_in(tmp_path) == ["a"]
    await local.put("image/b", b"b")
    assert await names_in(local) == ["image/a", "image/b"]


async def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "media").write_text("a file in its place")
    objects = Objects("", tmp_path)

    for call in (
        objects.put("image/a", b"x"),
        objects.read("image/a", 0, 1),
        objects.delete(["image/a"]),
        objects.has("image/a"),
    ):
        with pytest.raises(GroxyError) as caught:
            await call
        assert caught.value.code == "media_store_unavailable"


async def test_a_store_that_is_set_up_wrong_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(GroxyError) as caught:
        await Objects("az://container/path", tmp_path).put("image/a", b"x")
    assert "Account must be specified" in caught.value.detail


async def test_a_bucket_that_cannot_be_reached_is_told_soon(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    objects = Objects("s3://bucket/path", tmp_path)

    for call in (objects.put("image/a", b"x"), objects.read("image/a", 0, 1), names_in(objects)):
        async with asyncio.timeout(15):
            with pytest.raises(GroxyError) as caught:
                await call
        assert caught.value.code == "media_store_unavailable"
        assert "the-secret" not in caught.value.detail + caught.value.message


async def test_what_a_process_left_half_written_is_swept_when_it_is_old(local, tmp_path):
    await local.put("image/a", b"x")
    for name, age_s in (("old#1", 100), ("young#1", 0), ("old", 100), ("old#x", 100)):
        path = tmp_path / "media" / "image" / name
        path.write_bytes(b"half")
        seconds = path.stat().st_mtime - age_s
        os.utime(path, (seconds, seconds))

    assert await local.sweep(50) == 1
    assert files_in(tmp_path) == ["a", "old", "old#x", "young#1"]


async def test_only_a_folder_is_swept(tmp_path):
    assert await Objects("memory://", tmp_path).sweep(0) == 0


async def test_a_folder_that_is_not_there_yet_is_made(tmp_path):
    objects = Objects(f"file://{tmp_path}/new/folder", tmp_path)
    await objects.put("image/a", b"content")

    assert (tmp_path / "new/folder/image/a").read_bytes() == b"content"
